"""One recording as the action RecordEpisode sees it: when it must end, and how it ended. Pure: no ROS."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from finevla.contract.episode import RecordedTopic
from finevla.contract.frame import NS_PER_S
from finevla.contract.services import RECORDER_STOP
from finevla.errors import BagError

FEEDBACK_PERIOD_S = 1.0
MISSING = "MISSING, the bag cannot be converted"
LOST = "LOST"


class How(StrEnum):
    """How a recording ended; names as the constants of the action RecordEpisode."""

    REFUSED = "REFUSED"
    MAX_DURATION = "MAX_DURATION"
    CANCELED = "CANCELED"
    STOPPED = "STOPPED"
    DISCARDED = "DISCARDED"
    DISK_FULL = "DISK_FULL"
    FAILED = "FAILED"
    SHUT_DOWN = "SHUT_DOWN"


SENTENCES = {
    How.MAX_DURATION: "it reached its longest duration; the bag is kept",
    How.CANCELED: "it was canceled; the bag is kept",
    How.STOPPED: f"somebody else stopped it ({RECORDER_STOP}); the bag is kept",
    How.DISCARDED: f"somebody else discarded it ({RECORDER_STOP}); there is no bag",
    How.DISK_FULL: "the disk is full; what was recorded until then is kept",
    How.SHUT_DOWN: "the recorder ended; what was recorded until then is kept",
}


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a recording.

    Attributes:
        how: Who or what ended it.
        path: Directory of the bag; empty where there is none.
        counts: Messages in it, by topic.
        dropped: Messages that are not in it although they should be, by topic.
        outcome: What was judged: `success`, `failure` or empty.
        words: What went wrong, where something did.
    """

    how: How
    path: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    dropped: Mapping[str, int] = field(default_factory=dict)
    outcome: str = ""
    words: str = ""

    @property
    def messages(self) -> int:
        """Messages in the bag."""
        return sum(self.counts.values())

    @property
    def success(self) -> bool:
        """Whether there is a whole bag."""
        return bool(self.path)

    def report(self, topics: tuple[RecordedTopic, ...]) -> str:
        """One line for every topic of a recording, then what was lost."""
        rows = [
            f"{topic.topic}: {self.counts.get(topic.topic, 0)}"
            + (f" {MISSING}" if topic.topic in self._missing(topics) else "")
            for topic in topics
        ]
        return "\n".join(rows + self._lost())

    def message(self, topics: tuple[RecordedTopic, ...]) -> str:
        """How it ended in words, and what is wrong with the bag."""
        missing = [f"{topic}: {MISSING}" for topic in self._missing(topics)] if self.success else []
        return "\n".join([self.words or SENTENCES[self.how], *missing, *self._lost()])

    def _missing(self, topics: tuple[RecordedTopic, ...]) -> list[str]:
        return [topic.topic for topic in topics if topic.required and not self.counts.get(topic.topic)]

    def _lost(self) -> list[str]:
        return [f"{topic}: {count} {LOST}" for topic, count in self.dropped.items()]


def faults(report: str) -> list[str]:
    """The lines of a report that tell of something wrong."""
    return [line for line in report.splitlines() if line.endswith((MISSING, LOST))]


@dataclass(frozen=True, slots=True)
class Progress:
    """What a running recording holds: messages written, bytes on the disk, messages lost."""

    messages: int
    bytes: int
    lost: int


class RecordRun:
    """The wishes of one caller for one recording.

    Args:
        max_duration_s: When it is stopped, in s; 0 means never.
        clock: Returns the time in ns, steadily.

    Raises:
        BagError: The duration is negative or no number.
    """

    def __init__(self, max_duration_s: float, clock: Callable[[], int]) -> None:
        if not (math.isfinite(max_duration_s) and max_duration_s >= 0):
            raise BagError(
                "an episode cannot have this longest duration",
                where="max_duration_s",
                expected="seconds, or 0 for a recording that is canceled or stopped by somebody",
                found=max_duration_s,
                remedy="give 0 or more",
            )
        self._max_duration_s = max_duration_s
        self._clock = clock
        self._started_ns = clock()
        self._canceled = False
        self._told = 0

    def begin(self) -> None:
        """Counts from now on: the recording has begun, and to create a bag takes its time too."""
        self._started_ns = self._clock()

    @property
    def elapsed_s(self) -> float:
        """Time since the start in s."""
        return (self._clock() - self._started_ns) / NS_PER_S

    @property
    def wish(self) -> How | None:
        """Why the recording must be stopped now; None while it need not."""
        if self._canceled:
            return How.CANCELED
        return How.MAX_DURATION if 0 < self._max_duration_s <= self.elapsed_s else None

    @property
    def left_s(self) -> float:
        """Time to its longest duration in s; infinite where it has none."""
        return self._max_duration_s - self.elapsed_s if self._max_duration_s else math.inf

    def cancel(self) -> None:
        """The caller wants it stopped."""
        self._canceled = True

    def feedback_due(self) -> bool:
        """Whether a period of the feedback has passed; true once for each, also where several were missed."""
        periods = int(self.elapsed_s / FEEDBACK_PERIOD_S)
        due, self._told = periods > self._told, periods
        return due
