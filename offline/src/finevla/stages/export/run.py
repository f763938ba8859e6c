"""The stage `export`: training directory in, verified bundle out."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from finevla.contract.bundle import BundleContent, write_bundle
from finevla.contract.frame import Observation
from finevla.contract.images import WorkspaceCrop
from finevla.contract.robot import RobotContract, difference
from finevla.contract.sanity import statistics_notes
from finevla.contract.transforms import transform_from_json
from finevla.errors import BundleError
from finevla.policy.inference import load_policy
from finevla.stages.export.checkpoint import (
    Checkpoint,
    checkpoint_tensors,
    choose_checkpoint,
    extra_files,
    read_run,
)

_ANY_SENTENCE = "Pick up the red cube with the left arm."
"""What a policy that reads any sentence is tried with."""

_MORE_ORIGIN = ("mix_mode", "balance", "precision", "validation")
"""What a run may tell beyond what every bundle must."""


@dataclass(frozen=True, slots=True)
class ExportSpec:
    """What to export and how; the flags of `finevla export` in one place.

    Args:
        train_dir: Directory that `finevla train` wrote.
        out: New directory of the bundle.
        command: The command, for the provenance.
        step: Which checkpoint; the newest where None.
        ema: Whether averaged weights are taken where the run has them.
        max_bytes: A larger bundle is refused; any size where None.
    """

    train_dir: Path
    out: Path
    command: str
    step: int | None = None
    ema: bool = True
    max_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was exported and verified; `notes` says what is unusual about the statistics."""

    bundle: Path
    checkpoint_id: str
    bytes: int
    parameters: int
    provenance: Mapping[str, Any]
    notes: tuple[str, ...]


def export_bundle(spec: ExportSpec, contract: RobotContract) -> ExportReport:
    """Writes a checkpoint as a bundle, loads it again and infers once.

    Raises:
        PolicyError: This is no training directory of this version, or it has no such checkpoint.
        BundleError: The run was made for another contract, the bundle exists or is too large, or
            weights or statistics are unusable.
    """
    run = read_run(spec.train_dir)
    if run["contract_hash"] != contract.hash:
        raise BundleError(
            "the policy was trained for another robot contract",
            where=spec.train_dir,
            expected=contract.hash,
            found="\n    ".join(["robot != training:", *difference(contract.document, run["contract"])]),
            remedy="train again with this contract",
        )
    checkpoint = choose_checkpoint(spec.train_dir, spec.step, spec.ema)
    tensors = checkpoint_tensors(checkpoint)
    content = _content(run, contract, spec, checkpoint)
    bundle = write_bundle(spec.out, contract, content, tensors.arrays)
    try:
        size = _size(bundle, spec.max_bytes)
        checkpoint_id = _verify(bundle, contract)
    except BaseException:
        shutil.rmtree(bundle)
        raise
    notes = (
        *statistics_notes("state", content.state, contract),
        *statistics_notes("action", content.action, contract),
    )
    return ExportReport(bundle, checkpoint_id, size, tensors.parameters, content.provenance, notes)


def _content(
    run: Mapping[str, Any], contract: RobotContract, spec: ExportSpec, checkpoint: Checkpoint
) -> BundleContent:
    return BundleContent(
        model=run["model"],
        images={name: WorkspaceCrop.from_json(image) for name, image in run["images"].items()},
        dt_s=contract.frame_period_s,
        horizon=contract.horizon,
        text=run["text"],
        dimensions={slot: tuple(values) for slot, values in run["dimensions"].items()},
        state=transform_from_json(run["state"]),
        action=transform_from_json(run["action"]),
        provenance={
            "dataset_hash": run["dataset_hash"],
            "manifest_hash": run["manifest_hash"],
            "mix": run["mix"],
            **{key: run[key] for key in _MORE_ORIGIN if key in run},
            "commands": [run["command"], spec.command],
            "seeds": {"train": run["schedule"]["seed"]},
            "git_commit": run["git_commit"],
            "steps": checkpoint.step,
            "averaged_weights": checkpoint.averaged,
            "episodes": run["episodes"],
            "frames": run["frames"],
        },
        files=extra_files(spec.train_dir, run),
    )


def _size(bundle: Path, max_bytes: int | None) -> int:
    size = sum(file.stat().st_size for file in bundle.iterdir())
    if max_bytes is not None and size > max_bytes:
        raise BundleError(
            "the bundle is too large",
            where=bundle,
            expected=f"at most {max_bytes} bytes",
            found=size,
            remedy="train a smaller model, or raise --max-mb",
        )
    return size


def _verify(bundle: Path, contract: RobotContract) -> str:
    """Loads the bundle as a node would and infers once on noise; returns its id."""
    policy = load_policy(bundle, contract)
    rng = np.random.default_rng(0)
    images = {
        name: rng.integers(0, 256, (spec.height, spec.width, 3), dtype=np.uint8)
        for name, spec in contract.cameras.items()
    }
    sentence = policy.known_words[0] if policy.known_words else _ANY_SENTENCE
    policy.infer(Observation(0, contract.home, images), sentence, "export")
    return policy.checkpoint_id
