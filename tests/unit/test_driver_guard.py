"""The guard: what it keeps apart, what it leaves alone, and that it never calls nonsense free."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from cobotmagic_driver.capsules import CAPSULES, ArmCapsules
from cobotmagic_driver.guard import COLUMNS, Guard, GuardSettings
from urdf_walk import Tree

from finevla.contract import ARM_SIDES, load_contract
from finevla.contract.kinematics import frames, tool_pose
from finevla.contract.mirror import Mirror
from finevla.contract.urdf import joint_state_names, joint_state_positions, robot_urdf
from finevla.sim.kinematics import reach, solve_planar

CONTRACT = load_contract()
SETTINGS = GuardSettings()
GUARD = Guard(CONTRACT, SETTINGS)
ENCLOSED_BY = {
    "base": "column",
    "joint1": "column",
    "joint2": "upper_arm",
    "joint3": "forearm",
    "joint4": "forearm",
    "joint5": "hand",
    "joint6": "palm",
    "finger_a": "finger_a",
    "finger_b": "finger_b",
}


def room(pose, settings=SETTINGS):
    """Clearances of one pose by name, m."""
    return dict(zip(COLUMNS, Guard(CONTRACT, settings).clearances(np.asarray(pose)[None])[0], strict=True))


def arms_at(left=None, right=None, opening=0.0):
    """Home, with the tools of the arms that are given at points of the world, grippers pointing down."""
    pose = CONTRACT.home.copy()
    for side, tip in (("left", left), ("right", right)):
        if tip is not None:
            part = CONTRACT.arm_slice(side)
            pose[part] = [*reach(CONTRACT, side, np.array(tip)), opening]
    return pose


def test_columns_are_named_after_what_comes_near():
    assert COLUMNS == ("arms", "table_left", "table_right", "workspace_left", "workspace_right")


def test_home_is_free_by_a_hand_s_breadth():
    assert min(room(CONTRACT.home).values()) > 0.05


def test_every_box_of_the_urdf_lies_within_its_capsule():
    tree, capsules = Tree(ET.fromstring(robot_urdf(CONTRACT))), ArmCapsules()
    names = [capsule.name for capsule in CAPSULES]
    rng = np.random.default_rng(4)
    for pose in rng.uniform(CONTRACT.lower, CONTRACT.upper, (20, CONTRACT.dof)):
        told = dict(zip(joint_state_names(CONTRACT), joint_state_positions(CONTRACT, pose), strict=True))
        for side in ARM_SIDES:
            q = pose[CONTRACT.arm_slice(side)]
            starts, ways = capsules.segments(frames(CONTRACT, side, q[None, :6]), q[None, 6])
            for link in tree.boxes:
                key = next((k for k in ENCLOSED_BY if link.endswith(f"{side}_{k}")), None)
                if key is None:
                    assert side not in link or not tree.boxes[link], link
                    continue
                i = names.index(ENCLOSED_BY[key])
                corners = tree.corners(link, told)
                assert len(corners) >= 8
                start, way = starts[0, i], ways[0, i]
                along = np.clip((corners - start) @ way / (way @ way), 0.0, 1.0)
                outside = np.linalg.norm(corners - start - along[:, None] * way, axis=1)
                assert outside.max() <= CAPSULES[i].radius + 1e-9, link


def test_capsules_are_not_much_larger_than_the_boxes():
    # A capsule that grew by accident would forbid what the arms can do.
    assert {c.name: c.radius for c in CAPSULES if c.radius > 0.04} == {"column": 0.075}
    assert all(np.linalg.norm(np.subtract(c.end, c.start)) <= 0.2851 for c in CAPSULES)


def test_the_arms_of_one_another_are_in_the_way_more_and_more_as_they_approach():
    tips = np.linspace(0.20, 0.0, 21)
    found = [room(arms_at((0.30, y, 0.10), (0.30, -y, 0.10)))["arms"] for y in tips]
    assert found[0] > 0.05
    assert found[-1] < 0.0
    assert (np.diff(found) < 0.0).all()


def test_an_arm_over_the_shoulder_of_the_other_is_seen():
    over = room(arms_at(left=(0.20, -0.20, 0.12)))["arms"]
    assert 0.0 < over < room(CONTRACT.home)["arms"]
    beside = arms_at(left=(0.20, -0.20, 0.12))
    beside[CONTRACT.arm_slice("right")][:6] = reach(CONTRACT, "right", np.array([0.20, -0.20, 0.12]))
    assert room(beside)["arms"] < 0.0


def test_fingers_may_touch_the_table_and_nothing_may_go_through_it():
    heights = np.linspace(0.08, -0.04, 13)
    found = [room(arms_at(left=(0.28, 0.20, z)))["table_left"] for z in heights]
    assert (np.diff(found) < 0.0).all()
    # Straight down, a finger ends 10 mm below the tool point, its capsule 7.5 mm deeper.
    touching = CONTRACT.home.copy()
    touching[:6] = solve_planar(CONTRACT, "left", np.array([0.28, 0.20, 0.010]), tilt=0.0)
    expected = SETTINGS.finger_allowance_m - 0.0075
    assert room(touching)["table_left"] == pytest.approx(expected, abs=1e-9)
    assert found[-1] < 0.0
    assert room(arms_at(left=(0.28, 0.20, -0.04)))["table_right"] > 0.0


def test_a_wrist_does_not_get_the_allowance_of_the_fingers():
    # The gripper lies flat over the table, and the arm sinks until its hand would touch.
    pose = CONTRACT.home.copy()
    rooms = []
    for q2 in np.linspace(1.4, 2.6, 25):
        pose[:6] = [0.0, q2, -0.6, 0.0, -0.4, 0.0]
        rooms.append(room(pose)["table_left"])
    assert max(rooms) > 0.0 > min(rooms)
    roomy = replace(SETTINGS, finger_allowance_m=1.0)
    assert min(room([*pose[:7], *CONTRACT.home[7:]], roomy).values()) < 0.0


def test_a_higher_table_leaves_less_room_by_as_much():
    pose = arms_at(left=(0.28, 0.20, 0.08))
    higher = replace(SETTINGS, table_z_m=0.03)
    assert room(pose)["table_left"] - room(pose, higher)["table_left"] == pytest.approx(0.03)


def test_the_workspace_ends_where_the_box_does():
    pose = arms_at(left=(0.28, 0.20, 0.08))
    x, y, z = tool_pose(CONTRACT, "left", pose[:6])[:3, 3]
    box = replace(SETTINGS, workspace_lower_m=(-0.5, -0.9, z - 0.01))
    assert room(pose, box)["workspace_left"] == pytest.approx(0.01)
    box = replace(SETTINGS, workspace_upper_m=(x - 0.02, 0.9, 0.9))
    assert room(pose, box)["workspace_left"] == pytest.approx(-0.02)
    assert room(pose, box)["workspace_right"] > 0.0
    assert room(pose)["workspace_left"] > 0.05
    assert y > 0.0


def test_the_wrist_stays_in_the_box_too():
    box = replace(SETTINGS, workspace_upper_m=(0.9, 0.9, 0.2))
    pose = arms_at(left=(0.28, 0.20, 0.08))
    wrist = frames(CONTRACT, "left", pose[None, :6])[0, 5, 2, 3]
    assert room(pose, box)["workspace_left"] == pytest.approx(0.2 - wrist)


@pytest.mark.parametrize("check", ["arms", "table", "workspace"])
def test_a_check_that_is_off_says_nothing_and_leaves_the_others(check):
    on, off = room(CONTRACT.home), room(CONTRACT.home, replace(SETTINGS, **{check: False}))
    for name in COLUMNS:
        assert off[name] == (np.inf if name.startswith(check) else on[name])


def test_mirrored_poses_have_mirrored_room():
    poses = np.random.default_rng(9).uniform(CONTRACT.lower, CONTRACT.upper, (50, CONTRACT.dof))
    here, there = GUARD.clearances(poses), GUARD.clearances(Mirror(CONTRACT).joints(poses))
    np.testing.assert_allclose(there, here[:, [0, 2, 1, 4, 3]], atol=1e-9)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("index", [0, 6, 13])
def test_what_is_not_a_number_is_never_free(value, index):
    poses = np.tile(CONTRACT.home, (3, 1))
    poses[1, index] = value
    with pytest.raises(ValueError, match="finite poses"):
        GUARD.clearances(poses)


@pytest.mark.parametrize("shape", [(14,), (2, 7), (2, 15), (1, 2, 14)])
def test_poses_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match="shape"):
        GUARD.clearances(np.zeros(shape))


@pytest.mark.parametrize(
    "wrong",
    [
        {"table_z_m": np.nan},
        {"finger_allowance_m": np.inf},
        {"workspace_lower_m": (1.0, -1.0, 0.0)},
        {"workspace_upper_m": (np.nan, 1.0, 1.0)},
    ],
)
def test_settings_that_mean_nothing_are_refused(wrong):
    with pytest.raises(ValueError, match="of the"):
        GuardSettings(**wrong)
