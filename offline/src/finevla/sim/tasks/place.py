"""Where things may lie: drawing places that keep clear of one another."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from finevla.errors import SimulationError

Array = NDArray[np.float64]

X_M = (0.165, 0.275)
"""Usual depth of what is taken up: both arms reach it from above."""
Y_M = (-0.11, 0.11)
YAW_RAD = np.pi / 4
GAP_M = 0.075
"""An open gripper fits around what is further apart than this in one axis."""

_MAX_TRIES = 1000


def draw(rng: np.random.Generator, sample: Callable[[np.random.Generator], Array | None], what: str) -> Array:
    """Repeats `sample` until it returns something.

    Raises:
        SimulationError: It never did.
    """
    for _ in range(_MAX_TRIES):
        found = sample(rng)
        if found is not None:
            return found
    raise SimulationError(
        f"{what} do not fit on the table without touching",
        where="drawing a scene",
        remedy="ask for fewer objects, or another seed",
    )


def scatter(
    rng: np.random.Generator,
    count: int,
    *,
    x: tuple[float, float] = X_M,
    y: tuple[float, float] = Y_M,
    gap: float = GAP_M,
    keep_out: Sequence[tuple[float, float, float]] = (),
) -> Array:
    """Places for `count` things, shape (count, 2), m: `gap` apart in one axis.

    Args:
        rng: Where chance comes from.
        count: How many.
        x: Range of depth.
        y: Range of width.
        gap: Least distance of two in the axis in which they are further apart.
        keep_out: Circles (x, y, radius) that stay free.

    Raises:
        SimulationError: They do not fit.
    """

    def sample(rng: np.random.Generator) -> Array | None:
        spots = np.stack([rng.uniform(*x, count), rng.uniform(*y, count)], axis=1)
        gaps = np.abs(spots[:, None] - spots[None]).max(axis=2) + np.eye(count)
        clear = all(np.linalg.norm(spots - (cx, cy), axis=1).min() > radius for cx, cy, radius in keep_out)
        return spots if clear and gaps.min() > gap else None

    return draw(rng, sample, f"{count} objects")
