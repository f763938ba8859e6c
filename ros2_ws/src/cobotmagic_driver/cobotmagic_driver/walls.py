"""What the arms must stay clear of, seen from a motion: near walls are measured, far ones are not. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cobotmagic_driver.guard import COLUMNS, Guard
from cobotmagic_driver.motion import Motion, StopPath

Vector = NDArray[np.float64]

ROUNDING_M = 1e-6
"""What a clearance may miss by, computed twice."""
LOOK_AHEAD = (1.0 / 3.0, 2.0 / 3.0, 1.0)
"""Parts of the way to rest at which clearances are measured."""


class Walls:
    """Says whether a motion can still be stopped clear of everything. `reset` it first."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._floor = np.full(len(COLUMNS), -np.inf)
        self._seen: tuple[Vector, Vector] | None = None

    def reset(self, position: Vector) -> None:
        """Begins anew at a position, shape (14,), which may be too near to something already."""
        self._floor = np.full(len(COLUMNS), -np.inf)
        self._see(position, self._guard.clearances(position[None])[0])

    def _see(self, position: Vector, clearances: Vector) -> None:
        """Keeps the clearances of a position.

        Arms that were too near from the beginning may go, but never nearer than they have been since.
        """
        self._seen = position, clearances
        self._floor = np.maximum(self._floor, np.minimum(clearances, 0.0))

    def are_far(self, path: StopPath) -> bool:
        """True where, by what was seen last, nothing can be reached on the whole way to rest.

        The measuring of clearances takes most of a tick, and away from walls it is needed seldom.
        """
        if self._seen is None:
            return False
        position, clearances = self._seen
        moves = np.maximum(np.abs(path.lowest - position), np.abs(path.highest - position))
        return bool((clearances > self._guard.change(moves)).all())

    def look_ahead(self, motion: Motion, path: StopPath) -> list[str]:
        """Which clearances are too small on the way of a motion to rest; names as in COLUMNS."""
        later = path.positions([part * path.duration_s for part in LOOK_AHEAD])
        clearances = self._guard.clearances(np.vstack([motion.position[None], later]))
        too_near = clearances.min(axis=0) < self._floor - ROUNDING_M
        self._see(motion.position, clearances[0])
        return [COLUMNS[index] for index in np.flatnonzero(too_near)]
