"""The proof that cells may be compared: one seed, the same episodes, frames and actions, in the same order.

The trainer writes `manifest_hash` into run.json: SHA-256 over the dataset, the split, the statistics and
the frames of every update. Mix and head must not change it; only the language may differ.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from finevla.stages.sweep.phases import TRAIN
from finevla.stages.sweep.plan import CellJob, SweepError


class ManifestError(SweepError):
    """Cells of one seed were trained on different frames: they say nothing about language."""


def manifest_of(run: Path) -> str:
    """Hash of what a training run saw; empty where it has not begun.

    Raises:
        ManifestError: The trainer left no hash.
    """
    path = run / TRAIN / "run.json"
    if not path.exists():
        return ""
    found = json.loads(path.read_text("utf-8")).get("manifest_hash")
    if not found:
        raise ManifestError(
            "a training run does not tell which frames it saw",
            where=path,
            expected="manifest_hash",
            found="none",
            remedy="train again with this version of finevla",
        )
    return str(found)


def check_siblings(job: CellJob) -> None:
    """Compares a cell that was trained with all other cells of its seed in the folder.

    Raises:
        ManifestError: One of them saw other frames.
    """
    own = manifest_of(job.run)
    for other in sorted((job.out / "runs").glob(f"*-seed{job.cell.seed}")):
        found = manifest_of(other)
        if found and found != own:
            raise _differ(job.cell.seed, {job.cell.name: own, other.name: found})


def prove(cells: Mapping[str, Mapping[str, Any]]) -> dict[int, str]:
    """The one manifest hash of each seed.

    Args:
        cells: Results by name, with `seed` and `hashes.manifest`.

    Raises:
        ManifestError: Cells of one seed have different ones, or a cell has none.
    """
    trained: dict[int, dict[str, str]] = {}
    judged: dict[int, dict[str, str]] = {}
    for name, cell in cells.items():
        seed = int(cell["seed"])
        trained.setdefault(seed, {})[name] = str(cell["hashes"].get("manifest") or "none")
        judged.setdefault(seed, {})[name] = str(cell["evaluation"].get("plan_hash") or "none")
    for seed, found in trained.items():
        if len(set(found.values())) > 1 or "none" in found.values():
            raise _differ(seed, found)
        if len(set(judged[seed].values())) > 1 or "none" in judged[seed].values():
            raise _differ(seed, judged[seed], "judged on the same pairs", "plan_hash")
    return {seed: next(iter(found.values())) for seed, found in sorted(trained.items())}


def _differ(
    seed: int,
    found: Mapping[str, str],
    what: str = "trained on the same frames",
    which: str = "manifest_hash",
) -> ManifestError:
    return ManifestError(
        f"the cells of seed {seed} were not {what}",
        expected=f"one {which} for all of them",
        found=", ".join(f"{name}: {value[:12]}" for name, value in found.items()),
        remedy="remove the cells that do not belong, with their runs, and sweep again",
    )
