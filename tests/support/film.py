"""Cameras that send H.264, encoded by x264: one access unit per image."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import av
import numpy as np

LIVE = {"tune": "zerolatency", "preset": "ultrafast", "x264-params": "keyint=15:min-keyint=15:scenecut=0"}


def access_units(
    pictures: Sequence[np.ndarray], options: dict[str, str] = LIVE, pixels: str = "yuv420p"
) -> list[bytes]:
    """One access unit per picture, in the order in which the encoder gives them."""
    height, width = pictures[0].shape[:2]
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, pixels
    encoder.time_base, encoder.options = Fraction(1, 30), dict(options)
    units: list[bytes] = []
    for number, picture in enumerate(pictures):
        frame = av.VideoFrame.from_ndarray(picture, "rgb24")
        frame.pts = number
        units += [bytes(packet) for packet in encoder.encode(frame)]
    return units + [bytes(packet) for packet in encoder.encode(None)]


def whole(units: Sequence[bytes]) -> list[np.ndarray]:
    """All pictures of a stream in which nothing is missing, by the plain decoder."""
    decoder = av.CodecContext.create("h264", "r")
    frames = [frame for unit in units for frame in decoder.decode(av.Packet(unit))]
    return [frame.to_ndarray(format="rgb24") for frame in [*frames, *decoder.decode(None)]]
