"""What the recorder notices of its topics, and for how long the disk has room. No ROS."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from finevla_perception.stream_watch import Health, StreamWatch

from finevla.bag.cdr import stamp_of
from finevla.contract.episode import RecordedTopic, Role
from finevla.contract.robot import RobotContract
from finevla.errors import BagError


class Watch(StreamWatch):
    """Sees every serialized message of a recording go by.

    Args:
        topics: What is recorded.
        contract: Says how often each should come.
    """

    def __init__(self, topics: tuple[RecordedTopic, ...], contract: RobotContract) -> None:
        rates = {
            Role.CAMERA: contract.rates_hz.camera,
            Role.FEEDBACK: contract.rates_hz.feedback,
            Role.LEADER: contract.rates_hz.feedback,
        }
        super().__init__({topic.topic: rates.get(topic.role) for topic in topics})
        self._required = tuple(topic.topic for topic in topics if topic.required)
        pivot = contract.sync.pivot
        self._pivot = next(t.topic for t in topics if t.role is Role.CAMERA and t.source == pivot)

    def took(self, topic: str, now_ns: int, cdr: bytes) -> int:
        """Notes a serialized message; returns how many are missing before it."""
        return self.saw(topic, now_ns, stamp_of(cdr), len(cdr)).missing

    @property
    def pivot_ns(self) -> int:
        """Stamp of the newest image of the camera that frames are counted by; 0 where it has none."""
        return self.stamp_ns(self._pivot) or 0

    def silent(self, now_ns: int, fresh_ns: int) -> list[str]:
        """Required topics without a recent message, each with its age in words."""
        lines = []
        for topic in self._required:
            last = self.arrived_ns(topic)
            if last is None:
                lines.append(f"{topic} (no message yet)")
            elif now_ns - last > fresh_ns:
                lines.append(f"{topic} (silent for {(now_ns - last) / 1e9:.1f} s)")
        return lines


def bytes_per_s(healths: list[Health]) -> float:
    """What a recording adds to the disk."""
    return sum(health.bytes_per_s for health in healths)


@dataclass(frozen=True, slots=True)
class Disk:
    """The disk that bags go to.

    Attributes:
        folder: Folder of the bags; it need not exist yet.
        reserve_bytes: What is never filled.
    """

    folder: Path
    reserve_bytes: float

    def seconds_left(self, bytes_per_s: float) -> float:
        """For how long there is room at this rate, s."""
        room = shutil.disk_usage(_existing(self.folder)).free - self.reserve_bytes
        return room / max(bytes_per_s, 1.0)

    def check(self, bytes_per_s: float, needed_s: float) -> None:
        """Refuses a recording that would not fit.

        Raises:
            BagError: There is room for less than `needed_s`.
        """
        left_s = self.seconds_left(bytes_per_s)
        if left_s < needed_s:
            raise BagError(
                "the disk has no room for a recording",
                where=self.folder.absolute(),
                expected=f"room for {needed_s:.0f} s at {bytes_per_s / 1e6:.1f} MB/s",
                found=f"for {max(left_s, 0):.0f} s",
                remedy="remove or move old bags, or record to another disk (out_dir)",
            )


def _existing(folder: Path) -> Path:
    path = folder.absolute()
    while not path.exists():
        path = path.parent
    return path
