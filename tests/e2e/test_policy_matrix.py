"""Two backbones x two heads, the whole way: train, resume, export, a process without network, the node."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lerobot")
transformers = pytest.importorskip("transformers")
torch = pytest.importorskip("torch")

from toy_dataset import write_toy_dataset

from finevla.contract import Observation, RobotContract, load_contract
from finevla.policy.inference import load_policy
from finevla.policy.qwen_tiny import QWEN_TINY, tiny_tokenizer
from finevla.stages.export.verb import Config as ExportConfig
from finevla.stages.export.verb import main as export_main
from finevla.stages.train.checkpoint import checkpoint_weights, newest_checkpoint
from finevla.stages.train.run import Progress, run_training
from finevla.stages.train.verb import Config, training_spec

pytestmark = pytest.mark.e2e
PAIRS = [(model, head) for model in ("compact", "qwen") for head in ("oft", "flow")]
TEXT = "lift the red cube with the left arm"
CLEAN = """
import json, socket, sys
import numpy as np
def refuse(*_, **__): raise OSError("no network here")
socket.socket.connect = refuse
from finevla.contract import Observation, load_contract
from finevla.policy.inference import load_policy
contract = load_contract()
policy = load_policy(sys.argv[1], contract)
image = np.full((240, 320, 3), 90, np.uint8)
images = {name: image for name in policy.cameras}
chunk = policy.infer(Observation(0, contract.home, images), sys.argv[2], "i")
print(json.dumps(chunk.targets.tolist()))
"""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_dataset(tmp_path_factory.mktemp("matrix") / "dataset", load_contract())


@pytest.fixture(scope="module")
def vlm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random model in the form in which a hub holds the real one."""
    torch.manual_seed(11)
    folder = tmp_path_factory.mktemp("vlm")
    config = transformers.Qwen3VLConfig.from_dict(dict(QWEN_TINY.architecture))
    transformers.Qwen3VLForConditionalGeneration(config).save_pretrained(folder)
    (folder / "tokenizer.json").write_bytes(tiny_tokenizer())
    return folder


def flags(model: str, head: str, dataset: Path, out: Path, vlm: Path, **more: object) -> Config:
    own: dict[str, object] = {"lr": 3e-3}
    if model == "qwen":
        own = {"model": "qwen-tiny", "vlm": vlm, "image_size": 32, "precision": "float32", "lr": 3e-3}
        own |= {"vlm_lr": 3e-3, "head_lr": 3e-3, "cameras": (load_contract().sync.pivot,)}
    short = {
        "steps": 30,
        "batch_size": 8,
        "warmup": 2,
        "probe_every": 10,
        "save_every": 10,
        "val_episodes": 2,
    }
    common = {"val_episodes": 2, "logger": "none", "device": "cpu", "head": head, "decay": "constant"}
    return Config(dataset=dataset, out=out, **{**short, **common, **own, **more})


class Stop(Progress):
    """Interrupts a run after the checkpoint of step 10."""

    def step(self, done: int, loss: float) -> None:
        if done == 13:
            raise KeyboardInterrupt


@pytest.mark.parametrize(("model", "head"), PAIRS)
def test_from_training_to_the_node(model: str, head: str, dataset: Path, vlm: Path, tmp_path: Path) -> None:
    contract = load_contract()
    whole, broken, bundle = tmp_path / "whole", tmp_path / "broken", tmp_path / "bundle"
    run_training(training_spec(flags(model, head, dataset, whole, vlm)), contract, Progress())
    lines = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["loss"] < lines[0]["loss"], "the loss falls within thirty updates"

    with pytest.raises(KeyboardInterrupt):
        run_training(training_spec(flags(model, head, dataset, broken, vlm)), contract, Stop())
    resumed = flags(model, head, dataset, broken, vlm, resume=True)
    run_training(training_spec(resumed), contract, Progress())
    first, second = (checkpoint_weights(newest_checkpoint(path)) for path in (whole, broken))
    assert all(np.array_equal(first[name], second[name]) for name in first), "resumed equals uninterrupted"

    assert export_main(ExportConfig(whole, bundle)) == 0
    here = _act(bundle, contract)
    assert np.array_equal(here, _in_a_clean_process(bundle))
    assert np.isfinite(here).all()
    assert ((here >= contract.lower) & (here <= contract.upper)).all()
    _configure_a_node(bundle)


def _act(bundle: Path, contract: RobotContract) -> np.ndarray:
    policy = load_policy(bundle, contract)
    images = {name: np.full((240, 320, 3), 90, np.uint8) for name in policy.cameras}
    return policy.infer(Observation(0, contract.home, images), TEXT, "i").targets


def _in_a_clean_process(bundle: Path) -> np.ndarray:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", CLEAN, str(bundle), TEXT],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    return np.array(json.loads(done.stdout.splitlines()[-1]))


def _configure_a_node(bundle: Path) -> None:
    """Loads the bundle into the real policy node, which warms it up and measures it."""
    pytest.importorskip("rclpy")
    node_module = pytest.importorskip("finevla_policy.policy_node")
    from lifecycle_msgs.msg import Transition
    from lifecycle_msgs.srv import ChangeState
    from rclpy.parameter import Parameter
    from ros_rig import RosRig

    from finevla.contract import services

    values = {"bundle": str(bundle), "latency_budget_s": 5.0}
    overrides = [Parameter(name, value=value) for name, value in values.items()]
    with RosRig() as rig:
        node = rig.add(node_module.PolicyNode(context=rig.context, parameter_overrides=overrides))
        for transition in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
            request = ChangeState.Request(transition=Transition(id=transition))
            assert rig.call(ChangeState, f"/{services.POLICY_NODE}/change_state", request, 120).success
        node.close()
