"""What the simulator knows and no camera shows: the ground for experts and scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

CUBE = "_cube"
"""What the name of a cube ends in; the colour comes before it."""


@dataclass(frozen=True, slots=True)
class Truth:
    """The state of the world at one instant, in the world frame.

    Attributes:
        time_s: Simulated time since the world was made.
        objects: Pose of each object by name, shape (7,): xyz in m, quaternion wxyz. The position is
            the center of the body, except for bowls, pads, pillars and trays: the center of their
            underside; and for buttons: the middle of the cap's top while it is out.
        tips: Point between the finger pads of each arm, shape (3,), m.
        openings: Distance between the fingers of each arm, m.
        joints: How far each button is pressed, m, by name.
        touching: What the fingers of each arm touch: names of objects, or `name:part` for parts.
    """

    time_s: float
    objects: Mapping[str, FloatArray]
    tips: Mapping[str, FloatArray]
    openings: Mapping[str, float]
    joints: Mapping[str, float] = field(default_factory=dict)
    touching: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @property
    def cubes(self) -> dict[str, FloatArray]:
        """Pose of each cube, by colour."""
        return {name.removesuffix(CUBE): pose for name, pose in self.objects.items() if name.endswith(CUBE)}

    def place(self, name: str) -> FloatArray:
        """Position of an object, shape (3,), m."""
        return self.objects[name][:3]


def axis_of(pose: FloatArray, axis: int) -> FloatArray:
    """Direction of a body's own x, y or z axis in the world, shape (3,), from its pose (7,)."""
    w, x, y, z = (float(value) for value in pose[3:])
    columns = (
        (1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)),
        (2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x)),
        (2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)),
    )
    return np.array(columns[axis])


def yaw_of(pose: FloatArray) -> float:
    """Turn of a body about the vertical, rad: heading of its own x axis."""
    x = axis_of(pose, 0)
    return float(np.arctan2(x[1], x[0]))
