"""`finevla evaluate paired`: does the robot obey the words that changed?"""

from __future__ import annotations

import hashlib
import platform
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from finevla.contract import load_contract
from finevla.errors import FineVLAError
from finevla.files import write_json
from finevla.stages.evaluate.count import summarize
from finevla.stages.evaluate.measure import measure, timing
from finevla.stages.evaluate.outcome import run_rows
from finevla.stages.evaluate.page import render_page
from finevla.stages.evaluate.paired_config import Config, checked
from finevla.stages.evaluate.partial import partial_path
from finevla.stages.evaluate.plan import Pair, plan_pairs
from finevla.stages.evaluate.resume import Ledger
from finevla.stages.evaluate.run import Runner
from finevla.stages.evaluate.seating import checkpoint_of, seat_of
from finevla.stages.evaluate.table import table, timing_words

__all__ = ["Config", "main"]


def main(config: Config) -> int:
    """Runs all pairs, prints the table and writes what was asked for."""
    begun = time.monotonic()
    names, tasks = checked(config)
    if config.ros:
        return _on_ros(config, names, tasks)
    seat = seat_of(config.policy, config.bundle)
    checkpoint = checkpoint_of(seat)
    pairs = plan_pairs(names, tasks, config.n, config.seed)
    identity = _identity(config, names, checkpoint, pairs)
    ledger = Ledger(partial_path(config.json or config.report), identity)
    outcomes, fresh = measure(
        Runner(seat, config.replan_frames, config.max_frames),
        pairs,
        ledger,
        workers=config.workers,
        probes=config.probes,
        videos=identity["videos"],
    )
    result = summarize(outcomes, names)
    seconds = time.monotonic() - begun
    result["provenance"] = {
        **identity,
        **_machine(),
        "tasks": sorted({pair.spec.task for pair in pairs}),
        "seconds": round(seconds, 1),
        "timing": timing(outcomes, fresh, seconds),
    }
    if config.runs:
        result["runs"] = run_rows(outcomes)
    path = config.json
    if path is not None:
        _write(path, lambda: write_json(path, result))
    print(table(result))
    print(timing_words(result["provenance"]["timing"]))
    report = config.report
    if report is not None:
        _write(report, lambda: report.write_text(render_page(result, outcomes), "utf-8"))
    ledger.close()
    return 0


def _on_ros(config: Config, names: list[str], tasks: list[str]) -> int:
    # Imported late: the simulator's evaluation needs no ROS.
    from finevla.stages.evaluate.ros_run import RosRequest, run_on_ros

    rated = config.answers is not None
    result = run_on_ros(
        RosRequest(
            pairs=() if rated else plan_pairs(names, tasks, config.n, config.seed),
            factors=() if rated else names,
            json=config.json,
            runs=config.runs,
            blind=config.blind,
            answers=config.answers,
            domain_id=config.domain_id,
            timeout_s=config.timeout_s,
        )
    )
    if result is None:
        print(f"open {config.blind}/score.html, rate the films, and give --answers with the file it saves")
        return 0
    print(table(result))
    return 0


def _identity(config: Config, names: list[str], checkpoint: str, pairs: list[Pair]) -> dict[str, Any]:
    """Everything that decides the result; JSON types."""
    plan = [(p.factor, p.number, p.spec.task, p.spec.seed, p.texts) for p in pairs]
    return {
        "command": "finevla evaluate paired",
        "checkpoint_id": checkpoint,
        "contract_hash": load_contract().hash,
        "factors": names,
        "n": config.n,
        "seed": config.seed,
        "task": config.task,
        "replan_frames": config.replan_frames,
        "max_frames": config.max_frames,
        "probes": config.probes,
        "videos": config.videos if config.report is not None else 0,
        "plan_hash": hashlib.sha256(repr(plan).encode()).hexdigest(),
    }


def _machine() -> dict[str, Any]:
    return {
        "versions": {name: metadata.version(name) for name in ("numpy", "sapien")},
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


def _write(path: Path, write: Callable[[], object]) -> None:
    try:
        write()
    except OSError as err:
        raise FineVLAError(
            "the result could not be written; what was measured is kept",
            where=path,
            expected="a file that can be written",
            found=repr(err),
            remedy="give the same command again when it can be written: nothing is run twice",
        ) from err
