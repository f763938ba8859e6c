"""From a plan to outcomes: what is not known yet is run, and kept as it comes; and how fast that went."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from finevla.stages.evaluate.outcome import Outcome
from finevla.stages.evaluate.plan import Pair
from finevla.stages.evaluate.resume import Ledger
from finevla.stages.evaluate.run import PARTS, Job, Runner, outcomes_of
from finevla.stages.report import progress


def measure(
    runner: Runner, pairs: Sequence[Pair], ledger: Ledger, *, workers: int, probes: int, videos: int
) -> tuple[list[Outcome], list[Outcome]]:
    """Runs what the ledger does not hold yet, with a progress bar, and keeps each outcome in it at once.

    Args:
        runner: How runs are made.
        pairs: The plan.
        ledger: What is known already.
        workers: Processes.
        probes: Pairs per row whose first sentence is probed.
        videos: Pairs per row that are filmed.

    Returns:
        All outcomes in the order of the plan, and those of them that were run now.
    """
    known = {(p.factor, p.number): done for p in pairs if (done := ledger.outcome(p)) is not None}
    jobs = [
        Job(pair, pair.number < probes, pair.number < videos)
        for pair in pairs
        if (pair.factor, pair.number) not in known
    ]
    fresh: list[Outcome] = []
    begun, episodes = time.monotonic(), 0
    with progress("pairs") as bar:
        row = bar.add_task("evaluating", total=len(pairs), completed=len(known))
        for outcome in outcomes_of(runner, jobs, workers):
            ledger.add(outcome)
            fresh.append(outcome)
            episodes += _episodes(outcome)
            rate = 60.0 * episodes / (time.monotonic() - begun)
            bar.update(row, advance=1, description=f"evaluating, {rate:.0f} episodes per minute")
    known |= {(done.pair.factor, done.pair.number): done for done in fresh}
    return [known[pair.factor, pair.number] for pair in pairs], fresh


def _episodes(outcome: Outcome) -> int:
    return len(outcome.runs) + len(outcome.probes)


def timing(outcomes: Sequence[Outcome], fresh: Sequence[Outcome], seconds: float) -> dict[str, Any]:
    """How fast it went, and which part of the workers' time went where."""
    runs = [run for row in outcomes for run in (*row.runs, *(probe.run for probe in row.probes))]
    spent = {part: sum(run.seconds.get(part, 0.0) for run in runs) for part in PARTS}
    whole = sum(spent.values())
    shares = {part: round(value / whole, 3) if whole else 0.0 for part, value in spent.items()}
    rate = 60.0 * sum(map(_episodes, fresh)) / seconds
    return {
        "episodes": len(runs),
        "episodes_per_minute": round(rate, 1) if fresh else None,
        "time_share": shares,
        "bottleneck": max(shares, key=lambda part: shares[part]),
    }
