"""The way home: grippers open first, then both arms move, each joint along a smooth S-curve."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PEAK_OVER_MEAN = 1.875
"""Peak speed of a minimum-jerk motion over its mean speed."""


class HomeMotion:
    """Targets over time from one pose to another.

    Args:
        start: Where the arms are, shape (14,), rad and m.
        goal: Where they shall be, shape (14,).
        speed: Largest speed of each joint on the way, shape (14,), rad/s and m/s.
        grippers: Indices of the grippers in the vector.
    """

    def __init__(
        self,
        start: NDArray[np.float64],
        goal: NDArray[np.float64],
        speed: NDArray[np.float64],
        grippers: tuple[int, ...],
    ) -> None:
        self._start, self._delta = start.copy(), goal - start
        times = PEAK_OVER_MEAN * np.abs(self._delta) / speed
        self._first = np.zeros(len(start), dtype=bool)
        self._first[list(grippers)] = True
        self._split_s = float(times[self._first].max())
        self._arm_s = float(times[~self._first].max())

    @property
    def duration_s(self) -> float:
        """Time until the last target is the goal."""
        return self._split_s + self._arm_s

    def target(self, elapsed_s: float) -> NDArray[np.float64]:
        """The target `elapsed_s` after the start, shape (14,), rad and m."""
        progress = np.where(
            self._first,
            _smooth(elapsed_s, self._split_s),
            _smooth(elapsed_s - self._split_s, self._arm_s),
        )
        mixed: NDArray[np.float64] = self._start + progress * self._delta
        return mixed


def _smooth(elapsed_s: float, duration_s: float) -> float:
    if elapsed_s >= duration_s:
        return 1.0
    x = max(elapsed_s, 0.0) / duration_s if duration_s else 0.0
    return x * x * x * (10.0 - 15.0 * x + 6.0 * x * x)
