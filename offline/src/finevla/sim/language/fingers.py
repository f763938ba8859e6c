"""From where a hand comes, and when its fingers close: plainly, or as little as can be mistaken for it."""

from __future__ import annotations

import numpy as np

from finevla.sim.log import EpisodeLog
from finevla.sim.scene import ObjectSpec
from finevla.sim.truth import FloatArray

CLOSING_M = 0.020
"""Least way of the fingers when they plainly close."""
FLINCH_M = 0.006
"""A way that could be taken for a closing."""
NEAR_M, NEAR_BY_M = 0.035, 0.060
"""Fingers that close within the first distance of an object try to grasp it, beyond the second not."""
DOUBT_M = 0.015
"""Of two things whose distances differ by less, either could be meant."""
WAY_M, AWAY_M = 0.060, 0.055
"""Length of the hand's way, and its distance, before the first contact that tell from where it came."""
STEEP, LEVEL = float(np.sin(np.deg2rad(62.0))), float(np.sin(np.deg2rad(30.0)))


def approach_of(log: EpisodeLog, side: str, name: str, touch: int) -> str:
    """From where a hand came to an object: above, left or right; empty where it is not plain.

    Two directions must agree: to where the hand was 6 cm of its way before the first contact, and to
    where it last was 5.5 cm away.
    """
    tips = np.array([truth.tips[side] for truth in log.truths[: touch + 1]])[::-1]
    way = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(tips, axis=0), axis=1))])
    away = np.nonzero(np.linalg.norm(tips - tips[0], axis=1) >= AWAY_M)[0]
    if name not in log.first.objects or not len(away):
        return ""
    start = np.array([np.interp(WAY_M, way, tips[:, axis]) for axis in range(3)])
    said = {_origin(start - tips[0]), _origin(tips[away[0]] - tips[0])}
    return said.pop() if len(said) == 1 else ""


def _origin(came: FloatArray) -> str:
    came = came / max(float(np.linalg.norm(came)), 1e-9)
    if came[2] >= STEEP:
        return "above"
    if abs(came[2]) > LEVEL or abs(came[1]) < 1.7 * abs(came[0]):
        return ""
    return "left" if came[1] > 0 else "right"


def closings_at(log: EpisodeLog, side: str) -> list[tuple[int, int, ObjectSpec]]:
    """Begin and end of every time in which fingers plainly close at an object, and that object."""
    found = []
    for begin, end in _closings([truth.openings[side] for truth in log.truths]):
        near = [(float(log.distances(side, item)[end - 1]), item.name, item) for item in log.spec.movable]
        if near and min(near)[0] < NEAR_M:
            found.append((begin, end, min(near)[2]))
    return found


def flinches_at(log: EpisodeLog, side: str, item: ObjectSpec) -> list[int]:
    """Every time at which the fingers close ever so little near an object: index of its begin."""
    openings = [truth.openings[side] for truth in log.truths]
    mine = log.distances(side, item)
    nearest = np.min([log.distances(side, other) for other in log.spec.movable], axis=0)
    near = mine < np.minimum(NEAR_BY_M, nearest + DOUBT_M)
    return [begin for begin, low in _flinches(openings) if bool(near[low])]


def _closings(openings: list[float]) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    begin = 0
    for i in range(1, len(openings)):
        if openings[i] >= openings[i - 1] - 2e-4:
            if openings[begin] - openings[i - 1] >= CLOSING_M:
                spans.append((begin, i))
            begin = i
    if openings[begin] - openings[-1] >= CLOSING_M:
        spans.append((begin, len(openings)))
    return spans


def _flinches(openings: list[float]) -> list[tuple[int, int]]:
    """Begin and lowest point of every dip of the opening that is deeper than `FLINCH_M`."""
    found: list[tuple[int, int]] = []
    top = low = 0
    begin: int | None = None
    for i, opening in enumerate(openings):
        if opening < openings[low]:
            low = i
        if begin is None and openings[top] - openings[low] > FLINCH_M:
            begin = i
        if begin is None and opening > openings[top]:
            top = low = i
        if begin is not None and opening - openings[low] > FLINCH_M:
            found.append((begin, low))
            top, low, begin = i, i, None
    return [*found, (begin, low)] if begin is not None else found
