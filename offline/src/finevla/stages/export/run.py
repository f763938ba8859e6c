"""The stage `export`: training directory in, verified bundle out."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from finevla.contract.bundle import BundleContent, write_bundle
from finevla.contract.frame import Observation
from finevla.contract.images import WorkspaceCrop
from finevla.contract.robot import RobotContract, difference
from finevla.contract.transforms import transform_from_json
from finevla.errors import BundleError
from finevla.policy.inference import load_policy
from finevla.stages.train.checkpoint import checkpoint_weights, newest_checkpoint
from finevla.stages.train.run import read_run

MAX_BYTES = 25_000_000
"""A bundle that is larger does not belong into the repository."""


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was exported and verified."""

    bundle: Path
    checkpoint_id: str
    bytes: int
    step: int
    provenance: dict[str, Any]


def export_bundle(train_dir: Path, out: Path, contract: RobotContract, command: str) -> ExportReport:
    """Writes the newest checkpoint as a bundle, loads it again and infers once.

    Raises:
        PolicyError: This is no training directory, or it has no checkpoint.
        BundleError: The run was made for another contract, the bundle exists or is too large.
    """
    run = read_run(train_dir)
    if run["contract_hash"] != contract.hash:
        raise BundleError(
            "the policy was trained for another robot contract",
            where=train_dir,
            expected=contract.hash,
            found="\n    ".join(["robot != training:", *difference(contract.document, run["contract"])]),
            remedy="train again with this contract",
        )
    checkpoint = newest_checkpoint(train_dir)
    step = int(json.loads((checkpoint / "state.json").read_text())["step"])
    content = _content(run, contract, command, step)
    bundle = write_bundle(out, contract, content, checkpoint_weights(checkpoint))
    try:
        checkpoint_id, size = _verify(bundle, contract)
    except BaseException:
        shutil.rmtree(bundle)
        raise
    return ExportReport(bundle, checkpoint_id, size, step, dict(content.provenance))


def _content(run: dict[str, Any], contract: RobotContract, command: str, step: int) -> BundleContent:
    return BundleContent(
        model=run["model"],
        images={name: WorkspaceCrop.from_json(image) for name, image in run["images"].items()},
        dt_s=contract.frame_period_s,
        horizon=contract.horizon,
        vocabulary=tuple(run["vocabulary"]),
        state=transform_from_json(run["state"]),
        action=transform_from_json(run["action"]),
        provenance={
            "dataset_hash": run["dataset_hash"],
            "commands": [run["command"], command],
            "seeds": {"train": run["schedule"]["seed"]},
            "git_commit": run["git_commit"],
            "steps": step,
            "episodes": run["episodes"],
            "frames": run["frames"],
        },
    )


def _verify(bundle: Path, contract: RobotContract) -> tuple[str, int]:
    """Loads the bundle as a node would and infers once on noise; returns its id and size in bytes."""
    policy = load_policy(bundle, contract)
    rng = np.random.default_rng(0)
    images = {
        name: rng.integers(0, 256, (spec.height, spec.width, 3), dtype=np.uint8)
        for name, spec in contract.cameras.items()
    }
    policy.infer(Observation(0, contract.home, images), policy.known_words[0], "export")
    size = sum(file.stat().st_size for file in bundle.iterdir())
    if size > MAX_BYTES:
        raise BundleError(
            "the bundle is too large",
            where=bundle,
            expected=f"at most {MAX_BYTES} bytes",
            found=size,
            remedy="train a smaller model",
        )
    return policy.checkpoint_id, size
