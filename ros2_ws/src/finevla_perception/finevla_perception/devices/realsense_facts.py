"""What RealSense cameras say of themselves: which one, which stream, how it sees, and what was lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from finevla.errors import SetupError
from finevla_perception.devices.base import Intrinsics, Wanted

FORMATS = ("rgb8", "bgr8", "yuyv")
"""Formats that become RGB here, the cheapest first."""
TELL_S = 10.0
"""Losses are told of at most so often, s."""


class Losses:
    """Frames that the running number of a camera has skipped.

    Args:
        tell: Takes a sentence, at most every ten seconds and only where something was lost.
        clock_s: Monotonic time, s.
    """

    def __init__(self, tell: Callable[[str], None], clock_s: Callable[[], float]) -> None:
        self.lost = 0
        self._tell, self._clock_s = tell, clock_s
        self._last: int | None = None
        self._told, self._told_s = 0, float("-inf")

    def saw(self, number: int) -> None:
        """A frame came; a number that goes back is a counter that began again."""
        if self._last is not None and number > self._last:
            self.lost += number - self._last - 1
        self._last = number
        now_s = self._clock_s()
        if self.lost > self._told and now_s - self._told_s >= TELL_S:
            self._tell(f"{self.lost - self._told} frames were lost ({self.lost} since it was opened)")
            self._told, self._told_s = self.lost, now_s


def choose_device(rs: Any, devices: list[Any], serial: str, camera: str) -> Any:
    """The camera of a serial number, or the only one.

    Raises:
        SetupError: It is not connected, or none is named and there is not exactly one.
    """
    serials = [_info(device, rs.camera_info.serial_number) for device in devices]
    fitting = [d for d, own in zip(devices, serials, strict=True) if serial in {"", own}]
    if len(fitting) == 1:
        return fitting[0]
    listed = [
        f"{own} ({_info(device, rs.camera_info.name)})" for device, own in zip(devices, serials, strict=True)
    ]
    raise SetupError(
        "several RealSense cameras are connected" if fitting else "this RealSense camera is not connected",
        where=f"camera {camera}",
        expected=f"serial number {serial}" if serial else "one, or a serial number in parameter device",
        found=", ".join(listed) or "no RealSense camera",
        remedy="set parameter device to one of these, in quotes; where none is found check cable, USB port "
        "and udev rules",
    )


def choose_profile(rs: Any, device: Any, wanted: Wanted) -> tuple[Any, Any]:
    """Sensor and video stream profile of the contract's size and rate, or of a size to be made smaller.

    Raises:
        SetupError: The camera has no such colour stream.
    """
    have = [
        (sensor, profile.as_video_stream_profile())
        for sensor in device.query_sensors()
        for profile in sensor.get_stream_profiles()
        if profile.stream_type() == rs.stream.color and profile.is_video_stream_profile()
    ]
    width, height = wanted.spec.width, wanted.spec.height
    fitting = [
        (profile.width(), FORMATS.index(profile.format().name), index)
        for index, (_, profile) in enumerate(have)
        if profile.format().name in FORMATS
        and profile.fps() == wanted.rate_hz
        and profile.width() >= width
        and profile.width() * height == profile.height() * width
    ]
    if fitting:
        return have[min(fitting)[2]]
    listed = sorted({(p.width(), p.height(), p.fps(), p.format().name) for _, p in have})
    raise SetupError(
        "the RealSense camera has no colour stream that fits the contract",
        where=f"camera {wanted.spec.name}",
        expected=f"{width}x{height}, or larger in the same proportions, at {wanted.rate_hz:g} Hz, as one of "
        f"{', '.join(FORMATS)}",
        found="; ".join(f"{w}x{h} {fps} Hz {kind}" for w, h, fps, kind in listed) or "no colour stream",
        remedy="set rate_hz, or size and rate in the contract, to one of these; USB 2 offers fewer than "
        "USB 3",
    )


def intrinsics_of(rs: Any, profile: Any, wanted: Wanted) -> Intrinsics | None:
    """The calibration of a stream; None where the camera has none.

    ROS has names for two of RealSense's distortion models. Coefficients of another one are left out, and
    said to be, because under a wrong name they would be wrong (realsense2_camera calls them all plumb_bob).
    """
    try:
        raw = profile.get_intrinsics()
    except RuntimeError:  # this stream has none
        return None
    if not raw.fx or not raw.fy:
        return None
    names = {
        rs.distortion.brown_conrady: ("plumb_bob", 5),
        rs.distortion.none: ("plumb_bob", 5),
        rs.distortion.kannala_brandt4: ("equidistant", 4),
    }
    model, count = names.get(raw.model, ("plumb_bob", 5) if not any(raw.coeffs) else ("", 0))
    if not model:
        wanted.warn(
            f"{wanted.spec.name}: the distortion model {raw.model.name} has no name in ROS: camera_info has "
            "the focal lengths and the principal point, but no distortion"
        )
    return Intrinsics(
        *(raw.width, raw.height, raw.fx, raw.fy, raw.ppx, raw.ppy), model, tuple(raw.coeffs[:count])
    )


def _info(device: Any, what: Any) -> str:
    return str(device.get_info(what)) if device.supports(what) else "unknown"
