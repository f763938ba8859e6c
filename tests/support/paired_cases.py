"""Outcomes of pairs without physics: whoever acts is a function from the goal asked for to the goal done."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from finevla.sim.goal import Goal
from finevla.stages.evaluate.outcome import Outcome, ProbeResult, RunResult
from finevla.stages.evaluate.plan import Pair, plan_pairs

Acts = Callable[[Pair, Goal], Goal]


def obedient(_: Pair, goal: Goal) -> Goal:
    """Does what is asked."""
    return goal


def ran(goal: Goal, acted: Goal, points: float | None = None) -> RunResult:
    """The run of someone who was asked for one goal and did another."""
    observed = acted.values()
    complied = {name: observed.get(name) == value for name, value in goal.values().items()}
    done = all(complied.values())
    score = points if points is not None else 100.0 if done else 60.0
    return RunResult(observed, complied, done, score, 30, True, seconds={"physics": 0.5})


def outcome(pair: Pair, acts: Acts = obedient, probes: Sequence[ProbeResult] = ()) -> Outcome:
    """A pair and how somebody did it."""
    runs = tuple(ran(goal, acts(pair, goal)) for goal in pair.goals)
    return Outcome(pair, runs, tuple(probes))


def outcomes(factor: str, n: int, acts: Acts = obedient, tasks: Sequence[str] = ()) -> list[Outcome]:
    """The pairs of one row."""
    return [outcome(pair, acts) for pair in plan_pairs([factor], tasks, n, 1000)]
