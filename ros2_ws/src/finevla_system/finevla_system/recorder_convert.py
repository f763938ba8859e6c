"""Where the recorder meets message classes and QoS: the only place that knows both."""

from __future__ import annotations

import importlib

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from finevla_msgs.msg import EpisodeMark
from finevla_perception.convert import ns_to_stamp
from finevla_perception.diagnose import status, stream_status
from finevla_perception.stream_watch import Health
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy

from finevla.contract.episode import EpisodeInfo, RecordedTopic
from finevla.contract.services import RECORDER_NODE

LITTLE_ROOM_S = 600.0

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


def diagnostics(
    healths: list[Health], looks: dict[str, str], room_s: float, recording: str, stamp: Time
) -> DiagnosticArray:
    """What `/diagnostics` says of a recorder: each topic, what its pictures look like, and the disk."""
    statuses = [
        stream_status(RECORDER_NODE, health, looks.get(health.topic, ""))
        for health in healths
        if health.expected_hz is not None
    ]
    level = DiagnosticStatus.OK if room_s > LITTLE_ROOM_S else DiagnosticStatus.WARN
    room = f"room for {max(room_s, 0.0) / 60:.0f} minutes"
    disk = status(f"{RECORDER_NODE}: disk", level, room, {"recording": recording})
    message = DiagnosticArray(status=[*statuses, disk])
    message.header.stamp = stamp
    return message


def mark(kind: str, info: EpisodeInfo, stamp: Time) -> EpisodeMark:
    """The mark of a change in a recording; `kind` is one of `KINDS`."""
    message = EpisodeMark(kind=KINDS[kind], episode_id=info.episode_id, outcome=info.outcome, note=info.note)
    message.header.stamp = stamp
    if kind == "start":
        message.instruction = info.instruction
        message.frame_origin = ns_to_stamp(info.frame_origin_ns)
    return message


def problems(array: DiagnosticArray) -> list[str]:
    """What a recorder says on `/diagnostics` that is not as it should be: "topic: words"."""
    mine = f"{RECORDER_NODE}: "
    return [
        f"{status.name.removeprefix(mine)}: {status.message}"
        for status in array.status
        if status.name.startswith(mine) and status.level != DiagnosticStatus.OK
    ]


def recording_of(array: DiagnosticArray) -> str | None:
    """The episode that a recorder says it records, empty where none; None where no recorder spoke."""
    disk = [status for status in array.status if status.name == f"{RECORDER_NODE}: disk"]
    return next((entry.value for status in disk for entry in status.values if entry.key == "recording"), None)


def kind_of(message: EpisodeMark) -> str:
    """The kind of a mark, one of `KINDS`; empty where it is none of them."""
    return next((name for name, kind in KINDS.items() if kind == message.kind), "")
