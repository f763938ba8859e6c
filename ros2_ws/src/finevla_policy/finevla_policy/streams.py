"""Camera and joint subscriptions of the policy node, assembled into frames."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from finevla_perception.convert import joint_values, stamp_to_ns
from finevla_perception.qos import joint_stream
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage, Image, JointState

from finevla.contract import ARM_SIDES, RobotContract
from finevla.contract.assemble import Frame, FrameAssembler
from finevla.errors import ContractError
from finevla_policy.params import PolicyParams


class Streams:
    """Subscribes what a policy needs and hands over each frame as soon as it is complete.

    Images are not decoded here. A camera that the policy does not use is only listened to, without
    taking its messages apart, so that its death is noticed. Subscriptions are never destroyed,
    because rclpy's executor may be waiting on them in another thread; closed ones do nothing.

    Args:
        node: Node that subscribes.
        contract: Topics, names and rates.
        params: Transport, and whether unused cameras are watched.
        on_frames: Takes the new frames; called in the callback of the message that completed them.
    """

    def __init__(
        self,
        node: Node,
        contract: RobotContract,
        params: PolicyParams,
        on_frames: Callable[[list[Frame[Any]]], None],
    ) -> None:
        self.cameras: tuple[str, ...] = ()
        """Cameras whose images are in the frames; none while closed."""
        self._node = node
        self._contract = contract
        self._params = params
        self._on_frames = on_frames
        self._lock = threading.Lock()
        self._assembler: FrameAssembler[Any] | None = None
        self._made = 0
        self._heard_ns: dict[str, int | None] = {}
        self._wrong: set[str] = set()
        self._subscribed: set[str] = set()

    def open(self, cameras: Sequence[str]) -> None:
        """Makes frames of these cameras, the pivot and both arms from now on.

        Raises:
            ContractError: A camera is not in the contract.
        """
        wanted = {self._contract.sync.pivot, *cameras}
        used = tuple(name for name in self._contract.cameras if name in wanted)
        others = [name for name in self._contract.cameras if name not in wanted]
        with self._lock:
            self.cameras = used
            self._assembler = FrameAssembler(self._contract, used)
            self._heard_ns = dict.fromkeys(others) if self._params.watch_all_cameras else {}
            self._made = 0
        for name in used:
            self._once(name, self._subscribe_camera)
        for name in self._heard_ns:
            self._once(f"{name} unused", self._listen_to)
        for side in ARM_SIDES:
            self._once(side, self._subscribe_arm)

    def close(self) -> None:
        """Makes no more frames."""
        with self._lock:
            self._assembler = None
            self.cameras = ()

    def _once(self, stream: str, subscribe: Callable[[str], None]) -> None:
        if stream not in self._subscribed:
            self._subscribed.add(stream)
            subscribe(stream.split(maxsplit=1)[0])

    def ages_ns(self, now_ns: int) -> dict[str, int | None]:
        """Age of the newest message of every stream; None where none came yet."""
        with self._lock:
            ages = {} if self._assembler is None else self._assembler.ages_ns(now_ns)
            heard = {name: None if ns is None else now_ns - ns for name, ns in self._heard_ns.items()}
        return {**ages, **heard}

    def losses(self) -> str:
        """Frames made and frames lost since the reset, by reason and stream, in one line."""
        with self._lock:
            dropped = {} if self._assembler is None else self._assembler.dropped
            lost = ", ".join(f"{n} x {reason}" for reason, n in sorted(dropped.items()))
            return f"{self._made} frames, lost: {lost or 'none'}"

    def reset(self) -> None:
        """Forgets all messages, so that no old one becomes part of a new frame."""
        if self.cameras:
            self.open(self.cameras)

    def _topic(self, camera: str) -> tuple[type, str]:
        spec = self._contract.cameras[camera]
        compressed = self._params.image_transport == "compressed"
        return (CompressedImage, spec.compressed_topic) if compressed else (Image, spec.raw_topic)

    def _subscribe_camera(self, camera: str) -> None:
        kind, topic = self._topic(camera)
        callback = partial(self._on_image, camera)
        self._subscribe(kind, topic, callback, qos_profile_sensor_data)

    def _listen_to(self, camera: str) -> None:
        kind, topic = self._topic(camera)
        callback = partial(self._on_unused, camera)
        self._subscribe(kind, topic, callback, qos_profile_sensor_data, raw=True)

    def _subscribe_arm(self, side: str) -> None:
        topic = self._contract.arms[side].feedback_topic
        callback = partial(self._on_joints, side)
        self._subscribe(JointState, topic, callback, joint_stream())

    def _subscribe(
        self, kind: type, topic: str, callback: Callable[..., None], *args: Any, **more: Any
    ) -> None:
        # A group of its own: in a shared one, a multi-threaded executor passes over whatever is ready
        # while another callback of the group runs, and starves the streams that it looks at later.
        group = MutuallyExclusiveCallbackGroup()
        self._node.create_subscription(kind, topic, callback, *args, callback_group=group, **more)

    def _on_image(self, camera: str, msg: Image | CompressedImage) -> None:
        with self._lock:
            if self._assembler is None:
                return
            self._assembler.push_image(camera, stamp_to_ns(msg.header.stamp), msg)
            frames = self._completed(self._assembler)
        self._hand_over(frames)

    def _on_unused(self, camera: str, _: bytes) -> None:
        with self._lock:
            if camera in self._heard_ns:
                self._heard_ns[camera] = self._node.get_clock().now().nanoseconds

    def _on_joints(self, side: str, msg: JointState) -> None:
        if self._assembler is None:
            return
        arm = self._contract.arms[side]
        try:
            values = joint_values(msg, arm.wire_names, arm.feedback_topic)
        except ContractError as err:
            # A wrong message is no message: the stream goes stale and the arms hold.
            if side not in self._wrong:
                self._wrong.add(side)
                self._node.get_logger().error(str(err))
            return
        self._wrong.discard(side)
        with self._lock:
            if self._assembler is None:
                return
            self._assembler.push_joints(side, stamp_to_ns(msg.header.stamp), values)
            frames = self._completed(self._assembler)
        self._hand_over(frames)

    def _completed(self, assembler: FrameAssembler[Any]) -> list[Frame[Any]]:
        frames = []
        while (frame := assembler.pop()) is not None:
            frames.append(frame)
        self._made += len(frames)
        return frames

    def _hand_over(self, frames: list[Frame[Any]]) -> None:
        if frames:
            self._on_frames(frames)
