"""One pass over a bag: frames as the live node would make them, the command of each, and what was said.

An image is the number that it has among those of its camera; none is read here. Of the joints only those are
kept that a coming frame can still ask for, so that memory does not grow with the length of the bag.
"""

from __future__ import annotations

from array import array
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from finevla.bag import EpisodeReader, ImageEvent, JointEvent, PictureEvent, TextEvent
from finevla.bag.events import Event
from finevla.bag.log import UnusualError
from finevla.bag.runs import JointRun, runs_of
from finevla.contract.assemble import NOT_LATER, Frame, FrameAssembler
from finevla.contract.clock import JointTrack, to_ns
from finevla.contract.episode import Role
from finevla.contract.frame import NS_PER_S
from finevla.contract.robot import ARM_SIDES, RobotContract

LEADER_GAP = "leader_gap"


@dataclass(frozen=True, slots=True)
class Matched:
    """How the images of a camera fit the frames.

    Attributes:
        largest_skew_s: Largest distance of an image from its frame; at most the slop of the contract.
        repeated: Frames whose image is that of an earlier frame.
    """

    largest_skew_s: float
    repeated: int


class Frames:
    """Frames with their commands, as columns: an episode may have tens of thousands.

    None can be added once a column was taken.

    Args:
        cameras: Cameras of every frame.
        dof: Length of a state and of an action.
    """

    def __init__(self, cameras: Sequence[str], dof: int) -> None:
        self._dof = dof
        self._stamps = array("q")
        self._values = {"state": array("f"), "action": array("f")}
        self._images = {camera: array("q") for camera in cameras}
        self._skews_ns = dict.fromkeys(cameras, 0)

    def add(self, frame: Frame[int], action: NDArray[np.float64]) -> None:
        """Adds a frame and its command (14,), rad and m."""
        self._stamps.append(frame.stamp_ns)
        for column, vector in (("state", frame.state), ("action", action)):
            self._values[column].frombytes(vector.astype(np.float32).tobytes())
        for camera, number in frame.images.items():
            self._images[camera].append(number)
            self._skews_ns[camera] = max(self._skews_ns[camera], abs(frame.skews_ns[camera]))

    @property
    def stamps_ns(self) -> NDArray[np.int64]:
        """Stamps, (n,)."""
        return np.frombuffer(self._stamps, np.int64)

    @property
    def state(self) -> NDArray[np.float32]:
        """Joint values, (n, 14), rad and m."""
        return self._rows("state")

    @property
    def action(self) -> NDArray[np.float32]:
        """Commands, (n, 14), rad and m."""
        return self._rows("action")

    def images(self, camera: str) -> NDArray[np.int64]:
        """Number of the image of a camera that each frame has, (n,)."""
        return np.frombuffer(self._images[camera], np.int64)

    def matched(self) -> dict[str, Matched]:
        """How well the images of each camera fit the frames."""
        found = {}
        for camera, skew_ns in self._skews_ns.items():
            numbers = self.images(camera)
            found[camera] = Matched(skew_ns / NS_PER_S, len(numbers) - len(np.unique(numbers)))
        return found

    def _rows(self, column: str) -> NDArray[np.float32]:
        return np.frombuffer(self._values[column], np.float32).reshape(-1, self._dof)


@dataclass(slots=True)
class Streams:
    """What a bag holds.

    Attributes:
        frames: Frames with a command.
        dropped: Frames not made, by `reason:stream`.
        said: Instructions as said.
        parsed: Instructions as understood.
        pivots_ns: Stamps of all images of the pivot camera.
        surplus: Pivot images between two frames.
        messages: Messages of every stream that has a clock.
    """

    frames: Frames
    dropped: Counter[str]
    said: list[TextEvent] = field(default_factory=list)
    parsed: list[TextEvent] = field(default_factory=list)
    pivots_ns: array[int] = field(default_factory=lambda: array("q"))
    surplus: int = 0
    messages: Counter[str] = field(default_factory=Counter)

    def refused(self) -> dict[str, float]:
        """Share of the messages of each stream that were not later than the one before."""
        return {name: self.dropped[f"{NOT_LATER}:{name}"] / count for name, count in self.messages.items()}


@dataclass(slots=True)
class _Commands:
    """Frames that wait until the leaders have told more than their stamps."""

    streams: Streams
    leaders: dict[str, JointTrack]
    waiting: deque[Frame[int]] = field(default_factory=deque)

    def settle(self, *, closed: bool = False) -> None:
        """Gives every frame its command that can have one, or drops it."""
        while self.waiting and (closed or self._told(self.waiting[0].stamp_ns)):
            frame = self.waiting.popleft()
            commands = {side: track.at(frame.stamp_ns) for side, track in self.leaders.items()}
            found = [commands[side] for side in ARM_SIDES]
            absent = [side for side in ARM_SIDES if commands[side] is None]
            if absent:
                self.streams.dropped[f"{LEADER_GAP}:{absent[0]}"] += 1
            else:
                self.streams.frames.add(frame, np.concatenate([c for c in found if c is not None]))
            for track in self.leaders.values():
                track.forget_before(frame.stamp_ns)

    def _told(self, stamp_ns: int) -> bool:
        newest = [track.newest_ns for track in self.leaders.values()]
        return all(stamp is not None and stamp >= stamp_ns for stamp in newest)


def collect(reader: EpisodeReader, contract: RobotContract, cameras: Sequence[str] | None) -> Streams:
    """Reads a bag once.

    Args:
        reader: The bag.
        contract: The contract that the dataset follows.
        cameras: Cameras to keep; all of the contract when None.

    Raises:
        BagError: The bag ends early, or a message cannot be read.
        ContractError: Joints are not those of the contract.
    """
    try:
        return _Collector(reader, contract, cameras).all_of(runs_of(reader))
    except UnusualError:
        return _Collector(reader, contract, cameras).all_of(reader.events(images=False))


class _Collector:
    """Takes events in the order of the log."""

    def __init__(self, reader: EpisodeReader, contract: RobotContract, cameras: Sequence[str] | None) -> None:
        self._assembler: FrameAssembler[int] = FrameAssembler(contract, cameras)
        if reader.info.frame_origin_ns:
            self._assembler.anchor(reader.info.frame_origin_ns)
        gap_ns = to_ns(contract.sync.joint_gap_s)
        self._leaders = {side: JointTrack(gap_ns) for side in ARM_SIDES}
        self._streams = Streams(Frames(self._assembler.cameras, contract.dof), self._assembler.dropped)
        self._commands = _Commands(self._streams, self._leaders)

    def all_of(self, events: Iterable[Event | JointRun]) -> Streams:
        """What a whole bag gives."""
        for event in events:
            if isinstance(event, JointRun):
                self._take_run(event)
            else:
                self._take(event)
        self._assembler.close()
        self._make()
        self._commands.settle(closed=True)
        self._streams.surplus = self._assembler.surplus
        return self._streams

    def _take(self, event: Event) -> None:
        streams, assembler = self._streams, self._assembler
        if isinstance(event, ImageEvent | PictureEvent):
            assembler.push_image(event.camera, event.stamp_ns, streams.messages[event.camera])
            streams.messages[event.camera] += 1
            if event.camera == assembler.pivot:
                streams.pivots_ns.append(event.stamp_ns)
        elif isinstance(event, TextEvent):
            (streams.said if event.role is Role.INSTRUCTION else streams.parsed).append(event)
        else:
            self._take_joints(event)
        self._make()

    def _take_joints(self, event: JointEvent) -> None:
        if event.role is Role.FEEDBACK:
            self._assembler.push_joints(event.side, event.stamp_ns, event.values)
            self._streams.messages[event.side] += 1
            return
        leader = f"leader_{event.side}"
        self._streams.messages[leader] += 1
        if not self._leaders[event.side].push(event.stamp_ns, event.values):
            self._streams.dropped[f"{NOT_LATER}:{leader}"] += 1

    def _take_run(self, run: JointRun) -> None:
        """Takes samples one by one while a frame waits for them, and what then is left at once."""
        row = 0
        while row < len(run) and (self._assembler.waiting or self._commands.waiting):
            self._take(run.sample(row))
            row += 1
        rest = list(run.rest(row))
        if not run.growing or any(stamps[0] <= self._newest(role, side) for role, side, stamps, _ in rest):
            for number in range(row, len(run)):
                self._take(run.sample(number))
            return
        for role, side, stamps, values in rest:
            if role is Role.FEEDBACK:
                self._assembler.push_joint_run(side, stamps, values)
                self._streams.messages[side] += len(stamps)
            else:
                self._leaders[side].extend(stamps, values)
                self._streams.messages[f"leader_{side}"] += len(stamps)

    def _newest(self, role: Role, side: str) -> int:
        leads = role is Role.LEADER
        newest = self._leaders[side].newest_ns if leads else self._assembler.newest_ns(side)
        return -1 if newest is None else newest

    def _make(self) -> None:
        while (frame := self._assembler.pop()) is not None:
            self._commands.waiting.append(frame)
        self._commands.settle()
