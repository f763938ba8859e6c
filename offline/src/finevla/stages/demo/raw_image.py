"""Raw camera pictures, as `sensor_msgs/Image` carries them, into JPEG."""

from __future__ import annotations

import io

import numpy as np

from finevla.errors import FineVLAError

QUALITY = 90
ENCODINGS = ("rgb8", "bgr8")


def jpeg_of(data: bytes, height: int, width: int, step: int, encoding: str) -> bytes:
    """A raw picture as JPEG.

    Args:
        data: Rows of `step` bytes; a row may be padded at its end.
        height: Rows.
        width: Pixels per row, three bytes each.
        step: Bytes per row.
        encoding: Order of the colours, one of `ENCODINGS`.

    Raises:
        FineVLAError: Another encoding, or less data than rows need.
    """
    if encoding not in ENCODINGS or step < 3 * width or len(data) < height * step:
        raise FineVLAError(
            "a raw camera picture cannot be read",
            where="sensor_msgs/Image",
            expected=f"one of {list(ENCODINGS)} and {height} rows of at least {3 * width} bytes",
            found=f"{encoding}, {len(data)} bytes in rows of {step}",
            remedy="let the camera driver publish rgb8 or bgr8, or JPEG on its compressed topic",
        )
    from PIL import Image

    rows = np.frombuffer(data, np.uint8, height * step).reshape(height, step)
    pixels = rows[:, : 3 * width].reshape(height, width, 3)
    rgb = pixels if encoding == "rgb8" else pixels[..., ::-1]
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(rgb)).save(out, "JPEG", quality=QUALITY)
    return out.getvalue()
