"""Where the recorder meets message classes and QoS: the only place that knows both."""

from __future__ import annotations

import importlib

from builtin_interfaces.msg import Time
from finevla_msgs.msg import EpisodeMark
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy

from finevla.contract.episode import EpisodeInfo, RecordedTopic

KINDS = {
    "start": EpisodeMark.START,
    "stop": EpisodeMark.STOP,
    "discard": EpisodeMark.DISCARD,
    "label": EpisodeMark.LABEL,
}


def message_class(name: str) -> type:
    """The class of a message type, such as `sensor_msgs/msg/JointState`."""
    package, _, kind = name.split("/")
    found: type = getattr(importlib.import_module(f"{package}.msg"), kind)
    return found


def subscription_qos(topic: RecordedTopic) -> QoSProfile:
    """How to subscribe to a recorded topic."""
    return QoSProfile(
        depth=topic.depth,
        reliability=QoSReliabilityPolicy.RELIABLE if topic.reliable else QoSReliabilityPolicy.BEST_EFFORT,
        durability=QoSDurabilityPolicy.TRANSIENT_LOCAL if topic.latched else QoSDurabilityPolicy.VOLATILE,
    )


def latched_qos() -> QoSProfile:
    """How the episode mark is published: late subscribers get the newest one."""
    return QoSProfile(
        depth=1,
        reliability=QoSReliabilityPolicy.RELIABLE,
        durability=QoSDurabilityPolicy.TRANSIENT_LOCAL,
    )


def mark(kind: str, info: EpisodeInfo, stamp: Time) -> EpisodeMark:
    """The mark of a change in a recording; `kind` is one of `KINDS`."""
    message = EpisodeMark(kind=KINDS[kind], episode_id=info.episode_id, outcome=info.outcome, note=info.note)
    message.header.stamp = stamp
    if kind == "start":
        message.instruction = info.instruction
    return message
