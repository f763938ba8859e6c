"""What was asked in one trial of the demonstration, what happened, and the counts over all trials."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Trial:
    """One instruction in one scene. Two trials of a pair share the scene and differ in one word.

    `factor` names what the pair varies: arm or color. `changed` is the word that differs.
    """

    index: int
    pair: int
    factor: str
    task: str
    seed: int
    arm: str
    color: str
    text: str
    changed: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What simulator truth says of one trial. Empty `moved_arm` or `lifted_color`: none."""

    moved_arm: str
    lifted_color: str
    arm_complied: bool
    color_complied: bool
    done: bool


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
        """Both the arm and the colour that the sentence named."""
        return self.verdict.arm_complied and self.verdict.color_complied


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
    return f"{moved} moved, {lifted} lifted: {obeyed}, {'done' if row.verdict.done else 'not done'}"
