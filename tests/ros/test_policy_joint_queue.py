"""Bug: with a queue of five, the policy lost 42 % of its frames to gaps in 200 Hz joints, and its grasps."""

from __future__ import annotations

import pytest

rclpy = pytest.importorskip("rclpy")
streams = pytest.importorskip("finevla_policy.streams")

from finevla_policy.params import PolicyParams
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import JointState

from finevla.contract import load_contract

pytestmark = pytest.mark.ros
CONTRACT = load_contract()
PAUSE_S = 0.3


def test_joints_survive_a_reader_that_pauses(ros_context) -> None:
    node = rclpy.create_node("reader", context=ros_context)
    reader = streams.Streams(node, CONTRACT, PolicyParams(), lambda _: None)
    heard: list[JointState] = []
    reader._on_joints = lambda _side, message: heard.append(message)
    reader.open((CONTRACT.sync.pivot,))
    arm = CONTRACT.arms["left"]
    publisher = node.create_publisher(JointState, arm.feedback_topic, 100)
    executor = SingleThreadedExecutor(context=ros_context)
    executor.add_node(node)
    while not publisher.get_subscription_count():
        executor.spin_once(timeout_sec=0.05)
    burst = round(PAUSE_S * CONTRACT.rates_hz.feedback)
    for _ in range(burst):
        publisher.publish(JointState(name=list(arm.wire_names), position=[0.0] * 7))
    for _ in range(4 * burst):
        executor.spin_once(timeout_sec=0.02)
        if len(heard) == burst:
            break
    node.destroy_node()
    assert len(heard) == burst
