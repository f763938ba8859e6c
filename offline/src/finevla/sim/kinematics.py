"""Inverse kinematics of one Piper arm; the forward one is in `finevla.contract.kinematics`.

It is closed form for the "planar" family that the expert uses: joint 4 is zero, so that the whole
arm lies in one vertical plane through its base, and the gripper points down, tilted outwards by an
angle of choice.
"""

from __future__ import annotations

import math

import numpy as np

from finevla.contract.kinematics import TOOL_M, FloatArray, dh_table, tool_pose
from finevla.contract.robot import RobotContract
from finevla.errors import SimulationError


def tilt_of(contract: RobotContract, side: str, q: FloatArray) -> float:
    """How far a gripper is tilted outwards from straight down in the plane of its arm, rad.

    Args:
        contract: The robot.
        side: Which arm.
        q: Six or seven joint values of that arm with joint 4 at zero, as `solve_planar` gives them.
    """
    axis = tool_pose(contract, side, q)[:3, 2]
    outward = np.array([math.cos(float(q[0])), math.sin(float(q[0])), 0.0])
    return math.atan2(float(axis @ outward), -float(axis[2]))


_MAX_TILT = 1.2
_TILT_STEP = 0.02


def default_tilt(radius_m: float) -> float:
    """How far the gripper tilts outwards (rad) at a horizontal distance from the base.

    Near the base the gripper is vertical; far out it tilts, because joint 5 cannot bend enough to
    stay vertical there.
    """
    return min(max((radius_m - 0.30) * 3.0, 0.0), 0.7)


def solve_planar(
    contract: RobotContract, side: str, tip: FloatArray, *, tilt: float | None = None, roll: float = 0.0
) -> FloatArray:
    """Joint angles that bring the finger pads of one arm to a point, gripper pointing down.

    Args:
        contract: The robot, with the limits to respect.
        side: Which arm.
        tip: Point in the world, shape (3,), m.
        tilt: Outward tilt of the gripper in rad; `default_tilt` of the distance when None.
        roll: Angle of joint 6 in rad.

    Returns:
        Six joint angles, shape (6,), all within the contract's limits.

    Raises:
        SimulationError: The point is out of reach or a joint would leave its limits.
    """
    arm = contract.arms[side]
    table = dh_table(contract.dh_is_offset)
    dx, dy, dz = (float(tip[i]) - arm.base_xyz_m[i] for i in range(3))
    radius = math.hypot(dx, dy)
    tilt = default_tilt(radius) if tilt is None else tilt
    tool = TOOL_M + table[5].d
    wrist_r = radius - tool * math.sin(tilt)
    wrist_z = dz + tool * math.cos(tilt) - table[0].d
    upper, lower = table[2].a, math.hypot(table[3].a, table[3].d)
    bend = math.atan2(table[3].d, table[3].a)
    cosine = (wrist_r**2 + wrist_z**2 - upper**2 - lower**2) / (2.0 * upper * lower)
    if abs(cosine) > 1.0:
        raise _unreachable(side, tip, f"the wrist would be {math.hypot(wrist_r, wrist_z):.3f} m away")
    # Elbow up: the forearm bends down from the upper arm by `inner`.
    inner = math.acos(cosine)
    upper_angle = math.atan2(wrist_z, wrist_r) + math.atan2(
        lower * math.sin(inner), upper + lower * math.cos(inner)
    )
    forearm_angle = upper_angle - inner
    q = np.array(
        [
            math.atan2(dy, dx),
            -upper_angle - table[1].theta,
            _wrap(inner + bend - table[2].theta),
            0.0,
            _wrap(math.pi - tilt + forearm_angle - bend),
            roll,
        ]
    )
    for value, joint in zip(q, arm.joints, strict=False):
        if not joint.lower <= value <= joint.upper:
            raise _unreachable(side, tip, f"{joint.name} would be {value:.3f} rad")
    return q


def reach(contract: RobotContract, side: str, tip: FloatArray, roll: float = 0.0) -> FloatArray:
    """Like `solve_planar`, tilting the gripper further outwards where the default does not fit.

    The smallest tilt that fits is taken, so that neighbouring points give neighbouring angles.

    Raises:
        SimulationError: No tilt brings the finger pads to the point within the joint limits.
    """
    base = contract.arms[side].base_xyz_m
    first = default_tilt(math.hypot(float(tip[0]) - base[0], float(tip[1]) - base[1]))
    for tilt in np.arange(first, _MAX_TILT, _TILT_STEP):
        try:
            return solve_planar(contract, side, tip, tilt=float(tilt), roll=roll)
        except SimulationError:
            continue
    return solve_planar(contract, side, tip, tilt=_MAX_TILT, roll=roll)


def _wrap(angle: float) -> float:
    return math.remainder(angle, 2.0 * math.pi)


def _unreachable(side: str, tip: FloatArray, why: str) -> SimulationError:
    return SimulationError(
        f"the {side} arm cannot reach a point",
        where=f"xyz {np.round(tip, 3).tolist()} m",
        expected="a point that the arm reaches within its joint limits",
        found=why,
        remedy="move the object nearer to the arm, or choose the other arm",
    )
