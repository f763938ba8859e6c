"""What an expert expects to come of its own motion: a look-ahead without physics."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from finevla.contract import ARM_SIDES, RobotContract
from finevla.contract.kinematics import tool_pose
from finevla.sim.props import BUTTON_HEIGHT_M, BUTTON_TRAVEL_M, HANDLE_M, rest_height
from finevla.sim.scene import Kind, ObjectSpec, SceneSpec
from finevla.sim.tasks.skills import HOLD_M
from finevla.sim.truth import FloatArray, Truth, axis_of

GRIPPER_M_S = 0.20
_LOOSE = 1.15
"""A gripper that is told to be narrower than this times an object's width holds it."""


def imagine(
    contract: RobotContract,
    spec: SceneSpec,
    command: FloatArray,
    following: FloatArray,
    truth: Truth,
    dt_s: float,
) -> Truth:
    """The truth `dt_s` later, if arms follow at once and objects move with the hand that holds them.

    Args:
        contract: The robot.
        spec: The scene as it was at the beginning.
        command: The leader's 14 joints now.
        following: Its joints `dt_s` later.
        truth: The truth now.
        dt_s: Length of the step.
    """
    objects, joints = dict(truth.objects), dict(truth.joints)
    tips, openings = dict(truth.tips), dict(truth.openings)
    for side in ARM_SIDES:
        part = contract.arm_slice(side)
        before = tool_pose(contract, side, command[part])
        after = tool_pose(contract, side, following[part])
        grip = float(following[part][-1])
        item = _nearest(spec, truth, side)
        if item is not None:
            width = _width(item, truth.objects[item.name], truth.tips[side])
            shut = truth.openings[side] <= _LOOSE * width + GRIPPER_M_S * dt_s
            if shut and grip < _LOOSE * width:
                turn = after[:3, :3] @ before[:3, :3].T
                objects[item.name] = _moved(objects[item.name], turn, truth.tips[side], after[:3, 3])
            else:
                objects[item.name] = _dropped(objects[item.name], spec, item)
            grip = max(grip, width)
        tips[side], openings[side] = after[:3, 3], grip
        for name, depth in joints.items():
            joints[name] = max(depth, _pressed(spec.object(name), tips[side], spec.look.table_z_m))
    return replace(
        truth, time_s=truth.time_s + dt_s, objects=objects, tips=tips, openings=openings, joints=joints
    )


def _nearest(spec: SceneSpec, truth: Truth, side: str) -> ObjectSpec | None:
    """The movable object between the fingers of a hand."""
    near = [
        (grip_distance(truth.tips[side], truth.objects[item.name], item), item.name, item)
        for item in spec.movable
    ]
    return next((item for distance, _, item in sorted(near)[:1] if distance < HOLD_M), None)


def grip_distance(tip: FloatArray, pose: FloatArray, item: ObjectSpec) -> float:
    """Distance of a hand from where it can hold an object, m: its long axis, its handle or its center."""
    if item.kind in {Kind.BAR, Kind.BOTTLE}:
        axis = axis_of(pose, 0)
        half = item.size[0 if item.kind is Kind.BAR else 1] / 2
        along = float(np.clip((tip - pose[:3]) @ axis, -half, half))
        return float(np.linalg.norm(tip - pose[:3] - along * axis))
    middle = float(np.linalg.norm(tip - pose[:3]))
    if item.kind is Kind.CUP:
        handle = pose[:3] + (item.size[0] + HANDLE_M[0] / 2) * axis_of(pose, 0)
        return min(middle, float(np.linalg.norm(tip - handle)))
    return middle


def _width(item: ObjectSpec, pose: FloatArray, tip: FloatArray) -> float:
    """What is between the fingers of a hand at `tip` when it holds the object, m."""
    match item.kind:
        case Kind.BAR:
            return item.size[1]
        case Kind.BOTTLE:
            return 2 * item.size[0]
        case Kind.CUP:
            beside = float(np.linalg.norm(tip - pose[:3])) > item.size[0]
            return HANDLE_M[1] if beside else 2 * item.size[0]
        case _:
            return item.size[0]


def _moved(pose: FloatArray, turn: FloatArray, before: FloatArray, after: FloatArray) -> FloatArray:
    """A pose carried along by a tool that turns by `turn` while its tip goes from `before` to `after`."""
    moved = pose.copy()
    moved[:3] = after + turn @ (pose[:3] - before)
    moved[3:] = _product(_quaternion(turn), pose[3:])
    return moved


def _dropped(pose: FloatArray, spec: SceneSpec, item: ObjectSpec) -> FloatArray:
    """A pose that nothing holds: it falls, unless it stands on something."""
    floor = spec.look.table_z_m + rest_height(item)
    fallen = pose.copy()
    if item.kind is Kind.CUBE and fallen[2] < floor + 0.5 * item.size[0]:
        fallen[2] = min(float(fallen[2]), floor)
    return fallen


def _pressed(button: ObjectSpec, tip: FloatArray, table_z: float) -> float:
    over = float(np.hypot(tip[0] - button.x, tip[1] - button.y)) < button.size[0]
    fingers = 0.010
    depth = table_z + BUTTON_HEIGHT_M + BUTTON_TRAVEL_M - (float(tip[2]) - fingers)
    return min(max(depth, 0.0), BUTTON_TRAVEL_M) if over else 0.0


def _quaternion(turn: FloatArray) -> FloatArray:
    """Unit quaternion (wxyz) of a small or moderate rotation matrix."""
    w = 0.5 * np.sqrt(max(1.0 + float(np.trace(turn)), 1e-9))
    skew = np.array([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]])
    return np.concatenate([[w], skew / (4.0 * w)])


def _product(a: FloatArray, b: FloatArray) -> FloatArray:
    w = a[0] * b[0] - a[1:] @ b[1:]
    return np.concatenate([[w], a[0] * b[1:] + b[0] * a[1:] + np.cross(a[1:], b[1:])])
