"""Cells of sweeps for tests: documents with made-up figures, and functions in place of a cell's work."""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from finevla.sim.factors import IN_DISTRIBUTION, OOD
from finevla.stages.evaluate.intervals import wilson
from finevla.stages.sweep.plan import MIXES, Cell, CellJob, Settings

SETTINGS = Settings(
    dataset_hash="d" * 64,
    contract_hash="c" * 64,
    steps=40,
    train_flags="",
    factors="all",
    n=20,
    probes=0,
    scene_seed=1000,
    replan_frames=4,
    paired_flags="",
    closed_loop=0,
    openloop=False,
)
SHAPE = dict(zip(MIXES, (0.42, 0.50, 0.60, 0.66, 0.63, 0.58, 0.52), strict=True))
"""Mix -> compliance of a made-up cell."""


def job(out: Path, cell: Cell, **changes: Any) -> CellJob:
    return CellJob(cell, replace(SETTINGS, **changes), out / "no_dataset", out)


def factor_row(compliance: float, success: float, n: int) -> dict[str, Any]:
    return {
        "n": n,
        "compliance": compliance,
        "ci95": list(wilson(compliance, n)),
        "success": success,
        "success_ci95": list(wilson(success, n)),
        "chance": 0.4,
    }


def document(cell_job: CellJob, *, manifest: str = "", lift: float = 0.0) -> dict[str, Any]:
    """A cell as `run_cell` would give it, with figures that depend on mix, head and seed only."""
    cell, n = cell_job.cell, cell_job.settings.n
    base = SHAPE[cell.mix] + lift - (0.06 if cell.head == "flow" else 0.0) + 0.02 * (cell.seed % 3 - 1)
    names = (*IN_DISTRIBUTION, OOD)
    compliance = {name: min(max(base + 0.03 * (i - 4), 0.0), 1.0) for i, name in enumerate(names)}
    factors = {name: factor_row(value, 0.9 * value, n) for name, value in compliance.items()}
    factors[OOD] = factor_row(max(compliance[OOD] - 0.5, 0.0), max(compliance[OOD] - 0.55, 0.0), n)
    seed = cell.seed
    return {
        "cell": cell.name,
        **asdict(cell),
        "config_hash": cell_job.config_hash,
        "config": cell_job.config,
        "hashes": {"dataset": "d" * 64, "manifest": manifest or f"{seed}" * 64, "bundle": cell.name},
        "training": {
            "final_loss": 0.1 + 0.01 * seed,
            "validation_loss": 0.12,
            "r2": 0.8,
            "updates": cell_job.settings.steps,
            "seconds": 60.0,
        },
        "evaluation": {"factors": factors, "plan_hash": f"plan{seed}"},
        "probes": None,
        "closed_loop": None,
        "openloop": None,
        "seconds": {"train": 60.0, "paired": 30.0},
        "machine": {"cpu": "a processor", "cpus": 2, "threads": 1},
        "git_commit": "0" * 40,
        "commands": [],
    }


def work(cell_job: CellJob) -> dict[str, Any]:
    """Does a cell at once, and leaves a mark for each time that it was called."""
    cell_job.run.mkdir(parents=True, exist_ok=True)
    with (cell_job.run / "called").open("a") as file:
        file.write("x")
    return document(cell_job)


def work_but_fg(cell_job: CellJob) -> dict[str, Any]:
    """Fails for the mix fg."""
    if cell_job.cell.mix == "fg":
        raise RuntimeError(f"no luck with {cell_job.cell.name}\nsecond line")
    return work(cell_job)


def work_or_die(cell_job: CellJob) -> dict[str, Any]:
    """Its process dies at the mix fg."""
    if cell_job.cell.mix == "fg":
        os._exit(3)
    return work(cell_job)


def calls(cell_job: CellJob) -> int:
    """How often `work` did this cell."""
    path = cell_job.run / "called"
    return len(path.read_text()) if path.exists() else 0
