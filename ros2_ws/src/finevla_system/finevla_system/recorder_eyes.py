"""What the recorder sees on the pictures that it writes. No ROS."""

from __future__ import annotations

from finevla_perception.picture_watch import Look, PictureWatch

from finevla.bag.cdr import compressed_of, frame_of
from finevla.bag.events import COMPRESSED_IMAGE
from finevla.bag.images import grey
from finevla.bag.understand import image_of
from finevla.contract.episode import RecordedTopic, Role
from finevla.contract.robot import RobotContract
from finevla.pictures.h264 import is_h264

PAYLOAD = 64
"""Bytes at the beginning of a message that differ although the picture does not: its stamp."""


def eyes(topics: tuple[RecordedTopic, ...], contract: RobotContract) -> PictureWatch[bytes]:
    """Looks at serialized images."""
    cameras = {topic.topic: topic for topic in topics if topic.role is Role.CAMERA}

    def opened(topic: str, cdr: bytes) -> Look:
        frame_id = frame_of(cdr) or ""
        if cameras[topic].type == COMPRESSED_IMAGE and is_h264(compressed_of(cdr) or b""):
            return Look(frame_id, cdr[PAYLOAD:], None)
        return Look(frame_id, cdr[PAYLOAD:], grey(image_of(cdr, cameras[topic].type, topic)))

    return PictureWatch({name: topic.source for name, topic in cameras.items()}, contract, opened)
