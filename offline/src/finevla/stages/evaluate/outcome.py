"""What became of a pair: its runs, the probes of its sentence, and a film of it. All of it fits JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from finevla.sim.factors import FACTORS
from finevla.sim.goal import Goal
from finevla.sim.language.probes import REFUSED
from finevla.sim.rollout import Rollout
from finevla.stages.evaluate.plan import Pair


@dataclass(frozen=True, slots=True)
class RunResult:
    """One run, as simulator truth saw it.

    Attributes:
        observed: What the behaviour showed of each factor; None or absent: nothing.
        complied: For each factor that the goal fixes, whether the behaviour showed that value.
        done: The world is as the goal wants it.
        points: The rubric, 0 to 100; None where only a verdict is known (a running graph).
        frames: Length in frames.
        settled: Whether the arms came to rest by themselves.
        refused: Why the sentence was refused, as a reason code; empty where it was not.
        still: Whether the arms stayed where they were.
        seconds: Wall-clock time by part: physics, rendering, inference.
    """

    observed: Mapping[str, Any]
    complied: Mapping[str, bool]
    done: bool
    points: float | None
    frames: int
    settled: bool
    refused: str = ""
    still: bool = False
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def success(self) -> bool:
        """The task is done as asked."""
        return self.done and all(self.complied.values())

    @classmethod
    def of(
        cls, rollout: Rollout, *, still: bool = False, seconds: Mapping[str, float] | None = None
    ) -> RunResult:
        """A rollout that was not refused."""
        score = rollout.score
        return cls(
            observed=dict(score.observed),
            complied=dict(score.complied),
            done=score.done,
            points=score.points,
            frames=rollout.frames,
            settled=rollout.settled,
            still=still,
            seconds=dict(seconds or {}),
        )

    @classmethod
    def refusal(cls, goal: Goal, reason: str) -> RunResult:
        """A run that did not begin: nothing moved, nothing was complied with."""
        return cls({}, dict.fromkeys(goal.values(), False), False, 0.0, 0, True, reason, True)


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """A changed sentence, what is expected of it, and the run that it led to."""

    name: str
    text: str
    expect: str
    run: RunResult

    @property
    def as_expected(self) -> bool:
        """Refused or unmoved, or all complied with, whichever is expected."""
        if self.expect == REFUSED:
            return bool(self.run.refused) or self.run.still
        return bool(self.run.complied) and all(self.run.complied.values())


@dataclass(frozen=True, slots=True)
class Outcome:
    """A pair and how its two runs went.

    Attributes:
        pair: What was run.
        runs: In the order of the pair's goals.
        probes: Of the first instruction; empty where none were asked for.
        film: Both runs side by side as an MP4; empty where none was asked for or none could be made.
        film_error: Why there is no film, where one was asked for.
    """

    pair: Pair
    runs: tuple[RunResult, ...]
    probes: tuple[ProbeResult, ...] = ()
    film: bytes = b""
    film_error: str = ""

    @property
    def complied(self) -> tuple[bool, ...]:
        """Per run: whether it complied with what the pair judges."""
        return tuple(all(run.complied.get(name, False) for name in self.pair.judged) for run in self.runs)

    @property
    def counted(self) -> tuple[RunResult, ...]:
        """The runs that are counted."""
        return tuple(self.runs[i] for i in self.pair.counted)

    @property
    def compliance(self) -> float:
        """Share of the counted runs that complied."""
        return sum(self.complied[i] for i in self.pair.counted) / len(self.pair.counted)

    @property
    def success(self) -> float:
        """Share of the counted runs whose task was done as asked."""
        return sum(run.success for run in self.counted) / len(self.counted)

    @property
    def switched(self) -> bool:
        """Both runs complied: the words changed, and so did the behaviour, the right way."""
        return all(self.complied)

    @property
    def changed(self) -> bool:
        """Whether the behaviour differed at all in the factor whose words changed."""
        first, second = (run.observed.get(self.pair.field) for run in self.runs)
        return bool(first != second)

    @property
    def others_kept(self) -> bool:
        """Whether the behaviour is the same in every other factor that the sentences name."""
        first, second = self.runs
        others = [name for name in self.pair.goals[0].values() if name != self.pair.field]
        return all(first.observed.get(name) == second.observed.get(name) for name in others)

    @property
    def matches(self) -> tuple[bool, bool]:
        """Whether the counted run matches its own instruction, and whether the other run matches that too."""
        own = self.pair.counted[0]
        goal, theirs = self.pair.goals[own], self.runs[1 - own].observed
        other = all(FACTORS[f].obeyed(getattr(goal, f), theirs.get(f)) for f in self.pair.judged)
        return self.complied[own], other


def run_document(run: RunResult) -> dict[str, Any]:
    """A run in types that JSON knows."""
    return asdict(run)


def run_from(document: Mapping[str, Any]) -> RunResult:
    """The run of a document of `run_document`, read back from JSON.

    Raises:
        KeyError, TypeError: It is not such a document.
    """
    values = dict(document)
    observed = {name: _tupled(value) for name, value in values.pop("observed").items()}
    return RunResult(observed=observed, **values)


def _tupled(value: Any) -> Any:
    """JSON has lists only; an observed order is a tuple."""
    return tuple(value) if isinstance(value, list) else value


def run_rows(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """One flat row per run, for looking into single cases."""
    return [
        {
            "factor": outcome.pair.factor,
            "pair": outcome.pair.number,
            "task": goal.task,
            "scene_seed": outcome.pair.spec.seed,
            "text": text,
            "asked": goal.values(),
            "observed": dict(run.observed),
            "moved_arm": run.observed.get("arm"),
            "lifted_color": run.observed.get("color"),
            "complied": ok,
            "success": run.success,
            "points": run.points,
            "refused": run.refused,
            "counted": i in outcome.pair.counted,
            "frames": run.frames,
            "settled": run.settled,
        }
        for outcome in outcomes
        for i, (goal, text, run, ok) in enumerate(
            zip(outcome.pair.goals, outcome.pair.texts, outcome.runs, outcome.complied, strict=True)
        )
    ]
