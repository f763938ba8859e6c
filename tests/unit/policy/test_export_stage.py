"""`finevla export`: which checkpoint, which weights, what a bundle is told; refusals leave nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from finevla.contract import RobotContract
from finevla.contract.bundle import BundleContent, read_bundle
from finevla.errors import BundleError, FineVLAError, PolicyError
from finevla.stages.export.verb import Config, command_line, main
from finevla.stages.inspect.look import look


@pytest.fixture(scope="module")
def run_dir(
    contract: RobotContract, content: BundleContent, weights: dict, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """What `finevla train` leaves: two checkpoints, the newer one with averaged weights."""
    folder = tmp_path_factory.mktemp("export") / "run"
    for step, ema in ((9, False), (10, True)):
        checkpoint = folder / "checkpoints" / f"step_{step:06d}"
        checkpoint.mkdir(parents=True)
        bias = np.full(14, float(step), np.float32)
        save_file({**weights, "head.out.bias": bias}, checkpoint / "weights.safetensors")
        if ema:
            save_file({**weights, "head.out.bias": 0.5 * bias}, checkpoint / "ema.safetensors")
    document = {
        "model": dict(content.model),
        "images": {name: image.to_json() for name, image in content.images.items()},
        "text": dict(content.text),
        "dimensions": {slot: list(values) for slot, values in content.dimensions.items()},
        "state": content.state.to_json(),
        "action": content.action.to_json(),
        "mix": "1:4",
        "mix_mode": "strict",
        "manifest_hash": "m" * 64,
        "dataset_hash": "d" * 64,
        "schedule": {"seed": 7, "steps": 10},
        "episodes": 12,
        "frames": 200,
        "command": "finevla train dataset --out run",
        "git_commit": "c" * 40,
        "contract": dict(contract.document),
        "contract_hash": contract.hash,
        "extra_files": ["text/notes.json"],
    }
    (folder / "run.json").write_text(json.dumps(document))
    (folder / "text").mkdir()
    (folder / "text" / "notes.json").write_text("{}")
    return folder


def bias(bundle: Path, contract: RobotContract) -> float:
    return float(read_bundle(bundle, contract).weights["head.out.bias"][0])


def test_the_newest_averaged_weights_and_the_whole_origin(
    run_dir: Path, contract: RobotContract, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(Config(run_dir, tmp_path / "bundle")) == 0
    text = capsys.readouterr().out
    assert "step 10, averaged weights" in text
    assert "verified" in text
    content = read_bundle(tmp_path / "bundle", contract).content
    assert bias(tmp_path / "bundle", contract) == 5.0
    assert content.files == {"notes.json": b"{}"}
    assert dict(content.provenance) == {
        "dataset_hash": "d" * 64,
        "manifest_hash": "m" * 64,
        "mix": "1:4",
        "mix_mode": "strict",
        "commands": ["finevla train dataset --out run", "finevla export run --out bundle"],
        "seeds": {"train": 7},
        "git_commit": "c" * 40,
        "steps": 10,
        "averaged_weights": True,
        "episodes": 12,
        "frames": 200,
    }
    assert look(tmp_path / "bundle", contract).problems == ()


@pytest.mark.parametrize(
    ("flags", "expected"),
    [({"ema": False}, 10.0), ({"step": 9}, 9.0), ({"step": 10}, 5.0), ({"step": 9, "ema": False}, 9.0)],
)
def test_step_and_kind_of_weights_are_chosen(
    run_dir: Path, contract: RobotContract, tmp_path: Path, flags: dict[str, Any], expected: float
) -> None:
    main(Config(run_dir, tmp_path / "bundle", **flags))
    assert bias(tmp_path / "bundle", contract) == expected


def test_steps_are_ordered_as_numbers(run_dir: Path, contract: RobotContract, tmp_path: Path) -> None:
    copy = shutil.copytree(run_dir, tmp_path / "run")
    (copy / "checkpoints" / "step_000009").rename(copy / "checkpoints" / "step_1000000")
    main(Config(copy, tmp_path / "bundle"))
    assert bias(tmp_path / "bundle", contract) == 9.0


def change_run(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        document = json.loads((folder / "run.json").read_text())
        change(document)
        (folder / "run.json").write_text(json.dumps(document))

    return spoil


def other_robot(document: dict[str, Any]) -> None:
    document["contract_hash"], document["contract"]["version"] = "other", 99


def in_degrees(document: dict[str, Any]) -> None:
    found = document["action"]["steps"][0]["statistics"]
    for column in ("mean", "std", "minimum", "maximum"):
        found[column] = [57.2958 * value for value in found[column]]


@pytest.mark.parametrize(
    ("spoil", "flags", "error", "message"),
    [
        (lambda f: (f / "run.json").unlink(), {}, PolicyError, "not a training directory"),
        (change_run(lambda d: d.pop("manifest_hash")), {}, PolicyError, "everything that a bundle needs"),
        (change_run(other_robot), {}, BundleError, "version: 1 != 99"),
        (change_run(in_degrees), {}, BundleError, "statistics"),
        (change_run(lambda d: d["model"].update(horizon=8)), {}, BundleError, "cannot be built"),
        (change_run(lambda d: d.update(extra_files=["../x"])), {}, PolicyError, "outside of its training"),
        (change_run(lambda d: d.update(extra_files=["gone.json"])), {}, PolicyError, "is missing"),
        (change_run(lambda d: d["extra_files"].append("notes.json")), {}, PolicyError, "the same name"),
        (lambda f: shutil.rmtree(f / "checkpoints"), {}, PolicyError, "no checkpoint"),
        (lambda f: None, {"step": 4}, PolicyError, "one of \\[9, 10\\]"),
        (lambda f: None, {"max_mb": 1.0}, BundleError, "too large"),
        (lambda f: None, {"max_mb": 0.0}, BundleError, "no bundle is this small"),
    ],
)
def test_a_refused_export_leaves_nothing(
    run_dir: Path,
    tmp_path: Path,
    spoil: Callable[[Path], object],
    flags: dict[str, Any],
    error: type[FineVLAError],
    message: str,
) -> None:
    copy = shutil.copytree(run_dir, tmp_path / "run")
    spoil(copy)
    with pytest.raises(error, match=message) as caught:
        main(Config(copy, tmp_path / "bundle", **flags))
    assert caught.value.remedy
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_checkpoint_that_diverged_is_refused(run_dir: Path, tmp_path: Path, weights: dict) -> None:
    copy = shutil.copytree(run_dir, tmp_path / "run")
    bad = {**weights, "head.out.bias": np.full(14, np.nan, np.float32)}
    save_file(bad, copy / "checkpoints" / "step_000010" / "ema.safetensors")
    with pytest.raises(BundleError, match="not finite"):
        main(Config(copy, tmp_path / "bundle"))
    main(Config(copy, tmp_path / "bundle", ema=False))


def test_a_bundle_within_the_limit_passes(run_dir: Path, tmp_path: Path) -> None:
    assert main(Config(run_dir, tmp_path / "bundle", max_mb=25.0)) == 0


def test_the_command_repeats_the_export_without_paths_of_this_machine(tmp_path: Path) -> None:
    config = Config(tmp_path / "run", tmp_path / "out")
    assert command_line(config) == "finevla export run --out out"
    config = replace(config, step=4, ema=False, max_mb=25.0)
    assert command_line(config) == "finevla export run --out out --step 4 --no-ema --max-mb 25"
