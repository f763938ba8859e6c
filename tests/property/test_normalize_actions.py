"""Action types undo each other to rounding, and are what plain matrices say; quaternions keep their sign."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from finevla.stages.normalize.actions import (
    ActionType,
    continuous,
    decode,
    encode,
    from_absolute,
    parse_type,
    signed,
    to_absolute,
)

TIMES = ("abs", "delta", "rel")
POSE_FORMS = ("rotvec", "quat", "wxyz", "euler")
FRAMES = 5
coordinate = st.floats(-2.0, 2.0)
# Right angles among them: there the three angles are not unique.
angle = st.one_of(st.floats(-3.2, 3.2), st.sampled_from([0.0, math.pi / 2, -math.pi / 2, math.pi, -math.pi]))
quaternions = arrays(np.float64, (FRAMES, 4), elements=st.floats(-1.0, 1.0)).filter(
    lambda q: bool((np.linalg.norm(q, axis=1) > 0.1).all())
)
positions = arrays(np.float64, (FRAMES, 3), elements=coordinate)
poses = st.builds(lambda p, q: signed(np.concatenate([p, q], axis=1)), positions, quaternions)
angles = arrays(np.float64, (FRAMES, 3), elements=angle)


def matrix(q: np.ndarray) -> np.ndarray:
    """Rotation matrix of one unit quaternion x, y, z, w, as written in any textbook."""
    x, y, z, w = q
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def about(axis: int, turn: float) -> np.ndarray:
    """Rotation about one fixed axis."""
    i, j = (axis + 1) % 3, (axis + 2) % 3
    made = np.eye(3)
    made[i, i] = made[j, j] = math.cos(turn)
    made[i, j], made[j, i] = -math.sin(turn), math.sin(turn)
    return made


def rodrigues(v: np.ndarray) -> np.ndarray:
    turn = float(np.linalg.norm(v))
    if turn < 1e-12:
        return np.eye(3)
    x, y, z = v / turn
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + math.sin(turn) * k + (1 - math.cos(turn)) * k @ k


PLAIN = {
    "quat": matrix,
    "wxyz": lambda q: matrix(np.array([q[1], q[2], q[3], q[0]])),
    "rotvec": rodrigues,
    "euler": lambda a: about(2, a[2]) @ about(1, a[1]) @ about(0, a[0]),
}


def same(first: np.ndarray, second: np.ndarray, tolerance: float = 1e-9) -> None:
    """Poses are equal; the two quaternions of one rotation are."""
    np.testing.assert_allclose(first[:, :3], second[:, :3], atol=tolerance)
    turns = [np.array([matrix(q) for q in part[:, 3:]]) for part in (first, second)]
    np.testing.assert_allclose(*turns, atol=tolerance)


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("form", POSE_FORMS)
@given(state=poses, action=poses)
@settings(max_examples=60, deadline=None)
def test_poses_come_back(time: str, form: str, state: np.ndarray, action: np.ndarray) -> None:
    kind = ActionType(time, form)
    there = from_absolute(kind, action, state)
    assert there.shape == (FRAMES, {"rotvec": 6, "euler": 6}.get(form, 7))
    same(to_absolute(kind, there, state), action)


@given(turns=angles, xyz=positions)
@settings(max_examples=200, deadline=None)
def test_euler_angles_come_back_where_two_axes_fall_together(turns: np.ndarray, xyz: np.ndarray) -> None:
    told = decode(np.concatenate([xyz, turns], axis=1), "euler")
    again = encode(told, "euler")
    for before, after in zip(turns, again[:, 3:], strict=True):
        np.testing.assert_allclose(PLAIN["euler"](after), PLAIN["euler"](before), atol=1e-9)
    assert (np.abs(again[:, 4]) <= math.pi / 2 + 1e-12).all()


@pytest.mark.parametrize("time", TIMES)
@given(
    state=arrays(np.float64, (FRAMES, 7), elements=coordinate),
    action=arrays(np.float64, (FRAMES, 7), elements=coordinate),
)
@settings(max_examples=60, deadline=None)
def test_joints_come_back(time: str, state: np.ndarray, action: np.ndarray) -> None:
    kind = ActionType(time, "joint")
    there = from_absolute(kind, action, state)
    base = {"abs": 0 * state, "delta": state, "rel": np.tile(state[0], (FRAMES, 1))}[time]
    np.testing.assert_allclose(there, action - base, atol=1e-12)
    np.testing.assert_allclose(to_absolute(kind, there, state), action, atol=1e-9)


@pytest.mark.parametrize("form", POSE_FORMS)
@given(state=poses, action=poses)
@settings(max_examples=60, deadline=None)
def test_delta_and_rel_are_what_matrices_say(form: str, state: np.ndarray, action: np.ndarray) -> None:
    delta = from_absolute(ActionType("delta", form), action, state)
    rel = from_absolute(ActionType("rel", form), action, state)
    first = matrix(state[0, 3:])
    for t in range(FRAMES):
        r_s, r_a = matrix(state[t, 3:]), matrix(action[t, 3:])
        np.testing.assert_allclose(delta[t, :3], action[t, :3] - state[t, :3], atol=1e-9)
        np.testing.assert_allclose(PLAIN[form](delta[t, 3:]) @ r_s, r_a, atol=1e-9)
        np.testing.assert_allclose(rel[t, :3], first.T @ (action[t, :3] - state[0, :3]), atol=1e-9)
        np.testing.assert_allclose(first @ PLAIN[form](rel[t, 3:]), r_a, atol=1e-9)


@pytest.mark.parametrize("form", POSE_FORMS)
@given(told=poses)
@settings(max_examples=60, deadline=None)
def test_representations_are_what_matrices_say(form: str, told: np.ndarray) -> None:
    values = encode(told, form)
    for row, pose in zip(values, told, strict=True):
        np.testing.assert_allclose(PLAIN[form](row[3:]), matrix(pose[3:]), atol=1e-9)
    same(decode(values, form), told)


@given(turns=quaternions, flips=arrays(np.bool_, FRAMES), scale=st.floats(0.99, 1.01))
@settings(max_examples=200, deadline=None)
def test_quaternions_are_unit_and_of_continuous_sign(
    turns: np.ndarray, flips: np.ndarray, scale: float
) -> None:
    made = continuous(turns * scale)
    np.testing.assert_allclose(np.linalg.norm(made, axis=1), 1.0, atol=1e-12)
    assert made[0, 3] >= 0.0
    assert (np.einsum("ij,ij->i", made[1:], made[:-1]) >= -1e-12).all()
    for before, after in zip(turns, made, strict=True):
        np.testing.assert_allclose(matrix(after), matrix(before / np.linalg.norm(before)), atol=1e-9)
    clear = (np.abs(np.einsum("ij,ij->i", made[1:], made[:-1])) > 1e-9).all() and abs(made[0, 3]) > 1e-9
    if clear:  # otherwise both signs are right
        flipped = continuous(np.where(flips[:, None], -turns, turns))
        np.testing.assert_allclose(flipped, made, atol=1e-12)


@given(state=poses, turns=quaternions)
@settings(max_examples=60, deadline=None)
def test_actions_begin_in_the_hemisphere_of_the_state(state: np.ndarray, turns: np.ndarray) -> None:
    values = np.concatenate([state[:, :3], -turns / np.linalg.norm(turns, axis=1, keepdims=True)], axis=1)
    made = to_absolute(ActionType("abs", "quat"), values, state)
    assert made[0, 3:] @ state[0, 3:] >= -1e-12


@pytest.mark.parametrize("text", [f"{time}_{form}" for time in TIMES for form in ("joint", *POSE_FORMS)])
def test_types_are_read_as_they_are_written(text: str) -> None:
    assert str(parse_type(text, "--to")) == text
