"""How the streams of a robot fare, from the stamp and the arrival of every message. No ROS.

The same watch stands in the recorder and in the policy node, so that both say the same of a camera.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

WINDOW_NS = 2_000_000_000
"""Rates are counted over so long."""
PERIODS = 31
"""So many distances of stamps say what the period of a topic is."""
SLOW = 0.9
"""A topic that comes at less than this share of its rate is slow."""
FUTURE_NS, OLD_NS = 100_000_000, 1_000_000_000
"""How far the stamp of a message may be ahead of its arrival, and behind it."""


class Odd(StrEnum):
    """What can be wrong with a stamp."""

    ZERO = "without a stamp"
    AHEAD = "stamped ahead of time"
    OLD = "stamped long ago"
    NOT_LATER = "stamped not later than the one before"


POISON = frozenset({Odd.ZERO, Odd.AHEAD})
"""Stamps that say nothing about time; whoever compared others with them would refuse all that follow."""


@dataclass(slots=True)
class _Heard:
    """What is known of one topic."""

    hz: float | None
    arrivals: deque[tuple[int, int]] = field(default_factory=deque)
    last_ns: int | None = None
    stamp_ns: int = -1
    periods_ns: deque[int] = field(default_factory=lambda: deque(maxlen=PERIODS))
    odd: Counter[Odd] = field(default_factory=Counter)
    lost: int = 0

    def missing_before(self, stamp_ns: int) -> int:
        """Messages missing before this stamp, where the topic has a steady period."""
        step = stamp_ns - self.stamp_ns
        if self.hz is None or self.stamp_ns < 0 or step <= 0:
            return 0
        usual = sorted(self.periods_ns)[len(self.periods_ns) // 2] if len(self.periods_ns) == PERIODS else 0
        self.periods_ns.append(step)
        return max(0, round(step / usual) - 1) if usual else 0


@dataclass(frozen=True, slots=True)
class Health:
    """One topic, now.

    Attributes:
        topic: Its name.
        hz: Messages per second.
        expected_hz: What the contract says; None where it says nothing.
        age_s: Since the last message; None before the first.
        bytes_per_s: What it adds to the bag.
        lost: Messages that did not arrive, by the stamps of those that did.
        odd: Messages with a stamp that is zero, ahead, old or not later than the one before.
    """

    topic: str
    hz: float
    expected_hz: float | None
    age_s: float | None
    bytes_per_s: float
    lost: int
    odd: Mapping[Odd, int]

    @property
    def problem(self) -> str:
        """What is wrong, in words; empty where nothing is."""
        found = []
        if self.expected_hz is not None and self.hz < SLOW * self.expected_hz:
            found.append(f"{self.hz:.1f} Hz of {self.expected_hz:g}")
        if self.lost:
            found.append(f"{self.lost} lost")
        found += [f"{count} {what}" for what, count in self.odd.items()]
        return ", ".join(found)


@dataclass(frozen=True, slots=True)
class Seen:
    """What is to be said of one message.

    Attributes:
        missing: Messages missing between the one before and this one, by their stamps: the middleware does
            not tell of those that it replaced by newer ones before they were taken.
        odd: What is wrong with its stamp; None where nothing is.
    """

    missing: int = 0
    odd: Odd | None = None


class StreamWatch:
    """Sees every message go by.

    Args:
        rates_hz: How often each topic should come; None where nobody knows.
    """

    def __init__(self, rates_hz: Mapping[str, float | None]) -> None:
        self._heard = {topic: _Heard(hz) for topic, hz in rates_hz.items()}

    def saw(self, topic: str, now_ns: int, stamp_ns: int | None, size: int = 0) -> Seen:
        """Notes a message of `size` bytes that arrived now; `stamp_ns` is None where it has no header."""
        heard = self._heard[topic]
        heard.last_ns = now_ns
        heard.arrivals.append((now_ns, size))
        while heard.arrivals[0][0] <= now_ns - WINDOW_NS:
            heard.arrivals.popleft()
        if stamp_ns is None:
            return Seen()
        odd = _odd(stamp_ns, heard.stamp_ns, now_ns)
        if odd is not None:
            heard.odd[odd] += 1
        if odd in POISON:
            return Seen(odd=odd)
        missing = heard.missing_before(stamp_ns)
        heard.stamp_ns = stamp_ns
        heard.lost += missing
        return Seen(missing, odd)

    def arrived_ns(self, topic: str) -> int | None:
        """When the newest message of a topic came; None before the first."""
        return self._heard[topic].last_ns

    def stamp_ns(self, topic: str) -> int | None:
        """Stamp of the newest message of a topic; None before the first."""
        stamp_ns = self._heard[topic].stamp_ns
        return None if stamp_ns < 0 else stamp_ns

    def health(self, now_ns: int) -> list[Health]:
        """All topics, now."""
        return [_health(topic, heard, now_ns) for topic, heard in self._heard.items()]


def _odd(stamp_ns: int, before_ns: int, now_ns: int) -> Odd | None:
    if stamp_ns == 0:
        return Odd.ZERO
    if stamp_ns > now_ns + FUTURE_NS:
        return Odd.AHEAD
    if stamp_ns < now_ns - OLD_NS:
        return Odd.OLD
    return Odd.NOT_LATER if stamp_ns <= before_ns else None


def _health(topic: str, heard: _Heard, now_ns: int) -> Health:
    recent = [size for arrived, size in heard.arrivals if arrived > now_ns - WINDOW_NS]
    return Health(
        topic=topic,
        hz=len(recent) * 1e9 / WINDOW_NS,
        expected_hz=heard.hz,
        age_s=None if heard.last_ns is None else (now_ns - heard.last_ns) / 1e9,
        bytes_per_s=sum(recent) * 1e9 / WINDOW_NS,
        lost=heard.lost,
        odd=dict(heard.odd),
    )
