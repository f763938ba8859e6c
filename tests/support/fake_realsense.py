"""A RealSense that the real library believes in: frames are put into a sensor of its `software_device`."""

from __future__ import annotations

import time

from finevla.contract import load_contract

SPEC = load_contract().cameras["cam_high"]
SIZE = (SPEC.width, SPEC.height)
COEFFICIENTS = [0.1, -0.2, 0.001, 0.002, 0.05]


class Camera:
    """A RealSense of the library's own making, into which frames are put."""

    def __init__(
        self, rs, serial="834412070001", profiles=((SIZE, 30, "rgb8", 3),), model=None, calibrated=True
    ):
        self.rs, self.device = rs, rs.software_device()
        self.device.register_info(rs.camera_info.serial_number, serial)
        self.device.register_info(rs.camera_info.name, "Intel RealSense D435")
        self.sensor = self.device.add_sensor("RGB Camera")
        self.profiles = [
            self._add(number, *profile, model, calibrated) for number, profile in enumerate(profiles, 1)
        ]

    def _add(self, number, size, fps, kind, depth, model, calibrated):
        rs, stream = self.rs, self.rs.video_stream()
        stream.type, stream.index, stream.uid = rs.stream.color, 0, number
        stream.width, stream.height = size
        stream.fps, stream.bpp, stream.fmt = fps, depth, getattr(rs.format, kind)
        if calibrated:
            seen = rs.intrinsics()
            seen.width, seen.height = size
            seen.fx, seen.fy, seen.ppx, seen.ppy = 300.0, 301.0, 161.5, 118.25
            seen.model, seen.coeffs = model or rs.distortion.brown_conrady, COEFFICIENTS
            stream.intrinsics = seen
        return self.sensor.add_video_stream(stream).as_video_stream_profile()

    def put(self, pixels, number=1, stamp_ms=None, domain="system_time", profile=0):
        frame = self.rs.software_video_frame()
        frame.pixels, frame.bpp, frame.stride = pixels, pixels.shape[2], pixels.shape[1] * pixels.shape[2]
        frame.timestamp = time.time() * 1000 if stamp_ms is None else stamp_ms
        frame.domain = getattr(self.rs.timestamp_domain, domain)
        frame.frame_number, frame.profile = number, self.profiles[profile]
        self.sensor.on_video_frame(frame)
