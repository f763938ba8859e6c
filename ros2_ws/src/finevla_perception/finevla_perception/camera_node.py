"""A camera of the contract from a device of ours, for robots without a vendor's camera node.

One process per camera; `devices` has the drivers. The device is read in its own thread; an image carries the
stamp of the device, or of its arrival where the device knows none. A device that goes away is reported once
and opened again until it comes back.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.task import Future
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from finevla.contract import load_contract
from finevla.contract.params import read
from finevla.errors import ContractError, SetupError
from finevla_perception.convert import msgify_camera_info, msgify_image, msgify_jpeg
from finevla_perception.devices import OPENERS, Device, EndOfPictures, Intrinsics, Opener, Picture, Wanted
from finevla_perception.params import CameraParams
from finevla_perception.qos import publish
from finevla_perception.run import run_node

NODE = "finevla_camera"
REMIND_S = 30.0
"""How often it is said why a lost device cannot be opened, s."""


class CameraNode(Node):  # type: ignore[misc]
    """Node `finevla_camera`.

    Args:
        open_device: Opens the device; by default that of parameter driver.
        node_args: Further arguments of `Node`, such as `context`.

    Raises:
        ContractError: The camera is not in the contract.
        SetupError: The device or its library is missing.
    """

    def __init__(self, open_device: Opener | None = None, **node_args: Any) -> None:
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
        self._source = f"{self._params.driver} {self._params.device}".strip()
        self._open = open_device or OPENERS[self._params.driver]
        qos = qos_profile_sensor_data
        self._raw = self.create_publisher(Image, self._spec.raw_topic, qos)
        self._jpeg = self.create_publisher(CompressedImage, self._spec.compressed_topic, qos)
        self._info = self.create_publisher(CameraInfo, self._spec.info_topic, qos)
        self.ended: Future = Future()
        self._stop = threading.Event()
        device = self._open_device()
        self._thread = threading.Thread(target=self._run, args=(device,), name="camera", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the thread and gives the device back."""
        self._stop.set()
        self._thread.join(timeout=5.0)

    def _open_device(self) -> Device:
        return self._open(
            Wanted(
                self._params.device,
                self._spec,
                self._rate_hz,
                self._params.loop,
                warn=self.get_logger().warning,
                now_ns=self._now_ns,
            )
        )

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    def _run(self, first: Device) -> None:
        device: Device | None = first
        while device is not None:
            try:
                lost = self._stream(device)
            finally:
                device.close()
            device = self._reopened() if lost else None

    def _stream(self, device: Device) -> bool:
        """Publishes until the node ends or the pictures do; true where they should have gone on."""
        while not self._stop.is_set():
            try:
                picture = device.read()
            except EndOfPictures:
                self.get_logger().info(f"{self._spec.name}: {self._source} is over")
                self.ended.set_result(None)
                return False
            if picture is None:
                self.get_logger().error(f"{self._spec.name}: {self._source} gives no images any more")
                return True
            self._publish(picture, device.intrinsics)
        return False

    def _reopened(self) -> Device | None:
        """The device, opened again as soon as it can be; None where the node ends before."""
        while not self._stop.wait(self._params.reopen_s):
            try:
                device = self._open_device()
            except SetupError as err:
                self.get_logger().warning(str(err), throttle_duration_sec=REMIND_S)
                continue
            self.get_logger().info(f"{self._spec.name}: {self._source} is back")
            return device
        return None

    def _publish(self, picture: Picture, intrinsics: Intrinsics | None) -> None:
        import simplejpeg

        stamp_ns = self._now_ns() if picture.stamp_ns is None else picture.stamp_ns
        image, spec, quality = picture.rgb, self._spec, self._params.jpeg_quality
        jpeg = simplejpeg.encode_jpeg(image, quality=quality, colorspace="RGB", colorsubsampling="420")
        publish(self, self._jpeg, msgify_jpeg(jpeg, stamp_ns, spec.frame_id))
        if self._params.publish_raw:
            publish(self, self._raw, msgify_image(image, stamp_ns, spec.frame_id))
        publish(self, self._info, msgify_camera_info(spec, intrinsics, stamp_ns))


def main(args: list[str] | None = None) -> int:
    """Runs the node until SIGINT or the end of a film; 2 where device, library or parameters are wrong."""
    return run_node(NODE, CameraNode, args, close=CameraNode.close, until=lambda node: node.ended)


if __name__ == "__main__":
    sys.exit(main())
