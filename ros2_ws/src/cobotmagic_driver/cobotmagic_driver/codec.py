"""Joint targets of one arm to the integers of its CAN frames and back.

Rounding never leaves the limits: the bounds are rounded inwards before a count is compared with them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from finevla.contract.robot import ArmSpec
from finevla.contract.units import (
    M_PER_COUNT,
    RAD_PER_COUNT,
    counts_from_m,
    counts_from_n_m,
    counts_from_rad,
    m_from_counts,
    rad_from_counts,
)

_ROUNDING = 1e-6
"""Counts by which a bound may miss an integer and still be taken as that integer."""


class ArmCodec:
    """Encodes seven values, six joints (rad) and the gripper (m), of the arm that `arm` describes."""

    def __init__(self, arm: ArmSpec) -> None:
        scale = [RAD_PER_COUNT] * (len(arm.joints) - 1) + [M_PER_COUNT]
        bounds = list(zip(arm.joints, scale, strict=True))
        self._lower = [math.ceil(joint.lower / unit - _ROUNDING) for joint, unit in bounds]
        self._upper = [math.floor(joint.upper / unit + _ROUNDING) for joint, unit in bounds]
        self.effort_counts = counts_from_n_m(arm.joints[-1].effort_n_m)

    def encode(self, values: Sequence[float] | NDArray[np.float64]) -> tuple[int, ...]:
        """Six counts of 0.001 degree and one of 0.001 mm, each within its limits."""
        counts = [counts_from_rad(float(value)) for value in values[:-1]]
        counts.append(counts_from_m(float(values[-1])))
        return tuple(
            min(max(count, low), high)
            for count, low, high in zip(counts, self._lower, self._upper, strict=True)
        )

    @staticmethod
    def decode(counts: Sequence[int]) -> NDArray[np.float64]:
        """The seven values, rad and m, of six joint counts and the gripper's count."""
        return np.array([*(rad_from_counts(c) for c in counts[:-1]), m_from_counts(counts[-1])])
