"""The description node: one message for both arms, the URDF for those who come late, nothing made up."""

from __future__ import annotations

import time
from xml.etree import ElementTree as ET

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("finevla_msgs.msg")
module = pytest.importorskip("cobotmagic_driver.description_node")

from finevla_perception.convert import msgify_joints, stamp_to_ns
from finevla_perception.qos import latched, reliable
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from ros_rig import RosRig, until
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from urdf_walk import Tree

from finevla.contract import ARM_SIDES, load_contract
from finevla.contract.kinematics import tool_pose
from finevla.contract.services import JOINT_STATES, ROBOT_DESCRIPTION
from finevla.contract.urdf import joint_state_names

pytestmark = pytest.mark.ros
CONTRACT = load_contract()
POSE = np.random.default_rng(2).uniform(CONTRACT.lower, CONTRACT.upper)
SECOND_NS = 1_000_000_000
EPOCH_NS = 1_700_000_000 * SECOND_NS


class Arms:
    """Publishes joint feedback of any arm, as the driver does."""

    def __init__(self, rig):
        self.publishers = {
            side: rig.peer.create_publisher(
                JointState, CONTRACT.arms[side].feedback_topic, qos_profile_sensor_data
            )
            for side in ARM_SIDES
        }
        self.stamp_ns = EPOCH_NS

    def send(self, side, values, names=None):
        self.stamp_ns += 5_000_000
        names = names or CONTRACT.arms[side].wire_names
        self.publishers[side].publish(msgify_joints(names, values, self.stamp_ns))


@pytest.fixture
def rig(monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_S", 0.0)
    with RosRig() as rig:
        overrides = [Parameter("fresh_s", value=0.5)]
        rig.node = rig.add(module.DescriptionNode(context=rig.context, parameter_overrides=overrides))
        rig.warnings = []
        logger = rig.node.get_logger()
        monkeypatch.setattr(logger, "warning", lambda text, **_: rig.warnings.append(text))
        monkeypatch.setattr(rig.node, "get_logger", lambda: logger)
        rig.states = rig.collect(JointState, JOINT_STATES, reliable(10))
        rig.arms = Arms(rig)
        until(lambda: rig.node.count_subscribers(JOINT_STATES) == 1)
        until(lambda: all(p.get_subscription_count() == 1 for p in rig.arms.publishers.values()))
        yield rig


def stream(rig, condition, pose=POSE, sides=ARM_SIDES):
    """Sends feedback until something is true."""

    def look():
        for side in sides:
            rig.arms.send(side, pose[CONTRACT.arm_slice(side)])
        time.sleep(0.005)
        return condition()

    return until(look)


def last_names(rig):
    return tuple(rig.states[-1].name) if rig.states else ()


def test_both_arms_are_in_one_message_and_the_urdf_puts_the_tools_where_kinematics_does(rig):
    stream(rig, lambda: last_names(rig) == joint_state_names(CONTRACT))
    message = rig.states[-1]
    told = dict(zip(message.name, message.position, strict=True))
    np.testing.assert_allclose([told[name] for name in CONTRACT.joint_names], POSE)
    for side, index in CONTRACT.grippers.items():
        np.testing.assert_allclose([told[f"{side}_finger_a"], told[f"{side}_finger_b"]], POSE[index] / 2)
    # A program that knows nothing but the two topics finds the tools where our own kinematics has them.
    late = rig.collect(String, ROBOT_DESCRIPTION, latched())
    until(lambda: late)
    tree = Tree(ET.fromstring(late[0].data))
    for side in ARM_SIDES:
        expected = tool_pose(CONTRACT, side, POSE[CONTRACT.arm_slice(side)])
        np.testing.assert_allclose(tree.pose(f"{side}_tool", told), expected, atol=1e-9)


def test_the_stamp_is_that_of_the_newer_arm_and_no_sample_is_told_twice(rig):
    stream(rig, lambda: last_names(rig) == joint_state_names(CONTRACT))
    until(lambda: stamp_to_ns(rig.states[-1].header.stamp) == rig.arms.stamp_ns)
    count = len(rig.states)
    time.sleep(0.2)  # the arms still count as heard
    assert len(rig.states) == count
    stamps = [stamp_to_ns(message.header.stamp) for message in rig.states]
    assert len(set(stamps)) == len(stamps)


def test_a_silent_arm_is_left_out_and_named(rig):
    stream(rig, lambda: last_names(rig) == joint_state_names(CONTRACT))
    rig.warnings.clear()
    start = time.monotonic()
    stream(rig, lambda: time.monotonic() - start > 0.3)
    assert rig.warnings == []
    stream(rig, lambda: last_names(rig) == joint_state_names(CONTRACT, ("left",)), sides=("left",))
    until(lambda: any(text.startswith("right arm silent") for text in rig.warnings))
    stream(rig, lambda: last_names(rig) == joint_state_names(CONTRACT))


def test_with_no_arm_nothing_is_told(rig):
    until(lambda: any(text.startswith("left and right arm silent") for text in rig.warnings))
    assert rig.states == []


def test_feedback_that_is_not_of_this_robot_is_left_out_with_its_reason(rig):
    wrong = [f"other{i}" for i in range(7)]

    def look():
        rig.arms.send("left", POSE[:7], wrong)
        rig.arms.send("right", POSE[7:])
        time.sleep(0.005)
        return rig.states and any("joint names are not those" in text for text in rig.warnings)

    until(look)
    assert {tuple(message.name) for message in rig.states} == {joint_state_names(CONTRACT, ("right",))}


def test_the_rate_is_that_of_the_parameter(rig):
    stream(rig, lambda: rig.states)
    rig.states.clear()
    start = time.monotonic()
    stream(rig, lambda: time.monotonic() - start > 2.0)
    assert 50 < len(rig.states) <= 105
