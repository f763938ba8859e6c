"""What was asked in one trial of the demonstration, what happened, and the counts over all trials."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from finevla.sim.goal import Goal


@dataclass(frozen=True, slots=True)
class Trial:
    """One instruction in one scene. Two trials of a pair share the scene and differ in one factor.

    Attributes:
        index: Place among all trials, from 0.
        pair: Which pair it is of.
        factor: What the pair varies, such as arm or color.
        seed: Of the scene.
        goal: What the sentence asks for.
        text: The sentence.
        changed: The words that differ, separated by spaces; in a demonstration it is one.
        variant: Version of the scene; empty is the usual one.
        hard: Whether it is a scene of the randomised version.
    """

    index: int
    pair: int
    factor: str
    seed: int
    goal: Goal
    text: str
    changed: str
    variant: str = ""
    hard: bool = False

    @property
    def task(self) -> str:
        """Name of the task."""
        return self.goal.task

    @property
    def arm(self) -> str:
        """The arm that is asked for."""
        return self.goal.arm

    @property
    def color(self) -> str:
        """The colour that is asked for; empty where none is."""
        return self.goal.color


@dataclass(frozen=True, slots=True)
class Verdict:
    """What simulator truth says of one trial. Empty `moved_arm` or `lifted_color`: none.

    `asked`, `observed` and `complied` are by field of `Goal`, for every factor that the sentence fixes;
    an empty observed value means that the behaviour showed none. `points` are those of the rubric, 0 to
    100, None where they are not known.
    """

    moved_arm: str
    lifted_color: str
    arm_complied: bool
    color_complied: bool
    done: bool
    asked: Mapping[str, str] = field(default_factory=dict)
    observed: Mapping[str, str] = field(default_factory=dict)
    complied: Mapping[str, bool] = field(default_factory=dict)
    points: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: a trial, how the graph ended it, and the verdict.

    `ending` is finished, rejected, superseded or timeout; `reason_code` is the graph's own word for it.
    `applied_s` is the time from publishing the sentence to the first chunk that follows it, None where
    there was none; `seconds` the time to the end. `latency_s` is the newest inference's.
    `real_time_factor` is the simulator's lowest during the trial (1: it kept up), None where unknown;
    `early_real_time_factor` its mean over the first `PACE_WINDOW_S`, which alone decides on another try.
    `attempts` counts the tries; `first_try` is the first of several, None where there was only one.
    """

    trial: Trial
    verdict: Verdict
    ending: str
    reason_code: str
    reason: str
    seconds: float
    applied_s: float | None
    latency_s: float
    real_time_factor: float | None = None
    early_real_time_factor: float | None = None
    attempts: int = 1
    first_try: Row | None = None

    @property
    def ended(self) -> str:
        """How it ended, and at which try."""
        word = self.reason_code or self.ending
        return word if self.attempts == 1 else f"{word}, try {self.attempts}"

    @property
    def kept_real_time(self) -> bool:
        """Whether the simulator kept up at the start; how the trial went on has no part in this."""
        return self.early_real_time_factor is None or self.early_real_time_factor >= SLOW

    @property
    def first(self) -> Row:
        """The first try: this row itself where there was only one."""
        return self.first_try or self

    @property
    def complied(self) -> bool:
        """The arm, the colour and every other factor that the sentence named."""
        verdict = self.verdict
        return verdict.arm_complied and verdict.color_complied and all(verdict.complied.values())


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts over `n` trials."""

    n: int
    arm: int
    color: int
    done: int

    def share(self, count: int) -> float:
        """A count as a share of all trials, 0 where there are none."""
        return count / self.n if self.n else 0.0


def tally(rows: Iterable[Row]) -> Tally:
    """Counts compliance and success over the rows."""
    verdicts = [row.verdict for row in rows]
    return Tally(
        n=len(verdicts),
        arm=sum(v.arm_complied for v in verdicts),
        color=sum(v.color_complied for v in verdicts),
        done=sum(v.done for v in verdicts),
    )


def shortfalls(rows: Sequence[Row], floor: float) -> list[str]:
    """Says where compliance lies below `floor` (0..1): one sentence each, empty where all is well."""
    counts = tally(rows)
    if not counts.n:
        return ["no instruction was issued"]
    return [
        f"{name}: {count} of {counts.n} instructions obeyed, the floor is {floor:.0%}"
        for name, count in (("arm", counts.arm), ("color", counts.color))
        if counts.share(count) < floor
    ]


SLOW = 0.8
"""A real-time factor below this says that the machine did not keep up."""
PACE_WINDOW_S = 3.0
"""Time from publishing the sentence, in s, whose real-time factors decide whether a try is repeated.

The same for every try: the lowest factor of a whole trial would repeat long trials, which are mostly the
failed ones, more often.
"""
REPEAT_RULE = (
    f"a try is repeated where the simulator's mean real-time factor in the first {PACE_WINDOW_S:g} s after "
    f"the sentence was published is below {SLOW:g}; the last try counts"
)


def repeated(rows: Iterable[Row]) -> int:
    """How many tries were repeated."""
    return sum(row.attempts - 1 for row in rows)


def excuses(rows: Sequence[Row]) -> list[str]:
    """Says what of the machine, rather than of the policy, may have spoiled the instructions."""
    codes = [row.reason_code for row in rows]
    late = sorted({code for code in codes if code.endswith(("_stale", "_stuck", "_lost", "_hold"))})
    lines = [f"{code}: ended {codes.count(code)} of {len(rows)} instructions" for code in late]
    factors = [row.real_time_factor for row in rows if row.real_time_factor is not None]
    if factors and min(factors) < SLOW:
        lines.append(
            f"the simulator fell to {min(factors):.2f} of real time: this machine is too slow or too busy, "
            "and arms that lag disobey"
        )
    return lines


def pairs(rows: Iterable[Row]) -> list[tuple[Row, ...]]:
    """Groups the rows by pair, in order; a pair that was cut short has one member."""
    groups: dict[int, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.trial.pair, []).append(row)
    return [tuple(group) for group in groups.values()]


def verdict_words(row: Row) -> str:
    """The verdict in a few words, for a caption."""
    if row.ending == "rejected":
        return f"rejected: {row.reason_code}"
    moved = f"{row.verdict.moved_arm} arm" if row.verdict.moved_arm else "no arm"
    lifted = f"{row.verdict.lifted_color} cube" if row.verdict.lifted_color else "nothing"
    obeyed = "complied" if row.complied else "did not comply"
    seen = f"{moved} moved, {lifted} lifted"
    if set(row.verdict.observed) - {"arm", "color"}:
        seen = ", ".join(f"{name} {value or 'none'}" for name, value in row.verdict.observed.items())
    return f"{seen}: {obeyed}, {'done' if row.verdict.done else 'not done'}"
