"""Paired evaluation through the running ROS graph: the pairs, rules and counts of `paired`.

What differs from the evaluation in process is everything between policy and arms: topics, the
instruction parser, the node's timing, the driver and its CAN frames. What is lost on that way shows as
a difference in points.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from finevla.sim.factors import ALIASES
from finevla.stages.demo.facts import median
from finevla.stages.demo.graph_types import GraphError, PolicyFigures
from finevla.stages.demo.rows import Row, Trial
from finevla.stages.evaluate.paired import Outcome, Pair, RunResult, summarize

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
    first, second = (
        Trial(
            index=first_index + i,
            pair=pair.number,
            factor=pair.factor,
            seed=pair.spec.seed,
            goal=goal,
            text=text,
            changed=changed_words(text, pair.texts[1 - i]),
            variant=pair.spec.variant,
            hard=pair.spec.hard,
        )
        for i, (goal, text) in enumerate(zip(pair.goals, pair.texts, strict=True))
    )
    return first, second


def changed_words(text: str, other_text: str) -> str:
    """The words of `text` that are not in `other_text` at their place, separated by spaces."""
    words, others = text.split(), other_text.split()
    blocks = SequenceMatcher(None, words, others, autojunk=False).get_opcodes()
    return " ".join(word for kind, i, k, _, _ in blocks if kind != "equal" for word in words[i:k])


def result_of(row: Row, frame_period_s: float) -> RunResult:
    """A row of the graph in the shape of a run in process, so that both are counted alike.

    Raises:
        GraphError: The graph did not judge every factor that the goal fixes.
    """
    verdict, asked = row.verdict, row.trial.goal.values()
    missing = sorted(set(asked) - set(verdict.complied))
    if missing:
        raise GraphError(
            f"the simulator did not judge {', '.join(missing)}",
            where=row.trial.text,
            expected=f"a verdict on {', '.join(asked)}",
            found=f"one on {', '.join(verdict.complied) or 'nothing'}",
            remedy="run the simulator and this command from the same version of finevla",
        )
    return RunResult(
        observed={name: _value(name, verdict.observed[name]) for name in asked},
        complied={name: verdict.complied[name] for name in asked},
        done=verdict.done,
        points=verdict.points,
        frames=round(row.seconds / frame_period_s),
        settled=row.reason_code == "settled",
        refused=(row.reason_code or row.ending) if row.ending == "rejected" else "",
        still=row.ending == "rejected",
    )


def _value(name: str, text: str) -> Any:
    """A value of a factor from the text that a message carries; None where it is empty."""
    if not text:
        return None
    return tuple(text.split()) if name == "order" else text


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
        outcomes.append(Outcome(pair, tuple(result_of(row, frame_period_s) for row in done)))
    return outcomes, rows


def timing(rows: Sequence[Row], figures: PolicyFigures) -> dict[str, Any]:
    """How fast policy and simulator were, for the provenance of a result; times in s, None where unknown."""
    factors = [row.real_time_factor for row in rows if row.real_time_factor is not None]
    codes = [row.reason_code for row in rows]
    return {
        "inference_s": {
            "p50": median([row.latency_s for row in rows if row.latency_s > 0]),
            "p95": figures.latency_p95_s,
        },
        "sentence_to_chunk_s": median([row.applied_s for row in rows if row.applied_s is not None]),
        "real_time_factor": min(factors, default=None),
        "endings": {code: codes.count(code) for code in sorted(set(codes))},
    }


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
    firsts = [result_of(row.first, period_s) for row in rows]
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
    theirs = {ALIASES.get(name, name): entry for name, entry in inprocess["factors"].items()}
    return [
        Difference(
            factor,
            measure,
            float(entry[measure]),
            int(entry["n"]),
            float(theirs[ALIASES.get(factor, factor)][measure]),
            int(theirs[ALIASES.get(factor, factor)]["n"]),
        )
        for factor, entry in graph["factors"].items()
        if ALIASES.get(factor, factor) in theirs
        for measure in MEASURES
    ]
