"""Things that lie about and that nobody asks for: part of the hard version of every scene."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from finevla.sim.scene import Kind, ObjectSpec

MOST = 6
_X_M, _Y_M = (0.02, 0.52), (-0.36, 0.36)
_BASES = ((0.0, 0.30), (0.0, -0.30))
_BASE_CLEAR_M = 0.16
_WORK = (0.09, 0.44, -0.21, 0.21)
"""Where hands work (x from, to; y from, to): clutter stays around it."""
_APART_M = 0.06
_TRIES = 200


def clutter(rng: np.random.Generator, objects: Sequence[ObjectSpec]) -> tuple[ObjectSpec, ...]:
    """Two to six boxes and cans in muted colours, clear of the arms, of the objects and of each other."""
    count = int(rng.integers(2, MOST + 1))
    spots: list[tuple[float, float]] = []
    taken = [o.xy for o in objects]
    for _ in range(_TRIES):
        if len(spots) == count:
            break
        spot = (float(rng.uniform(*_X_M)), float(rng.uniform(*_Y_M)))
        if _free(spot, [*taken, *spots]):
            spots.append(spot)
    return tuple(_thing(rng, i, spot) for i, spot in enumerate(spots))


def _free(spot: tuple[float, float], taken: Sequence[tuple[float, float]]) -> bool:
    x0, x1, y0, y1 = _WORK
    if x0 < spot[0] < x1 and y0 < spot[1] < y1:
        return False
    away = [np.hypot(spot[0] - x, spot[1] - y) for x, y in _BASES]
    apart = [np.hypot(spot[0] - x, spot[1] - y) for x, y in taken]
    return min(away) > _BASE_CLEAR_M and min(apart, default=1.0) > _APART_M


def _thing(rng: np.random.Generator, number: int, spot: tuple[float, float]) -> ObjectSpec:
    yaw = float(rng.uniform(-np.pi, np.pi))
    rgb = tuple(float(v) for v in rng.uniform(0.12, 0.7) * rng.uniform(0.75, 1.25, 3))
    box = bool(rng.random() < 0.5)
    size = tuple(float(v) for v in rng.uniform(0.02, 0.05, 3 if box else 2))
    kind = Kind.CLUTTER_BOX if box else Kind.CLUTTER_CAN
    if not box:
        size = (0.5 * size[0], size[1])
    return ObjectSpec(f"clutter_{number}", kind, *spot, yaw, size, rgb=(rgb[0], rgb[1], rgb[2]))
