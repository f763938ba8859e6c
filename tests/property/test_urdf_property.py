"""The URDF is a tree whose joints are the contract's and whose links are where the kinematics has them."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from urdf_walk import Tree

from finevla.contract import ARM_SIDES, load_contract
from finevla.contract.kinematics import base_pose, frames, tool_pose
from finevla.contract.urdf import (
    FINGERS,
    WORLD_FRAME,
    arm_urdf,
    base_frame,
    finger_names,
    joint_state_names,
    joint_state_positions,
    robot_urdf,
)

CONTRACT = load_contract()
ROBOT = ET.fromstring(robot_urdf(CONTRACT))
TREE = Tree(ROBOT)
seeds = st.integers(0, 2**32 - 1)


def pose_of(seed):
    return np.random.default_rng(seed).uniform(CONTRACT.lower, CONTRACT.upper)


def told(pose):
    return dict(zip(joint_state_names(CONTRACT), joint_state_positions(CONTRACT, pose), strict=True))


def test_it_is_one_tree_with_names_of_its_own():
    names = TREE.links + [node.get("name") for node in ROBOT.findall("joint")]
    assert len(set(names)) == len(names)
    assert TREE.roots == [WORLD_FRAME]
    parents = {node.find("parent").get("link") for node in TREE.joints.values()}
    assert parents | set(TREE.above) <= set(TREE.links)
    assert len(TREE.joints) == len(TREE.links) - 1
    for link in TREE.links:
        TREE.pose(link, told(CONTRACT.home))  # a circle would not end


def test_the_joints_that_move_are_the_contract_s_with_its_limits():
    kinds = {name: node.get("type") for name, node in TREE.joints.items()}
    revolute = [name for name, kind in kinds.items() if kind == "revolute"]
    assert revolute == [name for side in ARM_SIDES for name in CONTRACT.arms[side].names[:-1]]
    for joint in CONTRACT.joints:
        if joint.name in revolute:
            assert TREE.limits(joint.name) == (joint.lower, joint.upper, joint.velocity)
    for side in ARM_SIDES:
        gripper = CONTRACT.arms[side].joints[-1]
        first, second = finger_names(side)
        assert kinds[first] == kinds[second] == "prismatic"
        assert TREE.limits(first)[:2] == TREE.limits(second)[:2] == (gripper.lower / 2, gripper.upper / 2)
        mimic = TREE.joints[second].find("mimic")
        assert (mimic.get("joint"), mimic.get("multiplier"), mimic.get("offset")) == (first, "1", "0")
        assert TREE.joints[first].find("mimic") is None
        assert kinds[f"{base_frame(side)}_joint"] == "fixed"


def test_every_link_with_a_body_can_be_seen_and_weighs_something():
    for link in ROBOT.findall("link"):
        if link.get("name") == WORLD_FRAME or link.get("name").endswith("_tool"):
            assert not list(link)
        else:
            assert link.find("visual/geometry/box") is not None
            assert float(link.find("inertial/mass").get("value")) > 0


@settings(deadline=None)
@given(seeds)
def test_links_are_where_the_kinematics_has_them(seed):
    pose = pose_of(seed)
    positions = told(pose)
    for side in ARM_SIDES:
        q = pose[CONTRACT.arm_slice(side)]
        expected = frames(CONTRACT, side, q[None, :6])[0]
        np.testing.assert_allclose(TREE.pose(base_frame(side), positions), base_pose(CONTRACT.arms[side]))
        for i, name in enumerate(CONTRACT.arms[side].names[:-1], start=1):
            np.testing.assert_allclose(TREE.pose(f"link_{name}", positions), expected[i], atol=1e-9)
        tool = tool_pose(CONTRACT, side, q)
        np.testing.assert_allclose(TREE.pose(f"{side}_tool", positions), tool, atol=1e-9)


@settings(deadline=None)
@given(seeds)
def test_fingers_open_by_the_contract_s_opening_evenly(seed):
    pose = pose_of(seed)
    positions = told(pose)
    for side, index in CONTRACT.grippers.items():
        first, second = (TREE.pose(f"link_{name}", positions)[:3, 3] for name in finger_names(side))
        assert np.linalg.norm(first - second) == pytest.approx(pose[index])
        palm = TREE.pose(f"link_{CONTRACT.arms[side].names[-2]}", positions)
        np.testing.assert_allclose((first + second) / 2, palm[:3, 3], atol=1e-9)


def test_a_joint_state_has_the_contract_s_values_and_the_fingers():
    pose = pose_of(3)
    positions = told(pose)
    assert [positions[name] for name in CONTRACT.joint_names] == pose.tolist()
    assert len(positions) == CONTRACT.dof + len(FINGERS) * len(ARM_SIDES)
    assert set(joint_state_names(CONTRACT)) >= {n for n, j in TREE.joints.items() if j.get("type") != "fixed"}
    one = joint_state_positions(CONTRACT, pose[CONTRACT.arm_slice("right")], ("right",))
    names = joint_state_names(CONTRACT, ("right",))
    assert dict(zip(names, one, strict=True)) == {name: positions[name] for name in names}
    with pytest.raises(ValueError, match="7 values"):
        joint_state_positions(CONTRACT, pose[:7])


@pytest.mark.parametrize("side", ARM_SIDES)
def test_the_simulator_s_document_of_one_arm_is_the_same_arm(side):
    alone = Tree(ET.fromstring(arm_urdf(CONTRACT, side)))
    assert alone.roots == ["base"]
    pose = pose_of(5)
    positions = {**told(pose), **dict.fromkeys(FINGERS, pose[CONTRACT.grippers[side]] / 2)}
    for name in CONTRACT.arms[side].names[:-1]:
        np.testing.assert_allclose(
            base_pose(CONTRACT.arms[side]) @ alone.pose(f"link_{name}", positions),
            TREE.pose(f"link_{name}", positions),
            atol=1e-9,
        )
