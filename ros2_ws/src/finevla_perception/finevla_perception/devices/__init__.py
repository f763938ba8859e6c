"""Cameras by driver: a table of openers. A new driver is a module beside these and a line here."""

from __future__ import annotations

from collections.abc import Mapping

from finevla_perception.devices.base import Device, EndOfPictures, Intrinsics, Opener, Picture, Wanted
from finevla_perception.devices.realsense import RealSenseDevice
from finevla_perception.devices.v4l2 import V4L2Device
from finevla_perception.devices.video import VideoDevice

OPENERS: Mapping[str, Opener] = {"v4l2": V4L2Device, "realsense": RealSenseDevice, "video": VideoDevice}
"""Driver to opener. Each loads its library when it opens a device."""

__all__ = ["OPENERS", "Device", "EndOfPictures", "Intrinsics", "Opener", "Picture", "Wanted"]
