"""Pictures to image topics, in a thread of its own so that physics does not wait for JPEG."""

from __future__ import annotations

import queue
import threading
from collections.abc import Mapping

import numpy as np
from finevla_perception.convert import msgify_image, msgify_jpeg, ns_to_stamp
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from finevla.bag.images import encode_jpeg
from finevla.contract.robot import CameraSpec, RobotContract
from finevla_sim.convert import camera_info

IMAGE_QOS = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
"""Reliable, so that a recorder may ask for it; subscribers of sensor data match it too."""


class _Camera:
    def __init__(self, node: Node, spec: CameraSpec, fovy_rad: float) -> None:
        self.spec = spec
        self.info = camera_info(spec, fovy_rad)
        self.raw = node.create_publisher(Image, spec.raw_topic, IMAGE_QOS)
        self.jpeg = node.create_publisher(CompressedImage, spec.compressed_topic, IMAGE_QOS)
        self.infos = node.create_publisher(CameraInfo, spec.info_topic, IMAGE_QOS)

    @property
    def wanted(self) -> bool:
        """True where somebody looks at this camera."""
        return bool(self.jpeg.get_subscription_count() or self.raw.get_subscription_count())

    def publish(self, image: NDArray[np.uint8], stamp_ns: int) -> None:
        """Publishes what somebody listens to; the rest costs nothing."""
        if self.jpeg.get_subscription_count():
            self.jpeg.publish(msgify_jpeg(encode_jpeg(image), stamp_ns, self.spec.frame_id))
        if self.raw.get_subscription_count():
            self.raw.publish(msgify_image(image, stamp_ns, self.spec.frame_id))
        if self.infos.get_subscription_count():
            self.info.header.stamp = ns_to_stamp(stamp_ns)
            self.infos.publish(self.info)


class CameraPublisher:
    """Publishes the contract's cameras.

    Args:
        node: Where the publishers live.
        contract: Cameras and their topics.
        fovy_rad: Vertical field of view by camera, for `camera_info`.
    """

    def __init__(self, node: Node, contract: RobotContract, fovy_rad: Mapping[str, float]) -> None:
        self._cameras = {name: _Camera(node, spec, fovy_rad[name]) for name, spec in contract.cameras.items()}
        self._context = node.context
        self._queue: queue.Queue[tuple[int, Mapping[str, NDArray[np.uint8]]] | None] = queue.Queue(2)
        self._thread = threading.Thread(target=self._run, name="camera-publisher", daemon=True)
        self._thread.start()
        self.disabled: frozenset[str] = frozenset()
        self.dropped = 0

    def wanted(self) -> list[str]:
        """Cameras that somebody looks at and that are not switched off."""
        return [name for name, camera in self._cameras.items() if camera.wanted and name not in self.disabled]

    def put(self, stamp_ns: int, images: Mapping[str, NDArray[np.uint8]]) -> None:
        """Hands over pictures without waiting; those that nobody could publish in time are dropped."""
        try:
            self._queue.put_nowait((stamp_ns, images))
        except queue.Full:
            self.dropped += 1

    def close(self) -> None:
        """Ends the thread."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (entry := self._queue.get()) is not None:
            try:
                self._publish(*entry)
            except RuntimeError:
                # At the end of the process the context goes first.
                if self._context.ok():
                    raise

    def _publish(self, stamp_ns: int, images: Mapping[str, NDArray[np.uint8]]) -> None:
        for name, image in images.items():
            if name not in self.disabled:
                self._cameras[name].publish(image, stamp_ns)
