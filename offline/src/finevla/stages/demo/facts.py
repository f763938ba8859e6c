"""What a demonstration is made of: checkpoint, contract, versions, machine and latencies."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any

from finevla.stages.demo.rows import REPEAT_RULE, Row, Tally, repeated, tally

PACKAGES = ("finevla", "numpy", "torch", "rclpy", "sapien", "piper_sdk")


@dataclass(frozen=True, slots=True)
class Facts:
    """Provenance of a run. Latencies in s: p50 and p95 over the newest inferences of the trials.

    `real_time_factor` is the simulator's lowest, 0 where it told none.
    """

    checkpoint_id: str
    bundle: str
    contract_hash: str
    seed: int
    domain_id: int
    started_utc: str
    versions: dict[str, str]
    machine: str
    bringup_s: float
    latency_p50_s: float
    latency_p95_s: float
    applied_p50_s: float
    chunks: int
    real_time_factor: float


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that make up the loop; absent ones are left out."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine() -> str:
    """The machine in words: system, architecture, number of cores."""
    return f"{platform.system()} {platform.release()}, {platform.machine()}, {os.cpu_count()} cores"


def median(values: Sequence[float]) -> float:
    """The median, 0 where there are no values."""
    ranked = sorted(values)
    if not ranked:
        return 0.0
    middle = len(ranked) // 2
    return ranked[middle] if len(ranked) % 2 else (ranked[middle - 1] + ranked[middle]) / 2


def summary(rows: Sequence[Row], facts: Facts, floor: float) -> dict[str, Any]:
    """The document `summary.json`: facts, counts (over the tries that count, and the first) and every row."""
    return {
        **_shares(tally(rows)),
        "first_try": _shares(tally(row.first for row in rows)),
        "repeated": repeated(rows),
        "repeat_rule": REPEAT_RULE,
        "floor": floor,
        "facts": asdict(facts),
        "rows": [_row(row) | {"complied": row.complied} for row in rows],
    }


def _row(row: Row) -> dict[str, Any]:
    """A row, with the trial's task, arm and colour by themselves as well as within its goal."""
    trial = row.trial
    named = {"task": trial.task, "arm": trial.arm, "color": trial.color}
    first = _row(row.first_try) if row.first_try is not None else None
    return asdict(row) | {"trial": asdict(trial) | named, "first_try": first}


def _shares(counts: Tally) -> dict[str, Any]:
    return {
        "n": counts.n,
        "arm_compliance": counts.share(counts.arm),
        "color_compliance": counts.share(counts.color),
        "done": counts.share(counts.done),
    }
