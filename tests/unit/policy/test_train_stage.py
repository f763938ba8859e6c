"""`finevla train` and `finevla export` on a dataset written by LeRobot's own API."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from finevla.contract import Observation, RobotContract, keys
from finevla.contract.bundle import read_bundle
from finevla.errors import BundleError, DatasetError, PolicyError
from finevla.policy.inference import load_policy
from finevla.stages.export.verb import Config as ExportConfig
from finevla.stages.export.verb import main as export_main
from finevla.stages.train.checkpoint import checkpoint_weights, newest_checkpoint
from finevla.stages.train.data import read_dataset
from finevla.stages.train.run import Progress, TrainReport, run_training
from finevla.stages.train.verb import Config, command_line, training_spec
from finevla.stages.train.verb import main as train_main


def config(dataset: Path, out: Path, **flags: object) -> Config:
    short = {"steps": 8, "batch_size": 4, "probe_every": 4, "save_every": 4, "val_episodes": 2}
    return Config(dataset=dataset, out=out, **{**short, **flags})


def train(contract: RobotContract, flags: Config, progress: Progress | None = None) -> TrainReport:
    return run_training(training_spec(flags), contract, progress or Progress())


@pytest.fixture(scope="module")
def trained(contract: RobotContract, lerobot_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("train") / "run"
    train(contract, config(lerobot_dataset, out))
    return out


def test_frames_are_read_through_the_shared_crop(
    contract: RobotContract, lerobot_dataset: Path, tmp_path: Path
) -> None:
    images = training_spec(config(lerobot_dataset, tmp_path)).images
    seen: list[tuple[int, int]] = []
    cache = read_dataset(lerobot_dataset, contract, images, lambda *args: seen.append(args))
    assert seen[-1] == (12, 12)
    assert cache.pictures.shape == (60, 1, 64, 64, 3)
    assert cache.starts.tolist() == list(range(0, 61, 5))
    assert len(cache.dataset_hash) == 64
    color = np.median(cache.pictures[0, 0].reshape(-1, 3), axis=0)
    assert np.abs(color - 120).max() < 12  # the gray ground: the black border is outside of the box
    assert "arm" in cache.fine[0]


def test_two_runs_are_equal_to_the_last_bit(
    contract: RobotContract, lerobot_dataset: Path, trained: Path, tmp_path: Path
) -> None:
    train(contract, config(lerobot_dataset, tmp_path / "again"))
    first = checkpoint_weights(newest_checkpoint(trained))
    second = checkpoint_weights(newest_checkpoint(tmp_path / "again"))
    assert all(np.array_equal(first[name], second[name]) for name in first)


class Interrupt(Progress):
    """Stops a run in the middle, after the checkpoint at step 4."""

    def step(self, done: int, loss: float) -> None:
        if done == 6:
            raise KeyboardInterrupt


def test_an_interrupted_run_resumes_exactly(
    contract: RobotContract, lerobot_dataset: Path, trained: Path, tmp_path: Path
) -> None:
    out = tmp_path / "broken"
    with pytest.raises(KeyboardInterrupt):
        train(contract, config(lerobot_dataset, out), Interrupt())
    report = train(contract, config(lerobot_dataset, out, resume=True))
    first, second = (checkpoint_weights(newest_checkpoint(path)) for path in (trained, out))
    assert all(np.array_equal(first[name], second[name]) for name in first)
    steps = [json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert steps == [4, 8]
    assert report.final.step == 8


def test_resuming_another_run_is_refused(
    contract: RobotContract, lerobot_dataset: Path, trained: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(trained, tmp_path / "run")
    with pytest.raises(PolicyError, match="not the one that was begun"):
        train(contract, config(lerobot_dataset, copy, resume=True, seed=1))
    with pytest.raises(PolicyError, match="exists already"):
        train(contract, config(lerobot_dataset, copy))


def test_metrics_and_curve_are_left(trained: Path) -> None:
    lines = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [4, 8]
    assert all(line["validation_loss"] > 0 and "r2" in line for line in lines)
    ET.fromstring((trained / "curve.svg").read_text())
    assert not list(trained.rglob("*.partial"))


def test_export_gives_a_bundle_that_acts(
    contract: RobotContract, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bundle"
    assert export_main(ExportConfig(trained, out)) == 0
    assert "verified" in capsys.readouterr().out
    bundle = read_bundle(out, contract)
    provenance = bundle.content.provenance
    assert len(provenance["dataset_hash"]) == 64
    assert provenance["seeds"] == {"train": 0}
    assert provenance["commands"][0].startswith("finevla train dataset --out run --steps 8")
    assert str(tmp_path) not in json.dumps(dict(provenance))
    policy = load_policy(out, contract)
    camera = contract.cameras[contract.sync.pivot]
    picture = np.zeros((camera.height, camera.width, 3), np.uint8)
    chunk = policy.infer(Observation(5, contract.home, {camera.name: picture}), "lift red cube", "x")
    assert chunk.horizon == contract.horizon


def test_export_refuses_another_contract(contract: RobotContract, trained: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(trained, tmp_path / "run")
    document = json.loads((copy / "run.json").read_text())
    document["contract_hash"], document["contract"]["version"] = "other", 99
    (copy / "run.json").write_text(json.dumps(document))
    with pytest.raises(BundleError, match="version: 1 != 99"):
        export_main(ExportConfig(copy, tmp_path / "bundle"))
    with pytest.raises(PolicyError, match="not a training directory"):
        export_main(ExportConfig(tmp_path, tmp_path / "bundle"))
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["features"][keys.ACTION]["names"].reverse(), "another order"),
        (lambda d: d.update(codebase_version="v9.9"), "unknown format"),
        (lambda d: d.update(fps=30), "another frame rate"),
        (lambda d: d["features"].pop(next(k for k in d["features"] if "images" in k)), "lacks"),
    ],
)
def test_other_datasets_are_refused_before_anything_is_written(
    contract: RobotContract, lerobot_dataset: Path, tmp_path: Path, change, message: str
) -> None:
    copy = shutil.copytree(lerobot_dataset, tmp_path / "data")
    info = json.loads((copy / "meta" / "info.json").read_text())
    change(info)
    (copy / "meta" / "info.json").write_text(json.dumps(info))
    with pytest.raises(DatasetError, match=message):
        train(contract, config(copy, tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_command_names_no_directory_of_this_machine(tmp_path: Path) -> None:
    line = command_line(Config(dataset=tmp_path / "d", out=tmp_path / "o"))
    assert line.startswith("finevla train d --out o --steps 3000")
    assert "--preset compact" in line


@pytest.mark.parametrize(
    "flag", ["steps", "batch_size", "probe_every", "save_every", "threads", "lr", "val_episodes"]
)
def test_numbers_that_train_nothing_are_refused_before_anything_is_written(
    lerobot_dataset: Path, tmp_path: Path, flag: str
) -> None:
    value = -1 if flag == "val_episodes" else 0
    with pytest.raises(PolicyError, match=f"--{flag.replace('_', '-')}"):
        train_main(config(lerobot_dataset, tmp_path / "run", **{flag: value}))
    assert not (tmp_path / "run").exists()
