"""Paired evaluation through the running ROS graph: the pairs, rules and counts of `paired`.

What differs from the evaluation in process is everything between policy and arms: topics, the
instruction parser, the node's timing, the driver and its CAN frames. What is lost on that way shows as
a difference in points.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from finevla.sim.language import FACTORS
from finevla.sim.rollout import Rollout
from finevla.sim.score import Score
from finevla.stages.demo.plan import pair_trials
from finevla.stages.demo.rows import Row, Trial
from finevla.stages.evaluate.paired import Outcome, Pair, summarize

MEASURES = ("compliance", "success")


@dataclass(frozen=True, slots=True)
class Difference:
    """One measure of one factor in both evaluations; `points` is graph minus in-process, in points."""

    factor: str
    measure: str
    graph: float
    graph_n: int
    inprocess: float
    inprocess_n: int

    @property
    def points(self) -> float:
        """Percentage points that the graph gains (positive) or loses (negative)."""
        return 100.0 * (self.graph - self.inprocess)


def trials_of(pair: Pair, first_index: int) -> tuple[Trial, Trial]:
    """The two instructions of a pair as trials of the graph, in the order of the pair's goals."""
    return pair_trials(pair.spec, pair.goals[0], pair.factor, pair.template, pair.number, first_index)


def rollout_of(row: Row, frame_period_s: float) -> Rollout:
    """A row of the graph in the shape of a run in process, so that both are counted alike."""
    verdict = row.verdict
    score = Score(
        moved_arm=verdict.moved_arm or None,
        lifted_color=verdict.lifted_color or None,
        arm_complied=verdict.arm_complied,
        color_complied=verdict.color_complied,
        done=verdict.done,
    )
    return Rollout(score, round(row.seconds / frame_period_s), row.reason_code == "settled")


def run_pairs(
    pairs: Sequence[Pair],
    run: Callable[[Trial], Row],
    frame_period_s: float,
    report: Callable[[Row], None],
) -> tuple[list[Outcome], list[Row]]:
    """Runs both instructions of every pair, one after the other.

    Args:
        pairs: As `plan_pairs` gives them.
        run: Carries one trial out in the graph.
        frame_period_s: Seconds per frame, to give lengths in frames.
        report: Called after each run.
    """
    outcomes: list[Outcome] = []
    rows: list[Row] = []
    for pair in pairs:
        trials = trials_of(pair, len(rows))
        done = [run(trial) for trial in trials]
        for row in done:
            report(row)
        rows += done
        outcomes.append(Outcome(pair, tuple(rollout_of(row, frame_period_s) for row in done)))
    return outcomes, rows


def first_tries(
    outcomes: Sequence[Outcome], rows: Sequence[Row], factors: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Per factor `first_try_compliance` and `first_try_success` (0..1): what repeating cannot have changed.

    Args:
        outcomes: As `run_pairs` gives them.
        rows: Likewise; two per outcome, in order.
        factors: Those of the pairs.
    """
    period_s = 1.0  # lengths have no part in these shares
    firsts = [rollout_of(row.first, period_s) for row in rows]
    counted = summarize(
        [Outcome(outcome.pair, tuple(firsts[2 * i : 2 * i + 2])) for i, outcome in enumerate(outcomes)],
        factors,
    )["factors"]
    return {
        factor: {f"first_try_{measure}": entry[measure] for measure in MEASURES}
        for factor, entry in counted.items()
    }


def compare(graph: Mapping[str, Any], inprocess: Mapping[str, Any]) -> list[Difference]:
    """Both results side by side, for the factors that they share (colour and color are one)."""
    theirs = {FACTORS.get(name, name): entry for name, entry in inprocess["factors"].items()}
    return [
        Difference(
            factor,
            measure,
            float(entry[measure]),
            int(entry["n"]),
            float(theirs[FACTORS.get(factor, factor)][measure]),
            int(theirs[FACTORS.get(factor, factor)]["n"]),
        )
        for factor, entry in graph["factors"].items()
        if FACTORS.get(factor, factor) in theirs
        for measure in MEASURES
    ]
