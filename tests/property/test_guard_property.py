"""Distances of the guard against plain references, and against the boxes of the URDF."""

from __future__ import annotations

import math
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from cobotmagic_driver.capsules import CAPSULES, segment_distances
from cobotmagic_driver.guard import Guard, GuardSettings
from hypothesis import given, settings
from hypothesis import strategies as st
from urdf_walk import Tree

from finevla.contract import ARM_SIDES, load_contract
from finevla.contract.kinematics import TOOL_M, base_pose, dh_table, link_transform, tool_pose
from finevla.contract.urdf import base_frame, joint_state_names, joint_state_positions, robot_urdf

CONTRACT = load_contract()
SETTINGS = GuardSettings()
GUARD = Guard(CONTRACT, SETTINGS)
TREE = Tree(ET.fromstring(robot_urdf(CONTRACT)))
FIXED = {f(side) for side in ARM_SIDES for f in (base_frame, lambda s: f"link_{CONTRACT.arms[s].names[0]}")}
coordinates = st.floats(-1.0, 1.0).map(lambda value: round(value, 3))
points = st.tuples(coordinates, coordinates, coordinates).map(np.array)
poses = st.integers(0, 2**32 - 1).map(
    lambda seed: np.random.default_rng(seed).uniform(CONTRACT.lower, CONTRACT.upper, (3, CONTRACT.dof))
)


def point_to_segment(point, start, way):
    length = way @ way
    t = 0.0 if length == 0.0 else min(max((point - start) @ way / length, 0.0), 1.0)
    return float(np.linalg.norm(point - start - t * way))


def plain_distance(p, d, q, e):
    """Distance of two segments: of an end from the other one, or of the lines where both feet are inside."""
    found = min(
        point_to_segment(p, q, e),
        point_to_segment(p + d, q, e),
        point_to_segment(q, p, d),
        point_to_segment(q + e, p, d),
    )
    normal = np.cross(d, e)
    if normal @ normal > 1e-14:
        feet = np.linalg.solve(np.stack([d, -e, normal], axis=1), q - p)
        if 0.0 <= feet[0] <= 1.0 and 0.0 <= feet[1] <= 1.0:
            found = min(found, abs(float(feet[2])) * float(np.linalg.norm(normal)))
    return found


def fast_distance(p, d, q, e):
    return float(segment_distances(p[None, None], d[None, None], q[None, None], e[None, None])[0, 0, 0])


@given(points, points, points, points)
def test_distance_of_segments_is_that_of_the_plain_reference(p, d, q, e):
    assert fast_distance(p, d, q, e) == pytest.approx(plain_distance(p, d, q, e), abs=1e-6)


@given(points, points, points, points)
def test_no_pair_of_points_is_nearer_than_the_distance_and_some_nearly_is(p, d, q, e):
    steps = np.linspace(0.0, 1.0, 41)[:, None]
    sampled = np.linalg.norm((p + steps * d)[:, None] - (q + steps * e)[None], axis=2).min()
    found = fast_distance(p, d, q, e)
    assert found <= sampled + 1e-6
    assert found >= sampled - (np.linalg.norm(d) + np.linalg.norm(e)) / 80 - 1e-6


@given(points, points, points, st.sampled_from([0.0, 1.0, -1.0, 0.5, -2.0, 1.0 + 1e-9]))
def test_parallel_segments_and_points_are_no_special_case(p, d, q, factor):
    assert fast_distance(p, d, q, factor * d) == pytest.approx(plain_distance(p, d, q, factor * d), abs=1e-6)
    assert fast_distance(q, factor * d, p, d) == pytest.approx(plain_distance(p, d, q, factor * d), abs=1e-6)


@given(points, points, st.tuples(*[st.floats(-1e-5, 1e-5)] * 3).map(np.array), points)
def test_nearly_parallel_segments_are_right_too(p, d, turn, q):
    e = d + turn
    assert fast_distance(p, d, q, e) == pytest.approx(plain_distance(p, d, q, e), abs=1e-5)


def plain_capsules(side, q):
    """Segments of one arm, frame by frame."""
    pose = base_pose(CONTRACT.arms[side])
    frames = [pose]
    for row, angle in zip(dh_table(CONTRACT.dh_is_offset), q[:6], strict=True):
        pose = pose @ link_transform(row, angle)
        frames.append(pose)
    found = []
    for capsule in CAPSULES:
        shift = np.array([0.0, capsule.slide * q[6], 0.0])
        local = (np.array(end) + shift for end in (capsule.start, capsule.end))
        ends = [frames[capsule.frame] @ [*end, 1.0] for end in local]
        found.append((ends[0][:3], ends[1][:3], capsule.radius, capsule.name))
    return found, frames[5][:3, 3]


def plain_clearances(values):
    arms = {side: plain_capsules(side, values[CONTRACT.arm_slice(side)]) for side in ARM_SIDES}
    gaps, tables, boxes = [], [], []
    for p, p_end, radius, name in arms["left"][0]:
        for q, q_end, other_radius, other in arms["right"][0]:
            if name == other == "column":
                continue
            fingers = name.startswith("finger") and other.startswith("finger")
            margin = SETTINGS.finger_margin_m if fingers else SETTINGS.arm_margin_m
            gaps.append(plain_distance(p, p_end - p, q, q_end - q) - radius - other_radius - margin)
    for side in ARM_SIDES:
        capsules, wrist = arms[side]
        heights = []
        for start, end, radius, name in capsules:
            if name == "column":
                continue
            keep = -SETTINGS.finger_allowance_m if name.startswith("finger") else SETTINGS.table_margin_m
            heights.append(min(start[2], end[2]) - radius - SETTINGS.table_z_m - keep)
        tables.append(min(heights))
        tool = tool_pose(CONTRACT, side, values[CONTRACT.arm_slice(side)])[:3, 3]
        lower, upper = np.array(SETTINGS.workspace_lower_m), np.array(SETTINGS.workspace_upper_m)
        boxes.append(min(min(np.minimum(point - lower, upper - point)) for point in (tool, wrist)))
    return [min(gaps), *tables, *boxes]


@settings(max_examples=40, deadline=None)
@given(poses)
def test_clearances_are_those_of_the_plain_reference(values):
    found = GUARD.clearances(values)
    for k, pose in enumerate(values):
        np.testing.assert_allclose(found[k], plain_clearances(pose), atol=1e-6)
        np.testing.assert_allclose(GUARD.clearances(pose[None])[0], found[k], atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(poses)
def test_the_boxes_of_the_arms_are_never_nearer_than_the_guard_says(values):
    found = GUARD.clearances(values)
    nearest = min(SETTINGS.arm_margin_m, SETTINGS.finger_margin_m)
    for k, pose in enumerate(values):
        told = dict(zip(joint_state_names(CONTRACT), joint_state_positions(CONTRACT, pose), strict=True))
        corners = {
            side: np.concatenate([TREE.corners(link, told) for link in TREE.boxes if side in link])
            for side in ARM_SIDES
        }
        gap = np.linalg.norm(corners["left"][:, None] - corners["right"][None], axis=2).min()
        assert gap >= found[k, 0] + nearest - 1e-6
        for i, side in enumerate(ARM_SIDES, start=1):
            moving = [name for name in TREE.boxes if side in name and name not in FIXED]
            lowest = min(TREE.corners(link, told)[:, 2].min() for link in moving if TREE.boxes[link])
            assert lowest >= SETTINGS.table_z_m + found[k, i] - SETTINGS.finger_allowance_m - 1e-6


@given(st.floats(0.0, 1.0), st.floats(-0.3, 0.3))
def test_lifting_an_arm_straight_up_never_takes_room_from_the_table(share, roll):
    # Joint 1 turns the whole arm about the vertical: the height of nothing changes.
    pose = CONTRACT.home.copy()
    pose[0] = math.copysign(share * CONTRACT.upper[0], roll)
    assert GUARD.clearances(pose[None])[0, 1] == pytest.approx(GUARD.clearances(CONTRACT.home[None])[0, 1])


def test_the_tool_is_between_the_finger_capsules():
    fingers = [capsule for capsule in CAPSULES if capsule.name.startswith("finger")]
    assert all(min(c.start[2], c.end[2]) < TOOL_M < max(c.start[2], c.end[2]) + c.radius for c in fingers)
