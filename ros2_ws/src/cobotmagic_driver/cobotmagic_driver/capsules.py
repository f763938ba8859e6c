"""The arms as capsules: a segment with a radius for each part, and how far segments are apart. Pure.

A capsule encloses the boxes of its links in `finevla.contract.urdf` (a test proves it) and closes the
gaps that those boxes leave at the joints. Frames, lengths in m: base, link 1 to link 6 (the flange), as
`finevla.contract.kinematics.frames` gives them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from finevla.contract.kinematics import FloatArray

Vec = tuple[float, float, float]

COLUMN, FINGER_A, FINGER_B = "column", "finger_a", "finger_b"


@dataclass(frozen=True, slots=True)
class Capsule:
    """All points within `radius` of a segment that moves with a link.

    Attributes:
        name: Which part of the arm it is.
        frame: Which frame it moves with: 0 the base, 1 to 6 the links.
        start: One end of the segment in that frame, m.
        end: The other end, m.
        radius: m.
        slide: How far it moves along y of the frame for each m of the gripper's opening.
    """

    name: str
    frame: int
    start: Vec
    end: Vec
    radius: float
    slide: float = 0.0


CAPSULES = (
    # The base and link 1, which turns within it.
    Capsule(COLUMN, 0, (0.0, 0.0, 0.0), (0.0, 0.0, 0.123), 0.075),
    Capsule("upper_arm", 2, (0.0, 0.0, 0.0), (0.28503, 0.0, 0.0), 0.0375),
    # Link 3 to the centre of the wrist; link 4, which turns about its axis, lies within it.
    Capsule("forearm", 3, (-0.022, 0.0, 0.0), (-0.022, -0.25075, 0.0), 0.036),
    # From the centre of the wrist, with link 5 around it, to the middle of the gripper's body.
    Capsule("hand", 6, (0.0, 0.0, -0.091), (0.0, 0.0, 0.055), 0.038),
    # The gripper's body, which lies across.
    Capsule("palm", 6, (0.0, -0.038, 0.055), (0.0, 0.038, 0.055), 0.036),
    Capsule(FINGER_A, 6, (0.0, 0.005, 0.090), (0.0, 0.005, 0.140), 0.0125, 0.5),
    Capsule(FINGER_B, 6, (0.0, -0.005, 0.090), (0.0, -0.005, 0.140), 0.0125, -0.5),
)
"""The parts of one arm, from the base to the fingers."""

_TINY = 1e-30
"""Keeps divisors above zero where segments are points or parallel."""


class ArmCapsules:
    """Where the capsules of an arm are, for many poses at once."""

    def __init__(self) -> None:
        self._frame = np.array([capsule.frame for capsule in CAPSULES])
        start, end = (np.array([getattr(c, name) for c in CAPSULES]) for name in ("start", "end"))
        # Columns: the start as a point, the way to the end as a direction.
        self._local = np.zeros((len(CAPSULES), 4, 2))
        self._local[:, :3, 0], self._local[:, 3, 0] = start, 1.0
        self._local[:, :3, 1] = end - start
        self._slide = np.zeros_like(self._local)
        self._slide[:, 1, 0] = [capsule.slide for capsule in CAPSULES]
        self.radius = np.array([capsule.radius for capsule in CAPSULES])

    def segments(self, frames: FloatArray, opening: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The segments of the capsules in the frame that `frames` are given in.

        Args:
            frames: Poses of base and links, shape (K, 7, 4, 4).
            opening: Opening of the gripper, shape (K,), m.

        Returns:
            Where each segment starts, and the way from there to its end; both (K, len(CAPSULES), 3), m.
        """
        local = self._local + opening[:, None, None, None] * self._slide
        world = np.matmul(frames[:, self._frame, :3], local)
        return world[..., 0], world[..., 1]


def segment_distances(p: FloatArray, d: FloatArray, q: FloatArray, e: FloatArray) -> NDArray[np.float64]:
    """Distance of every segment of one set from every segment of another.

    Right for parallel segments and for segments that are points, too. The method: the nearest point of
    the first line to the second, clipped; the nearest to it on the second, clipped; the nearest to that
    on the first (Ericson, Real-Time Collision Detection, 5.1.9).

    Args:
        p: Starts of the first set, shape (K, A, 3), m.
        d: The ways to their ends, shape (K, A, 3), m.
        q: Starts of the second set, shape (K, B, 3), m.
        e: The ways to their ends, shape (K, B, 3), m.

    Returns:
        Shape (K, A, B), m.
    """
    n, m = p.shape[1], q.shape[1]
    # The products of all vectors with each other at once: many small operations cost more than one.
    every = np.concatenate([p, d, q, e], axis=1)
    product = np.matmul(every, every.swapaxes(1, 2))
    of_p, of_d, of_q, of_e = slice(n), slice(n, 2 * n), slice(2 * n, 2 * n + m), slice(2 * n + m, None)
    dd, ee, de = _own(product[:, of_d, of_d]), _own(product[:, of_e, of_e]), product[:, of_d, of_e]
    dd, ee = dd[:, :, None], ee[:, None, :]
    # With r = p - q: its products with d, with e, and with itself.
    dr = _own(product[:, of_d, of_p])[:, :, None] - product[:, of_d, of_q]
    er = product[:, of_p, of_e] - _own(product[:, of_q, of_e])[:, None, :]
    rr = _own(product[:, of_p, of_p])[:, :, None] + _own(product[:, of_q, of_q])[:, None, :]
    rr = rr - 2.0 * product[:, of_p, of_q]
    # Of parallel lines any point is as near as any other: what rounding leaves in the divisor decides.
    s = _unit((de * er - dr * ee) / np.maximum(dd * ee - de * de, _TINY))
    t = _unit((de * s + er) / np.maximum(ee, _TINY))
    s = _unit((de * t - dr) / np.maximum(dd, _TINY))
    squared = rr + s * (s * dd + 2.0 * dr) + t * (t * ee - 2.0 * er) - 2.0 * s * t * de
    distance: NDArray[np.float64] = np.sqrt(np.maximum(squared, 0.0))
    return distance


def _own(products: FloatArray) -> FloatArray:
    """Products of vectors with themselves, or with their partners, out of those of all with all."""
    found: FloatArray = products.diagonal(axis1=1, axis2=2)
    return found


def _unit(values: FloatArray) -> FloatArray:
    """Clips to 0..1; `np.clip` costs twice as much on arrays of this size."""
    clipped: FloatArray = np.minimum(np.maximum(values, 0.0), 1.0)
    return clipped
