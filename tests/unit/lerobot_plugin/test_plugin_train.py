"""`lerobot-train --policy.type=finevla`: as a real process, and the parts of it that a process hides."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
import torch
from lerobot.datasets.dataset_metadata import LeRobotDatasetMetadata
from lerobot.policies import make_policy, make_pre_post_processors
from lerobot_policy_finevla import FineVLAConfig
from lerobot_policy_finevla.steps import WORDS

from finevla.contract import RobotContract
from finevla.contract.frame import Observation
from finevla.errors import DatasetError, PolicyError
from finevla.policy.inference import load_policy
from finevla.policy.text import codec_from_json
from finevla.stages.export.lerobot import from_lerobot, load_lerobot

NEW = (
    "--policy.type=finevla",
    "--policy.device=cpu",
    "--policy.push_to_hub=false",
    "--policy.crop=[102,50,218,166]",
)
RELOAD = """
import json, sys
import numpy as np
from finevla.contract import load_contract
from finevla.stages.export.lerobot import load_lerobot
picture = np.full((240, 320, 3), 90, np.uint8)
chunk = load_lerobot(__import__("pathlib").Path(sys.argv[1])).targets(
    {"observation.images.cam_high": picture}, load_contract().home, sys.argv[2]
)
print(json.dumps(chunk.tolist()))
"""
TEXT = "Lift the red cube with the left arm."


def with_raw(dataset: Path, out: Path, contract: RobotContract, missing: int = 0) -> Path:
    """The toy data as `finevla convert` leaves it; the first `missing` episodes have no raw text."""
    shutil.copytree(dataset, out)
    episodes = [
        {"episode_index": number, "level": "fine", "raw": "" if number < missing else "lift the cube"}
        for number in range(12)
    ]
    record = {"dataset_hash": "toy", "contract_hash": contract.hash, "episodes": episodes}
    (out / "meta" / "finevla.json").write_text(json.dumps(record))
    return out


@pytest.fixture(scope="module")
def trained(
    lerobot_train: Callable[..., CompletedProcess],
    lerobot_dataset: Path,
    contract: RobotContract,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Output of three steps of a flow policy at FG:Raw 1:1."""
    folder = tmp_path_factory.mktemp("train")
    data = with_raw(lerobot_dataset, folder / "data", contract)
    done = lerobot_train(
        folder / "out", *NEW, "--policy.head=flow", "--policy.mix=1:1", "--steps=3", dataset=data
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return folder / "out"


def test_lerobot_train_leaves_a_checkpoint_that_a_clean_process_loads(
    trained: Path, in_clean_process: Callable[..., CompletedProcess], contract: RobotContract, tmp_path: Path
) -> None:
    done = in_clean_process(sys.executable, "-c", RELOAD, trained, TEXT)
    assert done.returncode == 0, done.stderr[-4000:]
    theirs = np.array(json.loads(done.stdout.splitlines()[-1]))

    bundle = from_lerobot(trained, tmp_path / "bundle", contract, command="finevla export")
    picture = np.full((240, 320, 3), 90, np.uint8)
    policy = load_policy(bundle, contract)
    ours = policy.infer(Observation(0, contract.home, {contract.sync.pivot: picture}), TEXT, "x").targets
    assert np.array_equal(ours, theirs)

    provenance = policy.bundle.content.provenance
    assert provenance["mix"] == "1:1"
    assert provenance["steps"] == 3
    assert provenance["dataset_hash"] == "toy"
    assert [command.split()[0] for command in provenance["commands"]] == ["lerobot-train", "finevla"]
    assert "lift" in policy.known_words
    assert "color" in policy.dimensions


@pytest.mark.slow
def test_a_run_is_resumed_and_another_one_starts_from_its_weights(
    trained: Path, lerobot_train: Callable[..., CompletedProcess], lerobot_dataset: Path, tmp_path: Path
) -> None:
    last = trained / "checkpoints" / "last" / "pretrained_model"
    copy = tmp_path / "out"
    shutil.copytree(trained, copy, symlinks=True)
    resumed = lerobot_train(
        copy,
        f"--config_path={copy}/checkpoints/last/pretrained_model/train_config.json",
        "--resume=true",
        "--steps=5",
        dataset=trained.parent / "data",
    )
    assert resumed.returncode == 0, resumed.stderr[-4000:]
    assert (copy / "checkpoints" / "000005").is_dir()

    tuned = lerobot_train(tmp_path / "tuned", f"--policy.path={last}", "--policy.mix=fg", "--steps=1")
    assert tuned.returncode == 0, tuned.stderr[-4000:]
    config = load_lerobot(tmp_path / "tuned").policy.config
    assert config.provenance["datasets_before"] == ["toy"]
    assert config.provenance["mix"] == "fg"


def meta_of(root: Path) -> LeRobotDatasetMetadata:
    return LeRobotDatasetMetadata("local/toy", root=root)


def config_of(**choices: object) -> FineVLAConfig:
    return FineVLAConfig(device="cpu", push_to_hub=False, **choices)


def test_a_policy_is_not_made_without_statistics(lerobot_dataset: Path) -> None:
    meta = meta_of(lerobot_dataset)
    del meta.stats["action"]["std"]
    with pytest.raises(DatasetError, match="no statistics of action"):
        make_policy(config_of(), ds_meta=meta)


def test_processors_are_not_made_without_a_policy(lerobot_dataset: Path) -> None:
    with pytest.raises(PolicyError, match="no statistics to normalize with"):
        make_pre_post_processors(config_of(), dataset_stats=meta_of(lerobot_dataset).stats)


def test_a_policy_is_not_made_out_of_nothing() -> None:
    from lerobot_policy_finevla.modeling_finevla import FineVLAPolicy

    with pytest.raises(PolicyError, match="out of nothing"):
        FineVLAPolicy(config_of())


@pytest.mark.parametrize("mix", ["1:1", "raw"])
def test_a_mix_needs_the_raw_text_of_every_episode(
    mix: str, lerobot_dataset: Path, contract: RobotContract, tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match="lacks a text"):
        make_policy(config_of(mix=mix), ds_meta=meta_of(lerobot_dataset))
    some = with_raw(lerobot_dataset, tmp_path / "some", contract, missing=2)
    with pytest.raises(DatasetError, match="episode 0, and 1 more"):
        make_policy(config_of(mix=mix), ds_meta=meta_of(some))


@pytest.mark.parametrize(
    ("choices", "error", "match"),
    [
        ({"backbone": "huge"}, PolicyError, "no such policy"),
        ({"backbone": "qwen3-vl-4b"}, PolicyError, "published language model"),
        ({"cameras": ["observation.images.absent"]}, DatasetError, "lacks the pictures"),
        ({"mix": "sometimes"}, DatasetError, "mix cannot be read"),
    ],
)
def test_choices_that_do_not_fit_are_refused_by_name(
    choices: dict, error: type[Exception], match: str, lerobot_dataset: Path
) -> None:
    with pytest.raises(error, match=match):
        make_policy(config_of(**choices), ds_meta=meta_of(lerobot_dataset))


def test_joints_without_names_are_refused(lerobot_dataset: Path) -> None:
    meta = meta_of(lerobot_dataset)
    meta.info.features["action"]["names"] = None
    with pytest.raises(DatasetError, match="no joint names"):
        make_policy(config_of(), ds_meta=meta)


def test_another_robot_needs_a_floor_and_gets_no_limits(lerobot_dataset: Path) -> None:
    meta = meta_of(lerobot_dataset)
    for key in ("action", "observation.state"):
        meta.info.features[key]["names"] = [f"motor_{i}" for i in range(14)]
    with pytest.raises(DatasetError, match="how little they may spread"):
        make_policy(config_of(), ds_meta=meta)
    config = config_of(std_floor=0.05)
    make_policy(config, ds_meta=meta)
    assert config.recipe is not None
    assert config.recipe.lower == ()
    assert config.joint_names[0] == "motor_0"


def batch_of(dataset: Path, **choices: object):
    """A policy and a batch of the last two frames of an episode, as lerobot-train makes them."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    torch.manual_seed(0)
    config = config_of(**choices)
    policy = make_policy(config, ds_meta=meta_of(dataset))
    stamps = {"action": [i / 10 for i in config.action_delta_indices]}
    frames = LeRobotDataset("local/toy", root=dataset, delta_timestamps=stamps)
    before, _ = make_pre_post_processors(config)
    return policy, before(torch.utils.data.default_collate([frames[3], frames[4]]))


@pytest.mark.parametrize("backbone", ["compact", "qwen-tiny"])
@pytest.mark.parametrize("head", ["oft", "flow"])
def test_the_loss_is_that_of_the_network_and_seeded_by_torch(
    backbone: str, head: str, lerobot_dataset: Path
) -> None:
    camera = ["observation.images.cam_high"]
    policy, batch = batch_of(lerobot_dataset, backbone=backbone, head=head, cameras=camera)
    losses = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        losses.append(float(policy.forward(batch)[0].detach()))
    assert np.isfinite(losses).all()
    assert losses[0] == losses[1]
    assert (losses[0] == losses[2]) == (head == "oft")


def test_rest_steps_count_as_targets(lerobot_dataset: Path) -> None:
    policy, batch = batch_of(lerobot_dataset, rest_steps=2)
    assert policy._valid(batch).sum(1).tolist() == [
        4,
        3,
    ]  # two frames are left, then one; two repetitions each
    assert not batch["action_is_pad"][0, 1]
    assert batch["action_is_pad"][0, 2]


def test_raw_words_are_trained_on_and_the_task_is_what_is_validated(
    lerobot_dataset: Path, contract: RobotContract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = with_raw(lerobot_dataset, tmp_path / "data", contract)
    policy, batch = batch_of(data, mix="raw")
    read = []
    monkeypatch.setattr(
        policy.network, "loss", lambda inputs, *_: read.append(inputs.words) or torch.zeros(())
    )
    for mode in (True, False):
        policy.train(mode)
        policy.forward(batch)
    codec = codec_from_json(policy.config.recipe.text, {})
    assert np.array_equal(read[0].numpy(), [codec.encode("lift the cube")] * 2)
    assert not torch.equal(read[0], read[1])
    assert torch.equal(read[1], batch[WORDS])
