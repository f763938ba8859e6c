"""A V4L2/UVC camera through OpenCV."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from finevla.errors import SetupError
from finevla_perception.devices.base import Picture, Wanted, fitted, opencv

FIRST_DEVICE = "/dev/video0"


class V4L2Device:
    """A device through OpenCV; UVC says neither when a picture was taken nor how the camera sees.

    A size that the device does not know is made from the one that it chose, by resizing.

    Args:
        wanted: Its `device` is a path or a number; /dev/video0 where it is empty.

    Raises:
        SetupError: OpenCV is not installed, or the device cannot be opened.
    """

    intrinsics = None

    def __init__(self, wanted: Wanted) -> None:
        self._spec = wanted.spec
        cv2 = opencv(wanted.spec.name)
        device = wanted.device or FIRST_DEVICE
        self._capture = cv2.VideoCapture(int(device) if device.isdigit() else device, cv2.CAP_V4L2)
        if not self._capture.isOpened():
            raise SetupError(
                "a camera cannot be opened",
                where=f"camera {wanted.spec.name}",
                expected="a V4L2 device",
                found=device,
                remedy="choose one of `v4l2-ctl --list-devices`; the user must be in group video",
            )
        self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, wanted.spec.width)
        self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, wanted.spec.height)
        self._capture.set(cv2.CAP_PROP_FPS, wanted.rate_hz)

    def read(self) -> Picture | None:
        """The next image, in the size of the contract even where the device knows only others."""
        fine, bgr = self._capture.read()
        if not fine:
            return None
        rgb: NDArray[np.uint8] = np.ascontiguousarray(fitted(bgr, self._spec)[..., ::-1])
        return Picture(rgb)

    def close(self) -> None:
        """Gives the device back."""
        self._capture.release()
