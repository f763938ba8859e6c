"""The camera node with a device that is an object: images, stamps, loss of the device, return, end."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("finevla_msgs.msg")
module = pytest.importorskip("finevla_perception.camera_node")

from finevla_perception.convert import numpify, stamp_to_ns
from finevla_perception.devices import EndOfPictures, Intrinsics, Picture
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from ros_rig import RosRig, until
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from finevla.contract import load_contract
from finevla.errors import ContractError, LaunchError, SetupError

pytestmark = pytest.mark.ros
CAMERA = load_contract().cameras["cam_left_wrist"]


class FakeDevice:
    opened = 0
    intrinsics = None

    def __init__(self, wanted):
        type(self).opened += 1
        self.left = 20
        self.closed = threading.Event()
        spec = wanted.spec
        self.image = np.full((spec.height, spec.width, 3), (200, 30, 30), np.uint8)

    def read(self):
        self.left -= 1
        self.closed.wait(0.02)
        return Picture(self.image) if self.left >= 0 else None

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
        assert not info[0].k.any(), "nobody has calibrated this camera"
        assert abs(time.time_ns() - stamp_to_ns(raw[0].header.stamp)) < 60e9, "the time of arrival"
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


SEEN = Intrinsics(
    CAMERA.width, CAMERA.height, 300.0, 301.0, 160.5, 119.0, "plumb_bob", (0.1, 0.2, 0.3, 0.4, 0.5)
)
EXPOSED_NS = 1_700_000_000_123_456_789


class Calibrated(FakeDevice):
    """Knows when its pictures were taken and how it sees, and ends after twenty."""

    intrinsics = SEEN

    def read(self):
        picture = super().read()
        if picture is None:
            raise EndOfPictures
        return Picture(picture.rgb, EXPOSED_NS)


def test_stamps_and_intrinsics_of_the_device_are_published_and_the_end_is_an_end():
    Calibrated.opened = 0
    overrides = [Parameter("camera", value=CAMERA.name), Parameter("reopen_s", value=0.1)]
    with RosRig(threads=2) as rig:
        topics = (
            (Image, CAMERA.raw_topic),
            (CompressedImage, CAMERA.compressed_topic),
            (CameraInfo, CAMERA.info_topic),
        )
        heard = [rig.collect(kind, topic, qos_profile_sensor_data) for kind, topic in topics]
        node = rig.add(module.CameraNode(Calibrated, context=rig.context, parameter_overrides=overrides))
        until(lambda: all(heard))
        assert {stamp_to_ns(messages[0].header.stamp) for messages in heard} == {EXPOSED_NS}
        info = heard[2][0]
        assert info.k.tolist() == [300.0, 0.0, 160.5, 0.0, 301.0, 119.0, 0.0, 0.0, 1.0]
        assert info.p.tolist() == [300.0, 0.0, 160.5, 0.0, 0.0, 301.0, 119.0, 0.0, 0.0, 0.0, 1.0, 0.0]
        assert info.r.tolist() == np.eye(3).ravel().tolist()
        assert (info.distortion_model, list(info.d)) == ("plumb_bob", list(SEEN.coefficients))
        until(node.ended.done)
        until(lambda: not node._thread.is_alive())
        assert Calibrated.opened == 1, "a film that has ended is not a camera that was unplugged"
        node.close()


def test_an_unknown_driver_is_refused_with_the_choices():
    with RosRig(threads=2) as rig, pytest.raises(LaunchError, match="'v4l2', 'realsense', 'video'"):
        module.CameraNode(context=rig.context, parameter_overrides=[Parameter("driver", value="kinect")])


def test_frames_of_a_realsense_go_through_the_node():
    rs = pytest.importorskip("pyrealsense2", reason="not installed (requirements/realsense.txt)")
    from fake_realsense import Camera
    from finevla_perception.devices.realsense import RealSenseDevice

    camera = Camera(rs)
    image = np.random.default_rng(1).integers(0, 256, (CAMERA.height, CAMERA.width, 3), np.uint8)
    with RosRig(threads=2) as rig:
        raw = rig.collect(Image, CAMERA.raw_topic, qos_profile_sensor_data)
        info = rig.collect(CameraInfo, CAMERA.info_topic, qos_profile_sensor_data)
        node = module.CameraNode(
            lambda wanted: RealSenseDevice(wanted, lambda: [camera.device]),
            context=rig.context,
            parameter_overrides=[Parameter("camera", value=CAMERA.name)],
        )
        rig.add(node)
        stamps_ms = []

        def heard():
            stamps_ms.append(float(round(time.time() * 1000)))
            camera.put(image, len(stamps_ms), stamps_ms[-1])
            time.sleep(0.03)
            return raw and info

        until(heard)
        assert np.array_equal(numpify(raw[0]), image)
        assert stamp_to_ns(raw[0].header.stamp) in {int(stamp) * 1_000_000 for stamp in stamps_ms}
        assert info[0].k[0] == 300.0
        node.close()


def test_a_film_is_played_to_its_end_by_the_process(tmp_path, ros_domain):
    av = pytest.importorskip("av")
    path = tmp_path / "film.mp4"
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=20)
        stream.width, stream.height = CAMERA.width, CAMERA.height
        for _ in range(10):
            container.mux(stream.encode(av.VideoFrame(CAMERA.width, CAMERA.height, "yuv420p")))
        container.mux(stream.encode())
    parameters = {"driver": "video", "device": str(path), "loop": "false", "camera": CAMERA.name}
    words = [word for name, value in parameters.items() for word in ("-p", f"{name}:={value}")]
    done = subprocess.run(
        [sys.executable, "-m", "finevla_perception.camera_node", "--ros-args", *words],
        env={**os.environ, "ROS_DOMAIN_ID": str(ros_domain)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "is over" in done.stderr + done.stdout
