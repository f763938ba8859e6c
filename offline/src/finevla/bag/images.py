"""JPEG in and out: the one place where camera images are encoded or decoded."""

from __future__ import annotations

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from finevla.bag.events import EncodedImage
from finevla.errors import BagError

QUALITY = 90


def encode_jpeg(image: NDArray[np.uint8]) -> bytes:
    """An RGB image, shape (height, width, 3), as JPEG (4:2:0, so that video needs no resampling)."""
    contiguous = np.ascontiguousarray(image)
    return bytes(
        simplejpeg.encode_jpeg(contiguous, quality=QUALITY, colorspace="RGB", colorsubsampling="420")
    )


def grey(image: EncodedImage, lines: int = 120) -> NDArray[np.uint8]:
    """A small grey version of an image, (height, width), for a quick look: at least so many lines high.

    Raises:
        BagError: The bytes are not a complete image.
    """
    if image.encoding == "jpeg":
        try:
            pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(
                image.data, colorspace="GRAY", min_height=lines, min_width=1, min_factor=1
            )
        except ValueError as err:
            raise BagError("an image cannot be decoded", found=err, remedy="look at the camera") from err
        return pixels[..., 0]
    whole = decode(image)
    step = max(1, whole.shape[0] // lines)
    return np.ascontiguousarray(whole[::step, ::step, 1])


def decode(image: EncodedImage, where: str = "") -> NDArray[np.uint8]:
    """An image of a bag as RGB, shape (height, width, 3).

    Raises:
        BagError: The bytes are not a complete image.
    """
    try:
        if image.encoding == "jpeg":
            pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(image.data, colorspace="RGB")
            return pixels
        rows = np.frombuffer(image.data, dtype=np.uint8).reshape(image.height, image.step)
        raw = rows[:, : image.width * 3].reshape(image.height, image.width, 3)
        return np.ascontiguousarray(raw[..., ::-1] if image.encoding == "bgr8" else raw)
    except ValueError as err:
        raise BagError(
            "an image cannot be decoded", where=where, found=err, remedy="drop the episode or record again"
        ) from err
