"""Forward kinematics of the Piper arms in plain numpy: where every link of the robot is.

The arm is described by one modified (Craig) Denavit-Hartenberg table. Each link transform is
`Rx(alpha) Tx(a) Rz(q + theta) Tz(d)`; lengths in m, angles in rad. The table depends on the
contract's `dh_is_offset`: firmware generations differ by two degrees in joints 2 and 3. Source:
piper_sdk 0.6.2, `kinematics/piper_fk.py`; a golden test compares the two.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from finevla.contract.robot import ArmSpec, RobotContract
from finevla.errors import ContractError

FloatArray = NDArray[np.float64]

TOOL_M = 0.135
"""Distance from the flange (link 6) to the point between the finger pads, along link 6's z."""


@dataclass(frozen=True, slots=True)
class DhRow:
    """One link: twist `alpha` and length `a` come first, then rotation by q + `theta` and `d`."""

    a: float
    alpha: float
    theta: float
    d: float


@lru_cache(maxsize=2)
def dh_table(dh_is_offset: int) -> tuple[DhRow, ...]:
    """The six rows of the Piper for one firmware generation (1 is the newer one).

    Raises:
        ContractError: The generation is neither 0 nor 1.
    """
    shifts = {0: (-174.22, -100.78), 1: (-172.22, -102.78)}
    if dh_is_offset not in shifts:
        raise ContractError(
            "the zero shift of joints 2 and 3 is unknown",
            where="contract: dh_is_offset",
            expected="0 or 1",
            found=dh_is_offset,
            remedy="use 1 for arms of the newer firmware, 0 for older ones",
        )
    theta2, theta3 = (math.radians(value) for value in shifts[dh_is_offset])
    half = math.pi / 2
    return (
        DhRow(0.0, 0.0, 0.0, 0.123),
        DhRow(0.0, -half, theta2, 0.0),
        DhRow(0.28503, 0.0, theta3, 0.0),
        DhRow(-0.02198, half, 0.0, 0.25075),
        DhRow(0.0, -half, 0.0, 0.0),
        DhRow(0.0, half, 0.0, 0.091),
    )


def link_transform(row: DhRow, q: float) -> FloatArray:
    """Pose of a link in its parent, shape (4, 4)."""
    ca, sa = math.cos(row.alpha), math.sin(row.alpha)
    ct, st = math.cos(q + row.theta), math.sin(q + row.theta)
    return np.array(
        [
            [ct, -st, 0.0, row.a],
            [st * ca, ct * ca, -sa, -sa * row.d],
            [st * sa, ct * sa, ca, ca * row.d],
            [0.0, 0.0, 0.0, 1.0],
        ]
    )


def forward(table: tuple[DhRow, ...], q: FloatArray) -> FloatArray:
    """Pose of the flange in the arm's base frame, shape (4, 4), from six joint angles."""
    pose = np.eye(4)
    for row, angle in zip(table, q[: len(table)], strict=True):
        pose = pose @ link_transform(row, float(angle))
    return pose


def base_pose(arm: ArmSpec) -> FloatArray:
    """Pose of the arm's base in the world frame, shape (4, 4); bases stand upright, facing x."""
    pose = np.eye(4)
    pose[:3, 3] = arm.base_xyz_m
    return pose


def tool_pose(contract: RobotContract, side: str, q: FloatArray) -> FloatArray:
    """Pose in the world of the point between the finger pads, shape (4, 4).

    Its z axis is the direction in which the gripper points, its y axis the one it opens along.

    Args:
        contract: The robot.
        side: Which arm.
        q: Six or seven joint values of that arm; the gripper is ignored.
    """
    pose: FloatArray = base_pose(contract.arms[side]) @ forward(dh_table(contract.dh_is_offset), q[:6])
    pose[:3, 3] += TOOL_M * pose[:3, 2]
    return pose


class Chain:
    """All link frames of many poses at once, fast enough for a loop of 200 Hz.

    A link transform is linear in the cosine and the sine of its angle, so that its three constant
    parts are made once: `fixed + cos * of_cos + sin * of_sin`, one product of matrices for all links.

    Args:
        table: Rows of the arm.
    """

    def __init__(self, table: tuple[DhRow, ...]) -> None:
        self._theta = np.array([[row.theta] for row in table])
        flat = [DhRow(row.a, row.alpha, 0.0, row.d) for row in table]
        # The angle 0 gives fixed + of_cos, pi gives fixed - of_cos, pi / 2 gives fixed + of_sin.
        zero, half, turned = (
            np.stack([link_transform(row, angle) for row in flat]) for angle in (0.0, math.pi / 2, math.pi)
        )
        fixed = (zero + turned) / 2
        self._parts = np.stack([fixed, zero - fixed, half - fixed], axis=1).reshape(len(table), 3, 16)

    def frames(self, base: FloatArray, q: FloatArray) -> FloatArray:
        """Poses of base and links in the frame in which `base` is given.

        Args:
            base: Pose of the base, shape (4, 4), or one for each pose of the arm, shape (K, 4, 4).
            q: Joint angles, shape (K, number of rows), rad.

        Returns:
            Shape (K, 1 + number of rows, 4, 4): the base first, the flange last.
        """
        count = len(q)
        turns = np.ones((len(self._parts), count, 3))
        angles = q.T + self._theta
        np.cos(angles, out=turns[..., 1])
        np.sin(angles, out=turns[..., 2])
        links = np.matmul(turns, self._parts).reshape(-1, count, 4, 4)
        found = np.empty((len(links) + 1, count, 4, 4))
        found[0] = base
        for i, link in enumerate(links):
            np.matmul(found[i], link, out=found[i + 1])
        return found.swapaxes(0, 1)


@lru_cache(maxsize=2)
def chain(dh_is_offset: int) -> Chain:
    """The chain of one firmware generation.

    Raises:
        ContractError: The generation is neither 0 nor 1.
    """
    return Chain(dh_table(dh_is_offset))


def frames(contract: RobotContract, side: str, q: FloatArray) -> FloatArray:
    """Poses in the world of the base and the six links of one arm.

    Args:
        contract: The robot.
        side: Which arm.
        q: Joint angles, shape (K, 6), rad.

    Returns:
        Shape (K, 7, 4, 4): base, link 1 to link 6 (the flange).

    Raises:
        ValueError: `q` has another shape.
    """
    if q.ndim != 2 or q.shape[1] != len(dh_table(contract.dh_is_offset)):
        raise ValueError(f"expected poses of shape (K, 6), got {q.shape}")
    return chain(contract.dh_is_offset).frames(base_pose(contract.arms[side]), q)
