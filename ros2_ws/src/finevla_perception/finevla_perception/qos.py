"""Qualities of service of FineVLA's own topics, and how to publish, written once for the nodes.

Sensor data use rclpy's `qos_profile_sensor_data` (best effort).
"""

from __future__ import annotations

from typing import Any

from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

COMMAND_LIFESPAN_S = 1.0
JOINT_DEPTH = 100
"""Half a second of feedback: a reader that is busy for a moment must not lose what it interpolates from."""


def latched(depth: int = 1) -> QoSProfile:
    """Reliable, and kept for subscribers that come late."""
    return QoSProfile(
        depth=depth, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
    )


def reliable(depth: int) -> QoSProfile:
    """Reliable, and only for those who listen now."""
    return QoSProfile(
        depth=depth, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.VOLATILE
    )


def joint_stream() -> QoSProfile:
    """Joint feedback at 200 Hz: best effort, but deep enough for a reader that pauses."""
    return QoSProfile(
        depth=JOINT_DEPTH, reliability=ReliabilityPolicy.BEST_EFFORT, durability=DurabilityPolicy.VOLATILE
    )


def command() -> QoSProfile:
    """Commands: only the newest counts, and an old one is never delivered late."""
    profile = reliable(depth=1)
    profile.lifespan = Duration(seconds=COMMAND_LIFESPAN_S)
    return profile


INSTRUCTION_STATUS_DEPTH = 10
"""Newest instruction changes kept for late subscribers: one instruction makes up to four."""


def publish(node: Node, publisher: Publisher, msg: Any) -> bool:
    """Publishes unless the process is shutting down; true where it did.

    On SIGINT rclpy invalidates the context at once, also under the feet of other threads.
    """
    try:
        if node.context.ok():
            publisher.publish(msg)
            return True
    except RuntimeError:  # rclpy's RCLError
        if node.context.ok():
            raise
    return False
