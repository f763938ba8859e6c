"""Where a replayed topic meets its quality of service: that of the node which publishes it on a robot."""

from __future__ import annotations

from finevla_perception.qos import INSTRUCTION_STATUS_DEPTH, joint_stream, latched, reliable
from rclpy.qos import QoSProfile, qos_profile_sensor_data

from finevla.contract.episode import RecordedTopic, Role


def offered_qos(topic: RecordedTopic) -> QoSProfile:
    """How a topic is published: streams best effort, texts reliable, states latched."""
    match topic.role:
        case Role.CAMERA:
            return qos_profile_sensor_data
        case Role.FEEDBACK | Role.LEADER:
            return joint_stream()
        case Role.INSTRUCTION:
            return reliable(10)
        case Role.STATUS:
            return latched(INSTRUCTION_STATUS_DEPTH)
        case _:
            return latched()
