"""Action types: a time reference times a representation, to absolute values and back.

Formulas: FineVLA-Tool, stage 2 (`CanonicalizeAndClean`). With the state s and the action a at a frame t,
and s0 the state at the first frame:

- `abs`: the target itself.
- `delta`: the target as seen from s_t, in the world's axes: p_a = p_s + dp, R_a = dR R_s; joints a + s.
- `rel`: the target in the body frame of s0: p = R_0^-1 (p_a - p_0), R = R_0^-1 R_a; joints a - s0.

Poses in between are (T, 7): x, y, z in m and a unit quaternion x, y, z, w of continuous sign.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from finevla.errors import FineVLAError

Array = NDArray[np.float64]
Time = Literal["abs", "delta", "rel"]
Form = Literal["joint", "rotvec", "quat", "wxyz", "euler"]

XYZ = 3
WIDTHS: Mapping[Form, int] = {"rotvec": 3, "quat": 4, "wxyz": 4, "euler": 3}
"""Numbers of a rotation; `quat` is x, y, z, w, `euler` turns about the fixed axes x, y, z in this order."""


@dataclass(frozen=True, slots=True)
class ActionType:
    """What the numbers of an action mean; `joint` is also the form of grippers and hands."""

    time: Time
    form: Form

    def __str__(self) -> str:
        """As the command line has it, such as `delta_euler`."""
        return f"{self.time}_{self.form}"


def parse_type(text: str, flag: str) -> ActionType:
    """Reads an action type.

    Raises:
        FineVLAError: It is none.
    """
    time, _, form = text.partition("_")
    if time not in get_args(Time) or form not in get_args(Form):
        raise FineVLAError(
            "this is no action type",
            where=flag,
            expected=f"one of {', '.join(get_args(Time))}, then _, then one of {', '.join(get_args(Form))}",
            found=text,
            remedy=f"for example {flag} delta_euler",
        )
    return ActionType(time, form)  # type: ignore[arg-type]


def to_absolute(kind: ActionType, values: Array, state: Array) -> Array:
    """Absolute values of an action.

    Args:
        kind: What the values are.
        values: Joints (T, n), or position and rotation (T, 3 + k) in the form of the kind.
        state: The absolute state, joints (T, n) or poses (T, 7).

    Returns:
        Joints (T, n) or poses (T, 7).
    """
    if kind.form == "joint":
        return values + _base(kind.time, state)
    poses = decode(values, kind.form)
    return signed(_poses_to_absolute(kind.time, poses, state), state[0])


def from_absolute(kind: ActionType, absolute: Array, state: Array) -> Array:
    """The exact inverse of `to_absolute`: an action in the time reference and form of the kind."""
    if kind.form == "joint":
        return absolute - _base(kind.time, state)
    return encode(_poses_from_absolute(kind.time, absolute, state), kind.form)


def decode(values: Array, form: Form) -> Array:
    """Poses (T, 7) from position and rotation (T, 3 + k); quaternions may be a little off unit norm."""
    turn = values[:, XYZ:]
    match form:
        case "quat":
            rotation = Rotation.from_quat(turn)
        case "wxyz":
            rotation = Rotation.from_quat(np.roll(turn, -1, axis=1))
        case "rotvec":
            rotation = Rotation.from_rotvec(turn)
        case "euler":
            rotation = Rotation.from_euler("xyz", turn)
        case _:
            raise ValueError(f"a pose has no form {form}")
    return _poses(values[:, :XYZ], rotation)


def encode(poses: Array, form: Form) -> Array:
    """Position and rotation (T, 3 + k) in a form from poses (T, 7)."""
    xyz, turn = poses[:, :XYZ], poses[:, XYZ:]
    match form:
        case "quat":
            told = turn
        case "wxyz":
            told = np.roll(turn, 1, axis=1)
        case "rotvec":
            told = Rotation.from_quat(turn).as_rotvec()
        case "euler":
            told = _euler(Rotation.from_quat(turn).as_matrix())
        case _:
            raise ValueError(f"a pose has no form {form}")
    return np.concatenate([xyz, told], axis=1)


def continuous(turns: Array, like: Array | None = None) -> Array:
    """The same rotations as unit quaternions (T, 4), each in the hemisphere of the one before.

    Args:
        turns: x, y, z, w; any norm but zero.
        like: The quaternion that the first one is to be near to; without it, its real part is not negative.
    """
    unit = turns / np.linalg.norm(turns, axis=1, keepdims=True)
    before = np.vstack([np.array([0.0, 0.0, 0.0, 1.0]) if like is None else like, unit[:-1]])
    steps = np.where(np.einsum("ij,ij->i", unit, before) < 0.0, -1.0, 1.0)
    result: Array = unit * np.cumprod(steps)[:, None]
    return result


def signed(poses: Array, like: Array | None = None) -> Array:
    """The same poses (T, 7) with quaternions of continuous sign; `like` is a pose, (7,)."""
    turns = continuous(poses[:, XYZ:], None if like is None else like[XYZ:])
    return np.concatenate([poses[:, :XYZ], turns], axis=1)


def _base(time: Time, state: Array) -> Array | float:
    """What joints are counted from."""
    if time == "abs":
        return 0.0
    return state if time == "delta" else state[:1]


def _poses_to_absolute(time: Time, poses: Array, state: Array) -> Array:
    turn = Rotation.from_quat(poses[:, XYZ:])
    if time == "delta":
        return _poses(state[:, :XYZ] + poses[:, :XYZ], turn * Rotation.from_quat(state[:, XYZ:]))
    if time == "rel":
        first = Rotation.from_quat(state[0, XYZ:])
        return _poses(state[0, :XYZ] + first.apply(poses[:, :XYZ]), first * turn)
    return poses


def _poses_from_absolute(time: Time, poses: Array, state: Array) -> Array:
    turn = Rotation.from_quat(poses[:, XYZ:])
    if time == "delta":
        return _poses(poses[:, :XYZ] - state[:, :XYZ], turn * Rotation.from_quat(state[:, XYZ:]).inv())
    if time == "rel":
        back = Rotation.from_quat(state[0, XYZ:]).inv()
        return _poses(back.apply(poses[:, :XYZ] - state[0, :XYZ]), back * turn)
    return poses


def _poses(xyz: Array, rotation: Rotation) -> Array:
    return signed(np.concatenate([xyz, rotation.as_quat()], axis=1))


def _euler(matrix: Array) -> Array:
    """Angles (T, 3) about the fixed axes x, y, z of rotations (T, 3, 3).

    The last angle is found first and turned back before the first is read, so that the result gives the
    rotation again to rounding even where two axes fall together, and scipy's is off by up to 1e-7.
    """
    yaw = np.arctan2(matrix[:, 1, 0], matrix[:, 0, 0])
    pitch = np.arctan2(-matrix[:, 2, 0], np.hypot(matrix[:, 0, 0], matrix[:, 1, 0]))
    sin, cos = np.sin(yaw), np.cos(yaw)
    roll = np.arctan2(
        sin * matrix[:, 0, 2] - cos * matrix[:, 1, 2], cos * matrix[:, 1, 1] - sin * matrix[:, 0, 1]
    )
    return np.stack([roll, pitch, yaw], axis=1)
