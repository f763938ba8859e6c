"""The camera node with a device that is an object: images, loss of the device, and its return."""

from __future__ import annotations

import threading

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("finevla_msgs.msg")
module = pytest.importorskip("finevla_perception.camera_node")

from finevla_perception.convert import numpify
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from ros_rig import RosRig, until
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from finevla.contract import load_contract
from finevla.errors import ContractError, SetupError

pytestmark = pytest.mark.ros
CAMERA = load_contract().cameras["cam_left_wrist"]


class FakeDevice:
    opened = 0

    def __init__(self, device, spec, rate_hz):
        type(self).opened += 1
        self.left = 20
        self.closed = threading.Event()
        self.image = np.full((spec.height, spec.width, 3), (200, 30, 30), np.uint8)

    def read(self):
        self.left -= 1
        self.closed.wait(0.02)
        return self.image if self.left >= 0 else None

    def close(self):
        self.closed.set()


def test_images_in_all_forms_and_a_device_that_comes_back():
    overrides = [Parameter("camera", value=CAMERA.name), Parameter("reopen_s", value=0.1)]
    with RosRig(threads=2) as rig:
        raw = rig.collect(Image, CAMERA.raw_topic, qos_profile_sensor_data)
        jpeg = rig.collect(CompressedImage, CAMERA.compressed_topic, qos_profile_sensor_data)
        info = rig.collect(CameraInfo, CAMERA.info_topic, qos_profile_sensor_data)
        node = rig.add(module.CameraNode(FakeDevice, context=rig.context, parameter_overrides=overrides))
        until(lambda: raw and jpeg and info)
        assert np.array_equal(numpify(raw[0])[0, 0], (200, 30, 30))
        assert np.abs(numpify(jpeg[0]).astype(int)[100, 100] - (200, 30, 30)).max() < 8
        assert (info[0].width, info[0].header.frame_id) == (CAMERA.width, CAMERA.frame_id)
        until(lambda: FakeDevice.opened >= 2)
        seen = len(raw)
        until(lambda: len(raw) > seen + 3)
        node.close()


def test_a_missing_device_and_an_unknown_camera_are_named():
    with RosRig(threads=2) as rig:
        with pytest.raises(SetupError, match="/dev/video97"):
            module.CameraNode(
                context=rig.context, parameter_overrides=[Parameter("device", value="/dev/video97")]
            )
        with pytest.raises(ContractError, match="cam_high"):
            module.CameraNode(
                FakeDevice, context=rig.context, parameter_overrides=[Parameter("camera", value="cam_low")]
            )
