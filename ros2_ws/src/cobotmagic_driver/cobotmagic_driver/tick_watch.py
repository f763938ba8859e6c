"""How evenly the loop ticks: jitter of its period and ticks that were missed. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

KEPT = 12_000
"""Periods that are kept: a minute at 200 Hz."""


@dataclass(frozen=True, slots=True)
class TickReport:
    """How the loop ticked within the last minute.

    Attributes:
        ticks: Periods looked at.
        jitter_p99_ms: 99 % of the periods differ from the wanted one by less, ms.
        jitter_max_ms: The largest difference, ms.
        work_p99_ms: 99 % of the rounds took less time, ms.
        missed: Ticks that did not happen since the loop was started, because the one before was late.
    """

    ticks: int
    jitter_p99_ms: float
    jitter_max_ms: float
    work_p99_ms: float
    missed: int


class TickWatch:
    """Takes the beginning and the end of every round. One writer; a reader may see a round half noted."""

    def __init__(self, period_ns: int) -> None:
        self._period_ns = period_ns
        self._starts = np.zeros(KEPT, dtype=np.int64)
        self._works = np.zeros(KEPT, dtype=np.int64)
        self._count = 0
        self.missed = 0

    def note(self, start_ns: int, end_ns: int) -> None:
        """One round, by the monotonic clock."""
        place = self._count % KEPT
        self._starts[place], self._works[place] = start_ns, end_ns - start_ns
        self._count += 1

    def report(self) -> TickReport:
        """What was seen so far; zeros before the second tick."""
        kept = min(self._count, KEPT)
        starts = np.sort(self._starts[:kept])
        if kept < 2:
            return TickReport(0, 0.0, 0.0, 0.0, self.missed)
        jitter = np.abs(np.diff(starts) - self._period_ns) / 1e6
        work = self._works[:kept] / 1e6
        return TickReport(
            len(jitter),
            float(np.percentile(jitter, 99)),
            float(jitter.max()),
            float(np.percentile(work, 99)),
            self.missed,
        )
