"""What happened in an episode, from simulator truth: holds, presses, failed grasps, and where things ended.

Everything here is read from the log and nothing from the goal. What is near a boundary between two
words is left open (empty), so that a text says only what is plainly so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from finevla.contract import ARM_SIDES
from finevla.sim.language.fingers import approach_of, closings_at, flinches_at
from finevla.sim.language.places import support_of
from finevla.sim.log import PRESSED_M, EpisodeLog
from finevla.sim.scene import Kind, ObjectSpec
from finevla.sim.truth import FloatArray, axis_of, yaw_of

GAP_S = 0.25
"""Contacts that are interrupted for a shorter time are one."""
LASTED_S, MOVED_M = 0.4, 0.012
"""Shorter contacts, and those in which the object moves less, are no holds."""
SETTLE_S = 0.4
WIDE_M = 0.058
"""Fingers that are further open push things, but hold none."""
SLOW_M_S = 0.03
"""Fingers that close more slowly than this have met something."""
CALM_S, CALM_M = 0.11, 0.008
TURNED_RAD = float(np.deg2rad(30.0))


@dataclass(frozen=True, slots=True)
class Hold:
    """An object in a hand. Indices are those of the log's truths.

    Attributes:
        side: Whose hand.
        item: What it holds.
        touch: First contact.
        start: The fingers have closed.
        end: The fingers open again; the length of the log where they never do.
        approach: From where the hand came, or empty where that is not plain.
        part: Part of the object between the fingers; empty where it has no parts.
        place: What the object rested on after the release; empty where it was still in a hand.
        rise_m: How far it was raised.
        turn_rad: Turn of a bar about the vertical, counterclockwise positive; 0 for other objects.
        passed: Side on which the object passed the obstacle; empty where it did not pass it.
        calm_start: It hardly moved when it was taken, so that its way from there can be told in cm.
        calm_end: Likewise when it was let go.
        given_by: Hand that held it when this one took it.
    """

    side: str
    item: ObjectSpec
    touch: int
    start: int
    end: int
    approach: str
    part: str
    place: str
    rise_m: float
    turn_rad: float
    passed: str
    calm_start: bool
    calm_end: bool
    given_by: str = ""


@dataclass(frozen=True, slots=True)
class Press:
    """A button that a hand pressed, at an index of the log."""

    side: str
    item: ObjectSpec
    start: int
    touch: int
    approach: str


@dataclass(frozen=True, slots=True)
class Miss:
    """A closing of the fingers at an object that did not end in a hold."""

    side: str
    item: ObjectSpec
    start: int


@dataclass(frozen=True, slots=True)
class Course:
    """All that happened: in the order of time where it is a sequence."""

    log: EpisodeLog
    holds: tuple[Hold, ...]
    presses: tuple[Press, ...]
    misses: tuple[Miss, ...]

    @property
    def items(self) -> tuple[ObjectSpec, ...]:
        """What was held or pressed, in the order of time, each once."""
        events: list[Hold | Press] = sorted([*self.holds, *self.presses], key=lambda event: event.start)
        return tuple({event.item.name: event.item for event in events}.values())

    @property
    def arms(self) -> tuple[str, ...]:
        """Arms that held or pressed something or tried to, in the order of time."""
        events: list[Hold | Press | Miss] = [*self.holds, *self.presses, *self.misses]
        events.sort(key=lambda event: event.start)
        return tuple({event.side: None for event in events})


def course_of(log: EpisodeLog) -> Course:
    """Reads the course of an episode from its log.

    Raises:
        ValueError: Nothing was observed.
    """
    found = [hold for side in ARM_SIDES for hold in _of_one_hand(log, side)]
    holds = sorted((_with_giver(hold, found) for hold in found), key=lambda hold: hold.start)
    presses = sorted(
        (p for item in log.spec.of(Kind.BUTTON) if (p := _press(log, item))), key=lambda p: p.start
    )
    misses = [miss for side in ARM_SIDES for miss in _misses(log, side, holds)]
    return Course(log, tuple(holds), tuple(presses), tuple(sorted(misses, key=lambda miss: miss.start)))


def _misses(log: EpisodeLog, side: str, holds: list[Hold]) -> list[Miss]:
    own = [hold for hold in holds if hold.side == side]
    return [
        Miss(side, item, begin)
        for begin, end, item in closings_at(log, side)
        if not any(hold.start >= begin - 1 and hold.touch <= end + 1 for hold in own)
    ]


def attempts(course: Course, item: ObjectSpec) -> int | None:
    """How often a hand closed on an object, taking over from the other hand not counted; None: not plain."""
    holds = [hold for hold in course.holds if hold.item == item]
    missed = [miss for miss in course.misses if miss.item == item]
    missed = [miss for miss in missed if not _held_by_other(miss.side, miss.start, holds)]
    count = len(missed) + sum(not hold.given_by for hold in holds)
    flinches = [(side, i) for side in ARM_SIDES for i in flinches_at(course.log, side, item)]
    most = sum(not _held_by_other(side, i, holds) for side, i in flinches)
    return count if count == most else None


def _held_by_other(side: str, index: int, holds: list[Hold]) -> bool:
    return any(hold.side != side and hold.start <= index < hold.end for hold in holds)


def _of_one_hand(log: EpisodeLog, side: str) -> list[Hold]:
    """Holds of one hand, one thing at a time: what else its fingers drag along is not held."""
    found = [hold for item in log.spec.movable for hold in _holds(log, side, item)]
    kept: list[Hold] = []
    for hold in sorted(found, key=lambda hold: (hold.start, hold.touch)):
        if not kept or hold.start >= kept[-1].end:
            kept.append(hold)
    return kept


def _holds(log: EpisodeLog, side: str, item: ObjectSpec) -> list[Hold]:
    found = []
    for begin, end in _contacts(log, side, item.name):
        start, stop = _closed(log, side, begin, end)
        places = np.array([truth.place(item.name) for truth in log.truths[start:stop]])
        lasted = log.truths[stop - 1].time_s - log.truths[start].time_s
        grip = float(np.median([truth.openings[side] for truth in log.truths[start:stop]]))
        if grip < WIDE_M and lasted >= LASTED_S and float(np.ptp(places, axis=0).max()) >= MOVED_M:
            found.append(_hold(log, side, item, (begin, start, stop)))
    return found


def _closed(log: EpisodeLog, side: str, begin: int, end: int) -> tuple[int, int]:
    """First index and end of the time in which the fingers are closed, out of a time of contact."""
    truths = log.truths
    openings = np.array([truth.openings[side] for truth in truths[begin:end]])
    grip = float(np.median(openings))
    times = np.array([truth.time_s for truth in truths[begin:end]])
    # Fingers that have met a thing askew are wider at first than later.
    slow = np.append(-np.diff(openings) < SLOW_M_S * np.diff(times), True)
    start = int(np.nonzero((openings <= grip + 0.012) & slow)[0][0])
    last = int(np.nonzero(openings <= grip + 0.004)[0][-1])
    return begin + min(start, last), begin + last + 1


def _hold(log: EpisodeLog, side: str, item: ObjectSpec, when: tuple[int, int, int]) -> Hold:
    begin, start, stop = when
    held = [truth.objects[item.name] for truth in log.truths[start:stop]]
    places = np.array([pose[:3] for pose in held])
    return Hold(
        side,
        item,
        begin,
        start,
        stop,
        approach_of(log, side, item.name, begin),
        _part(log, side, item.name, start, stop),
        _place(log, item, stop),
        float(places[:, 2].max() - places[0, 2]),
        _turn(held) if item.kind is Kind.BAR else 0.0,
        _passed(log, item, start, stop),
        _calm(log, item.name, start),
        stop >= len(log.truths) or _calm(log, item.name, stop - 1),
    )


def _calm(log: EpisodeLog, name: str, index: int) -> bool:
    """Whether an object has hardly moved just before an instant, so that its way can be told in cm."""
    now = log.truths[index]
    ways = [
        float(np.linalg.norm(truth.place(name) - now.place(name)))
        for truth in log.truths[: index + 1]
        if now.time_s - truth.time_s <= CALM_S
    ]
    return max(ways) < CALM_M


def _contacts(log: EpisodeLog, side: str, name: str) -> list[tuple[int, int]]:
    """First index and end of every time in which fingers touch an object."""
    at = [i for i, truth in enumerate(log.truths) if name in truth.touching.get(side, ())]
    spans: list[tuple[int, int]] = []
    for i in at:
        if spans and log.truths[i].time_s - log.truths[spans[-1][1] - 1].time_s <= GAP_S:
            spans[-1] = (spans[-1][0], i + 1)
        else:
            spans.append((i, i + 1))
    return spans


def _part(log: EpisodeLog, side: str, name: str, start: int, stop: int) -> str:
    """The only part that the fingers touch in most instants of the hold; empty where there is none."""
    counts: dict[str, int] = {}
    for truth in log.truths[start:stop]:
        for touched in truth.touching.get(side, ()):
            if touched.startswith(f"{name}:"):
                part = touched.split(":")[1]
                counts[part] = counts.get(part, 0) + 1
    often = [part for part, count in counts.items() if count > 0.5 * (stop - start)]
    return often[0] if len(often) == 1 else ""


def _place(log: EpisodeLog, item: ObjectSpec, stop: int) -> str:
    """What the object rests on a moment after the release."""
    if stop >= len(log.truths):
        return ""
    later = [t for t in log.truths[stop:] if t.time_s >= log.truths[stop].time_s + SETTLE_S]
    return support_of(later[0] if later else log.last, item, log.spec)


def _turn(poses: list[FloatArray]) -> float:
    level = all(abs(float(axis_of(pose, 0)[2])) < 0.5 for pose in poses)
    yaws = np.unwrap([yaw_of(pose) for pose in poses])
    turn = float(yaws[-1] - yaws[0]) if level else 0.0
    return turn if abs(turn) >= TURNED_RAD else 0.0


def _passed(log: EpisodeLog, item: ObjectSpec, start: int, stop: int) -> str:
    for pillar in log.spec.of(Kind.PILLAR):
        places = [truth.place(item.name) for truth in log.truths[start:stop]]
        for before, after in pairwise(places):
            if before[0] < pillar.x <= after[0]:
                return "left" if float(after[1]) > pillar.y else "right"
    return ""


def _with_giver(hold: Hold, holds: list[Hold]) -> Hold:
    givers = [
        other.side
        for other in holds
        if other.item == hold.item and other.side != hold.side and other.start < hold.start < other.end
    ]
    return replace(hold, given_by=givers[0]) if givers else hold


def _press(log: EpisodeLog, item: ObjectSpec) -> Press | None:
    pressed = [i for i, truth in enumerate(log.truths) if truth.joints[item.name] >= PRESSED_M]
    touched = [(i, side) for side in ARM_SIDES if (i := log.first_touch(side, item.name)) is not None]
    if not pressed or len({side for _, side in touched}) != 1:
        return None
    touch, side = min(touched)
    return Press(side, item, pressed[0], touch, approach_of(log, side, item.name, touch))
