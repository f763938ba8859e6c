"""Keeps the arms clear of each other, of the table and of the edge of the workspace. Pure.

`Guard.clearances` says for any poses how much room is left beyond the distance to keep. What follows
from too little room is the limiter's decision.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cobotmagic_driver.capsules import (
    CAPSULES,
    COLUMN,
    FINGER_A,
    FINGER_B,
    ArmCapsules,
    Vec,
    segment_distances,
)
from finevla.contract.kinematics import TOOL_M, DhRow, FloatArray, base_pose, chain, dh_table
from finevla.contract.robot import ARM_SIDES, ArmSpec, RobotContract

BoolArray = NDArray[np.bool_]

COLUMNS = ("arms", *(f"{what}_{side}" for what in ("table", "workspace") for side in ARM_SIDES))
"""What `Guard.clearances` tells, column by column."""
_FINGERS = (FINGER_A, FINGER_B)
FINGER_TIP_M, FINGER_SPREAD_M = 0.02, 0.04
"""How far fingers go beyond the tool point, and hand and fingers sideways beyond the opening."""
_WRIST = 5
"""Link whose origin is the centre of the wrist; the next one is the flange."""


@dataclass(frozen=True, slots=True)
class GuardSettings:
    """Distances to keep. The frame is the contract's: x forward, y left, z up, origin on the table top.

    Attributes:
        arms: Whether the arms are kept apart.
        table: Whether the arms are kept above the table.
        workspace: Whether tool point and wrist are kept inside the box.
        arm_margin_m: Smallest gap between parts of the two arms, fingers against fingers aside.
        finger_margin_m: Smallest gap between fingers of the two grippers. Negative: how far the capsules
            may overlap, which enclose each finger with some millimetres to spare.
        table_z_m: Height of the table top.
        table_margin_m: Smallest height of all moving parts but the fingers above the table.
        finger_allowance_m: How far below the table top a finger's capsule may reach: its rounded end goes
            7.5 mm further than the finger, fingers have to touch the table to pick things up, and 5 mm are
            left for a table that is not quite where it should be.
        workspace_lower_m: Lower corner of the box that tool point and wrist stay in.
        workspace_upper_m: Upper corner.

    Raises:
        ValueError: A number is not finite, or the box is empty.
    """

    arms: bool = True
    table: bool = True
    workspace: bool = True
    arm_margin_m: float = 0.005
    finger_margin_m: float = 0.0
    table_z_m: float = 0.0
    table_margin_m: float = 0.01
    finger_allowance_m: float = 0.0125
    workspace_lower_m: Vec = (-0.30, -0.80, -0.01)
    workspace_upper_m: Vec = (0.75, 0.80, 0.80)

    def __post_init__(self) -> None:
        numbers = (self.arm_margin_m, self.finger_margin_m, self.table_z_m, self.table_margin_m)
        corners = (*self.workspace_lower_m, *self.workspace_upper_m)
        if not np.isfinite([*numbers, self.finger_allowance_m, *corners]).all():
            raise ValueError(f"the distances of the guard are not all finite: {self}")
        if not all(a < b for a, b in zip(self.workspace_lower_m, self.workspace_upper_m, strict=True)):
            raise ValueError(f"the box of the workspace is empty: {self}")


class Guard:
    """Measures clearances of both arms.

    Args:
        contract: The robot.
        settings: Distances to keep.
    """

    def __init__(self, contract: RobotContract, settings: GuardSettings) -> None:
        self._dof, self._settings = contract.dof, settings
        self._chain = chain(contract.dh_is_offset)
        self._bases = np.stack([base_pose(contract.arms[side]) for side in ARM_SIDES])
        self._capsules = ArmCapsules()
        self._levers = _levers(dh_table(contract.dh_is_offset), contract.arms[ARM_SIDES[0]])
        names = [capsule.name for capsule in CAPSULES]
        fingers = np.isin(names, _FINGERS)
        fixed = np.array([name == COLUMN for name in names])
        self._apart = self._distances_apart(fingers, fixed)
        self._floor = settings.table_z_m + np.where(
            fingers, -settings.finger_allowance_m, settings.table_margin_m
        )
        self._floor += self._capsules.radius
        self._floor[fixed] = -np.inf  # it stands on the table
        self._lower, self._upper = np.array(settings.workspace_lower_m), np.array(settings.workspace_upper_m)

    def _distances_apart(self, fingers: BoolArray, fixed: BoolArray) -> FloatArray:
        """Smallest distance of the segments of each pair of capsules; none for what never moves."""
        both = np.logical_and.outer(fingers, fingers)
        apart: FloatArray = np.add.outer(self._capsules.radius, self._capsules.radius)
        apart = apart + np.where(both, self._settings.finger_margin_m, self._settings.arm_margin_m)
        apart[np.logical_and.outer(fixed, fixed)] = -np.inf
        return apart

    def change(self, moves: FloatArray) -> FloatArray:
        """The most by which a clearance can change while joints move.

        A point of an arm moves, when a joint turns, by at most the angle times its distance from the
        joint's axis, which is at most the length of the links behind it.

        Args:
            moves: Largest distances that the joints go, shape (14,), rad and m.

        Returns:
            Shape (5,), m, in the order of COLUMNS.
        """
        left, right = (moves.reshape(len(ARM_SIDES), -1) * self._levers).sum(axis=1)
        return np.array([left + right, left, right, left, right])

    def clearances(self, poses: FloatArray) -> FloatArray:
        """Room beyond the distances to keep.

        Args:
            poses: Values of both arms, shape (K, 14), rad and m of opening.

        Returns:
            Shape (K, 5), m, in the order of COLUMNS. Negative: too near, or outside. Infinite where a
            check is switched off.

        Raises:
            ValueError: Another shape, or a value that is not finite.
        """
        poses = np.asarray(poses, dtype=np.float64)
        if poses.ndim != 2 or poses.shape[1] != self._dof or not np.isfinite(poses).all():
            raise ValueError(f"expected finite poses of shape (K, {self._dof}), got {poses!r}")
        count, sides = len(poses), len(ARM_SIDES)
        # One row for each arm: those of the first side, then those of the second.
        arms = poses.reshape(count, sides, -1).swapaxes(0, 1).reshape(sides * count, -1)
        frames = self._chain.frames(self._bases.repeat(count, axis=0), arms[:, :-1])
        starts, ways = self._capsules.segments(frames, arms[:, -1])
        found = np.full((count, len(COLUMNS)), np.inf)
        if self._settings.arms:
            found[:, 0] = self._between(starts, ways, count)
        if self._settings.table:
            lowest = starts[..., 2] + np.minimum(ways[..., 2], 0.0)
            found[:, 1:3] = (lowest - self._floor).min(axis=1).reshape(sides, count).T
        if self._settings.workspace:
            found[:, 3:5] = self._inside(frames).reshape(sides, count).T
        return found

    def _between(self, starts: FloatArray, ways: FloatArray, count: int) -> FloatArray:
        gaps = segment_distances(starts[:count], ways[:count], starts[count:], ways[count:])
        room: FloatArray = (gaps - self._apart).reshape(count, -1).min(axis=1)
        return room

    def _inside(self, frames: FloatArray) -> FloatArray:
        """Distance of tool point and wrist from the nearest side of the box, shape (len(frames),), m."""
        points = frames[:, _WRIST:, :3, 3].copy()  # wrist and flange
        points[:, 1] += TOOL_M * frames[:, -1, :3, 2]
        room: FloatArray = np.minimum(points - self._lower, self._upper - points).min(axis=(1, 2))
        return room


def _levers(table: tuple[DhRow, ...], arm: ArmSpec) -> FloatArray:
    """How far a point of an arm can be from each joint's axis, shape (7,), m; 1/2 for the gripper."""
    spread = arm.joints[-1].upper / 2.0 + FINGER_SPREAD_M
    behind = math.hypot(TOOL_M + FINGER_TIP_M, spread)
    levers = [spread, 0.5]  # the last joint turns about the tool's own axis
    for index in range(len(table) - 1, 0, -1):
        behind += math.hypot(table[index].a, table[index].d)
        levers.insert(0, behind)
    return np.array(levers)
