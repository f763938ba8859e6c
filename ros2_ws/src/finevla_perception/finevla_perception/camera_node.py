"""A camera of the contract from a V4L2/UVC device, for robots without a vendor's camera node.

One process per camera. The device is read in its own thread; a frame carries the stamp of its
arrival. A device that goes away is reported once and opened again until it comes back.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from finevla.contract import load_contract
from finevla.contract.params import read
from finevla.contract.robot import CameraSpec
from finevla.errors import ContractError, SetupError
from finevla_perception.convert import msgify_image, msgify_jpeg, ns_to_stamp
from finevla_perception.params import CameraParams
from finevla_perception.qos import publish
from finevla_perception.run import run_node

NODE = "finevla_camera"


class Device(Protocol):
    """An open camera."""

    def read(self) -> NDArray[np.uint8] | None:
        """The next RGB image (height, width, 3); None where the device gives none. Blocks."""

    def close(self) -> None:
        """Gives the device back."""


Opener = Callable[[str, CameraSpec, float], Device]


class V4L2Device:
    """A device through OpenCV.

    Raises:
        SetupError: OpenCV is not installed, or the device cannot be opened.
    """

    def __init__(self, device: str, spec: CameraSpec, rate_hz: float) -> None:
        try:
            import cv2
        except ImportError as err:
            raise SetupError(
                "the camera node needs OpenCV",
                where=f"camera {spec.name}",
                found=err,
                remedy="install opencv-python-headless, or use the camera's own ROS node",
            ) from err
        self._cv2 = cv2
        self._size = (spec.width, spec.height)
        self._capture = cv2.VideoCapture(int(device) if device.isdigit() else device, cv2.CAP_V4L2)
        if not self._capture.isOpened():
            raise SetupError(
                "a camera cannot be opened",
                where=f"camera {spec.name}",
                expected="a V4L2 device",
                found=device,
                remedy="choose one of `v4l2-ctl --list-devices`; the user must be in group video",
            )
        self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, spec.width)
        self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, spec.height)
        self._capture.set(cv2.CAP_PROP_FPS, rate_hz)

    def read(self) -> NDArray[np.uint8] | None:
        """The next image, in the size of the contract even where the device knows only others."""
        fine, bgr = self._capture.read()
        if not fine:
            return None
        if (bgr.shape[1], bgr.shape[0]) != self._size:
            bgr = self._cv2.resize(bgr, self._size, interpolation=self._cv2.INTER_AREA)
        rgb: NDArray[np.uint8] = np.ascontiguousarray(bgr[..., ::-1])
        return rgb

    def close(self) -> None:
        """Gives the device back."""
        self._capture.release()


class CameraNode(Node):  # type: ignore[misc]
    """Node `finevla_camera`.

    Args:
        open_device: Opens the device; V4L2 by default.
        node_args: Further arguments of `Node`, such as `context`.

    Raises:
        ContractError: The camera is not in the contract.
        SetupError: The device or OpenCV is missing.
    """

    def __init__(self, open_device: Opener = V4L2Device, **node_args: Any) -> None:
        super().__init__(NODE, **node_args)
        self._params: CameraParams = read(self, CameraParams, ParameterDescriptor)
        contract = load_contract(self._params.contract_file)
        if self._params.camera not in contract.cameras:
            raise ContractError(
                "there is no such camera",
                where="parameter camera",
                expected=f"one of {sorted(contract.cameras)}",
                found=self._params.camera,
                remedy="name a camera of the contract",
            )
        self._spec = contract.cameras[self._params.camera]
        self._rate_hz = self._params.rate_hz or contract.rates_hz.camera
        self._open = open_device
        qos = qos_profile_sensor_data
        self._raw = self.create_publisher(Image, self._spec.raw_topic, qos)
        self._jpeg = self.create_publisher(CompressedImage, self._spec.compressed_topic, qos)
        self._info = self.create_publisher(CameraInfo, self._spec.info_topic, qos)
        self._stop = threading.Event()
        device = self._open_device()
        self._thread = threading.Thread(target=self._run, args=(device,), name="camera", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the thread and gives the device back."""
        self._stop.set()
        self._thread.join(timeout=5.0)

    def _open_device(self) -> Device:
        return self._open(self._params.device, self._spec, self._rate_hz)

    def _run(self, first: Device) -> None:
        device: Device | None = first
        while not self._stop.is_set():
            if device is None:
                device = self._reopened()
                continue
            image = device.read()
            if image is None:
                self.get_logger().error(f"{self._spec.name}: {self._params.device} gives no images any more")
                device.close()
                device = None
            else:
                self._publish(image)
        if device is not None:
            device.close()

    def _reopened(self) -> Device | None:
        self._stop.wait(self._params.reopen_s)
        try:
            device = self._open_device()
        except SetupError:
            return None  # reported when it was lost; it is tried again after the pause
        self.get_logger().info(f"{self._spec.name}: {self._params.device} is back")
        return device

    def _publish(self, image: NDArray[np.uint8]) -> None:
        import simplejpeg

        stamp_ns = int(self.get_clock().now().nanoseconds)
        frame_id = self._spec.frame_id
        quality = self._params.jpeg_quality
        jpeg = simplejpeg.encode_jpeg(image, quality=quality, colorspace="RGB", colorsubsampling="420")
        publish(self, self._jpeg, msgify_jpeg(jpeg, stamp_ns, frame_id))
        if self._params.publish_raw:
            publish(self, self._raw, msgify_image(image, stamp_ns, frame_id))
        # Intrinsics stay zero, which means "not calibrated" in this message.
        info = CameraInfo(height=image.shape[0], width=image.shape[1])
        info.header.stamp = ns_to_stamp(stamp_ns)
        info.header.frame_id = frame_id
        publish(self, self._info, info)


def main(args: list[str] | None = None) -> int:
    """Runs the node until SIGINT; 2 where the device, its module or the parameters are wrong."""
    return run_node(NODE, CameraNode, args, close=CameraNode.close)


if __name__ == "__main__":
    sys.exit(main())
