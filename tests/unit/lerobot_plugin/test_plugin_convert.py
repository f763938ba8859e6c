"""Bundle to LeRobot checkpoint and back, through LeRobot's own loading: weights to the bit, and targets."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from finevla.contract import RobotContract
from finevla.contract.bundle import BundleContent, read_bundle, write_bundle
from finevla.contract.frame import Observation
from finevla.contract.images import WorkspaceCrop
from finevla.errors import BundleError, FineVLAError, PolicyError
from finevla.policy.inference import load_policy
from finevla.policy.inputs import camera_order
from finevla.policy.lexicon import Lexicon
from finevla.policy.model import build_network, network_weights
from finevla.policy.presets import preset
from finevla.policy.qwen_text import QwenCodec
from finevla.policy.qwen_tiny import tiny_tokenizer
from finevla.stages.export.lerobot import (
    ROUNDING,
    from_lerobot,
    load_lerobot,
    to_lerobot,
    train_dir_to_lerobot,
)
from finevla.stages.export.lerobot_checkpoint import checkpoint_folder, is_checkpoint
from finevla.stages.export.run import ExportSpec

CASES = [
    ("compact", "oft"),
    ("compact", "flow"),
    ("compact-3cam", "oft"),
    ("qwen-tiny", "oft"),
    ("qwen-tiny", "flow"),
]
TEXTS = ("Lift the red cube with the left arm.", "lift the blue cube with the right arm")


def bundle_of(backbone: str, head: str, out: Path, contract: RobotContract, content: BundleContent) -> Path:
    """An untrained policy with real statistics and random weights."""
    words = Lexicon.from_texts(TEXTS)
    config = preset(backbone, head, dof=14, horizon=contract.horizon, vocabulary_size=words.size)
    names = (contract.sync.pivot,) if config.cameras == 1 else camera_order(contract.cameras)
    box = (0, 0, 320, 240)
    images = {name: WorkspaceCrop((320, 240), box, config.image_size) for name in names}
    codec = words if backbone.startswith("compact") else QwenCodec.for_policy(config, tiny_tokenizer())
    filled = dataclasses.replace(
        content, model=config.to_json(), images=images, text=codec.to_json(), files=codec.files
    )
    return write_bundle(out, contract, filled, network_weights(build_network(config, seed=1)))


@pytest.fixture(scope="module")
def compact(contract, content, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("compact")
    bundle = bundle_of("compact", "oft", folder / "bundle", contract, content)
    return bundle, to_lerobot(bundle, folder / "checkpoint", contract)


@pytest.mark.parametrize(("backbone", "head"), CASES)
def test_the_round_trip_keeps_every_weight_and_target(
    backbone: str, head: str, contract: RobotContract, content: BundleContent, tmp_path: Path
) -> None:
    bundle = bundle_of(backbone, head, tmp_path / "bundle", contract, content)
    checkpoint = to_lerobot(bundle, tmp_path / "checkpoint", contract)
    loaded, policy = load_lerobot(checkpoint), load_policy(bundle, contract)
    rng = np.random.default_rng(7)
    chunks = []
    for text in TEXTS:
        images = {n: rng.integers(0, 256, (240, 320, 3), dtype=np.uint8) for n in policy.cameras}
        state = rng.uniform(contract.lower, contract.upper)
        ours = policy.infer(Observation(0, state, images), text, "x").targets
        theirs = loaded.targets({contract.cameras[n].key: image for n, image in images.items()}, state, text)
        np.testing.assert_allclose(ours, theirs, rtol=0.0, atol=ROUNDING)
        chunks.append(ours)
    assert not np.array_equal(*chunks), "the comparison would hold for any constant"

    again = read_bundle(from_lerobot(checkpoint, tmp_path / "again", contract), contract)
    before = policy.bundle
    assert again.content == before.content
    assert set(again.weights) == set(before.weights)
    assert all(np.array_equal(again.weights[name], before.weights[name]) for name in before.weights)


def test_lerobot_acts_target_by_target(compact: tuple[Path, Path], contract: RobotContract) -> None:
    import torch

    loaded = load_lerobot(compact[1])
    picture = torch.zeros(3, 240, 320)
    key = contract.cameras[contract.sync.pivot].key
    observation = {key: picture, "observation.state": torch.from_numpy(contract.home), "task": TEXTS[0]}
    chunk = loaded.policy.predict_action_chunk(loaded.before(dict(observation)))
    loaded.policy.reset()
    acted = [
        loaded.policy.select_action(loaded.before(dict(observation))) for _ in range(contract.horizon + 1)
    ]
    assert torch.equal(torch.stack(acted[:-1], dim=1), chunk)
    assert torch.equal(acted[-1], chunk[:, 0])


def edited(checkpoint: Path, out: Path, name: str, change) -> Path:
    """A copy of a checkpoint with one JSON file changed."""
    import shutil

    shutil.copytree(checkpoint, out)
    document = json.loads((out / name).read_text())
    change(document)
    (out / name).write_text(json.dumps(document))
    return out


def without_statistics(document: dict) -> None:
    step = next(
        s for s in document["steps"] if s["registry_name"].startswith(("finevla_norm", "finevla_unnorm"))
    )
    del step["config"]["action"]["steps"][0]["statistics"]


@pytest.mark.parametrize("name", ["policy_preprocessor.json", "policy_postprocessor.json"])
def test_a_checkpoint_without_statistics_is_refused(compact, tmp_path: Path, name: str) -> None:
    broken = edited(compact[1], tmp_path / "broken", name, without_statistics)
    with pytest.raises(PolicyError, match="LeRobot cannot load"):
        load_lerobot(broken)


def test_a_checkpoint_whose_steps_were_removed_gives_no_bundle(compact, contract, tmp_path: Path) -> None:
    def change(document: dict) -> None:
        document["steps"] = [s for s in document["steps"] if s["registry_name"] != "finevla_unnormalizer"]

    broken = edited(compact[1], tmp_path / "broken", "policy_postprocessor.json", change)
    with pytest.raises(FineVLAError, match="other processor steps"):
        from_lerobot(broken, tmp_path / "bundle", contract)
    assert not (tmp_path / "bundle").exists()


def test_lerobots_own_normalizer_at_work_gives_no_bundle(compact, contract, tmp_path: Path) -> None:
    def change(document: dict) -> None:
        step = next(s for s in document["steps"] if s["registry_name"] == "normalizer_processor")
        step["config"]["norm_map"]["STATE"] = "MEAN_STD"

    broken = edited(compact[1], tmp_path / "broken", "policy_preprocessor.json", change)
    with pytest.raises(FineVLAError, match="other processor steps"):
        from_lerobot(broken, tmp_path / "bundle", contract)


def test_weights_that_do_not_all_fit_are_refused(compact, tmp_path: Path) -> None:
    broken = edited(compact[1], tmp_path / "broken", "config.json", lambda _: None)
    weights = load_file(broken / "model.safetensors")
    weights.pop(sorted(weights)[0])
    save_file(weights, broken / "model.safetensors")
    with pytest.raises(PolicyError, match="LeRobot cannot load"):
        load_lerobot(broken)


def test_a_policy_for_another_contract_gives_no_bundle(compact, contract, tmp_path: Path) -> None:
    other = edited(
        compact[1], tmp_path / "other", "config.json", lambda d: d["provenance"].update(contract_hash="x")
    )
    with pytest.raises(BundleError, match="another robot contract"):
        from_lerobot(other, tmp_path / "bundle", contract)


def test_a_training_directory_becomes_a_checkpoint(contract, content, tmp_path: Path) -> None:
    bundle = read_bundle(bundle_of("compact", "flow", tmp_path / "bundle", contract, content), contract)
    run = tmp_path / "run"
    (run / "checkpoints" / "step_000004").mkdir(parents=True)
    save_file(dict(bundle.weights), run / "checkpoints" / "step_000004" / "weights.safetensors")
    document = json.loads((bundle.path / "bundle.json").read_text())
    told = {key: document["provenance"][key] for key in ("mix", "manifest_hash", "dataset_hash")}
    told |= {
        "schedule": {"seed": 7},
        "episodes": 1,
        "frames": 200,
        "command": "finevla train",
        "git_commit": "x",
    }
    (run / "run.json").write_text(json.dumps({**document, **told, "mix_mode": "strict", "extra_files": []}))

    out = train_dir_to_lerobot(ExportSpec(run, tmp_path / "out", "finevla export"), contract)
    config = load_lerobot(out).policy.config
    assert config.provenance["steps"] == 4
    assert config.provenance["commands"] == ["finevla train", "finevla export"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "out", "run"], (
        "nothing else is left"
    )
    assert is_checkpoint(out)
    assert not is_checkpoint(run)


def test_what_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="not a LeRobot checkpoint"):
        checkpoint_folder(tmp_path)


def test_an_existing_output_is_left_alone(compact, contract) -> None:
    with pytest.raises(PolicyError, match="exists already"):
        to_lerobot(compact[0], compact[1], contract)
    with pytest.raises(BundleError, match="exists already"):
        from_lerobot(compact[1], compact[0], contract)
