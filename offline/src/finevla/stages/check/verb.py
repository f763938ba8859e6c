"""`finevla sim check`: is every fine-grained text true of its episode?"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from finevla.errors import FineVLAError
from finevla.sim.tasks import task_list
from finevla.stages.check.run import Checked, check_episode, plan
from finevla.stages.pool import map_jobs

SHOWN = 10
"""Contradictions that are printed."""


@dataclass(frozen=True)
class Config:
    """Checks the texts of simulated episodes against their recordings, claim by claim.

    Each episode is simulated without pictures (clean and hard scenes, with and without disturbance, in
    turn) and described from simulator truth. Every sentence of the description, every value of the ten
    dimensions and, where the expert succeeded, the instruction are then compared with the measured
    joints and the poses of the objects by code that the describer does not use. Exit code 1 means that
    something was said that is not so.
    """

    episodes: int = 1000
    """Number of episodes in all."""
    task: str = "all"
    """Tasks, separated by commas, or all; taken in turn."""
    seed: int = 0
    """Seed of the first scene of each task."""
    workers: int = 2
    """Processes that simulate."""
    json: bool = False
    """Print the report as JSON."""


def main(config: Config) -> int:
    """Checks and prints the table; 1 where a text is not true."""
    result = check(config)
    print(json.dumps(result, indent=2) if config.json else table(result))
    return int(result["contradictions"] > 0)


def check(config: Config) -> dict[str, Any]:
    """Runs the check.

    Returns:
        Counts in all and by task, and the contradictions found.

    Raises:
        FineVLAError: A flag is not right, or no episode could be simulated.
    """
    tasks = task_list(config.task)
    for name, value in (("--episodes", config.episodes), ("--workers", config.workers)):
        if value < 1:
            raise FineVLAError("a flag is not right", where=name, expected="1 or more", found=value)
    if not tasks or config.seed < 0:
        raise FineVLAError(
            "a flag is not right", where="--task, --seed", expected="a task, and a seed of 0 or more"
        )
    begun = time.monotonic()
    jobs = plan(tasks, config.episodes, config.seed)
    done = list(map_jobs(check_episode, jobs, config.workers, "checking texts", "episodes"))
    if not any(item.claims for item in done):
        raise FineVLAError("no episode could be simulated", found=done[0].problem)
    return summary(tasks, done, time.monotonic() - begun)


def summary(tasks: Sequence[str], done: Sequence[Checked], seconds: float) -> dict[str, Any]:
    """Counts in all and by task, and what was found."""
    rows = {task: _row([item for item in done if item.job.task == task]) for task in tasks}
    return {
        **_row(done),
        "tasks": {task: row for task, row in rows.items() if row["episodes"]},
        "found": [_found(item, text) for item in done for text in item.contradictions],
        "not_simulated": [
            f"{item.job.task}, seed {item.job.seed}: {item.problem}" for item in done if item.problem
        ],
        "seconds": round(seconds, 1),
    }


def _row(done: Sequence[Checked]) -> dict[str, Any]:
    told = [item for item in done if not item.problem]
    return {
        "episodes": len(told),
        "expert_succeeded": sum(item.success for item in told),
        "claims": sum(item.claims for item in told),
        "contradictions": sum(len(item.contradictions) for item in told),
        "mean_words": round(sum(item.words for item in told) / max(len(told), 1), 1),
    }


def _found(item: Checked, text: str) -> str:
    return f"{item.job.task}, seed {item.job.seed}, {item.kind}: {text}"


def table(result: dict[str, Any]) -> str:
    """The report as text."""
    head = f"{'task':<22} {'episodes':>8} {'expert':>7} {'words':>6} {'claims':>8} {'contradictions':>15}"
    rows = {**result["tasks"], "all": result}
    lines = [head]
    for task, row in rows.items():
        lines.append(
            f"{task:<22} {row['episodes']:>8} {row['expert_succeeded']:>7} {row['mean_words']:>6} "
            f"{row['claims']:>8} {row['contradictions']:>15}"
        )
    lines.append(f"expert: episodes in which it succeeded; words: mean of a paragraph; {result['seconds']} s")
    for name, title in (("found", "contradictions"), ("not_simulated", "not simulated")):
        if result[name]:
            lines += ["", f"{title} ({len(result[name])}):", *result[name][:SHOWN]]
    return "\n".join(lines)
