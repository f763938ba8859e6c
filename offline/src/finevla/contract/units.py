"""SI values to the integers of the Piper's CAN frames and back: 0.001 degree, 0.001 mm, 0.001 N m.

Used by the driver's codec and by the simulated arms, so that neither has factors of its own.
"""

from __future__ import annotations

import math

COUNTS_PER_UNIT = 1000
"""Counts per degree, per millimetre and per newton metre."""

MM_PER_M = 1000

RAD_PER_COUNT = math.radians(1.0) / COUNTS_PER_UNIT
"""Angle of one count, rad."""

M_PER_COUNT = 1.0 / (COUNTS_PER_UNIT * MM_PER_M)
"""Length of one count, m."""


def counts_from_rad(angle_rad: float) -> int:
    """The nearest count of an angle in rad."""
    return round(math.degrees(angle_rad) * COUNTS_PER_UNIT)


def rad_from_counts(counts: int) -> float:
    """The angle in rad of a count of 0.001 degree."""
    return math.radians(counts / COUNTS_PER_UNIT)


def counts_from_m(length_m: float) -> int:
    """The nearest count of a length in m."""
    return round(length_m * MM_PER_M * COUNTS_PER_UNIT)


def m_from_counts(counts: int) -> float:
    """The length in m of a count of 0.001 mm."""
    return counts / (COUNTS_PER_UNIT * MM_PER_M)


def counts_from_n_m(torque_n_m: float) -> int:
    """The nearest count of a torque in N m."""
    return round(torque_n_m * COUNTS_PER_UNIT)
