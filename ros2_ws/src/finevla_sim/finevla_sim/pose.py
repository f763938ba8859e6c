"""A pose matrix to the six numbers of the Piper's end pose frames."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def xyz_rpy(pose: NDArray[np.float64]) -> tuple[float, ...]:
    """x, y, z (m) and roll, pitch, yaw (rad, fixed axes) of a pose matrix, shape (4, 4)."""
    pitch = math.atan2(-pose[2, 0], math.hypot(pose[0, 0], pose[1, 0]))
    if abs(math.cos(pitch)) < 1e-6:
        # Straight up or down: roll and yaw turn about the same axis; all of it goes to roll.
        roll, yaw = math.copysign(math.atan2(pose[0, 1], pose[1, 1]), pitch), 0.0
    else:
        roll, yaw = math.atan2(pose[2, 1], pose[2, 2]), math.atan2(pose[1, 0], pose[0, 0])
    return (*(float(value) for value in pose[:3, 3]), roll, pitch, yaw)
