"""What the simulator knows and no camera shows: the ground for experts and scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Truth:
    """The state of the world at one instant, in the world frame.

    Attributes:
        time_s: Simulated time since the world was made.
        cubes: Pose of each cube by colour, shape (7,): xyz in m, quaternion wxyz.
        bowl: Center of the bowl's underside on the table, shape (3,), m.
        tips: Point between the finger pads of each arm, shape (3,), m.
        openings: Distance between the fingers of each arm, m.
    """

    time_s: float
    cubes: Mapping[str, FloatArray]
    bowl: FloatArray
    tips: Mapping[str, FloatArray]
    openings: Mapping[str, float]
