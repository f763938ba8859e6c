"""Images of an episode into H.264, and episodes of one camera into one file without re-encoding.

JPEG is decoded to YUV and encoded as it is (4:2:0, full range, BT.601), without a detour over RGB.
Single-threaded and without B-frames, so that equal images give equal bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.logging

from finevla.bag import EncodedImage
from finevla.bag.images import decode

# A pipe of thousands of small files would otherwise fill the terminal with encoder statistics.
av.logging.set_level(av.logging.ERROR)

FULL_RANGE = 2
BT601 = 5
PIXELS = "yuvj420p"
"""4:2:0 in full range, as in JPEG; the encoder tags the range by itself."""
END_OF_JPEG = b"\xff\xd9"


@dataclass(frozen=True, slots=True)
class VideoSettings:
    """How video is encoded. `gop` is the distance of key frames: small is quick to read at random."""

    preset: str = "ultrafast"
    crf: int = 20
    gop: int = 5

    def info(self, width: int, height: int, fps: int) -> dict[str, Any]:
        """What `info.json` of a LeRobot dataset says about the video."""
        return {
            "video.height": height,
            "video.width": width,
            "video.codec": "h264",
            "video.pix_fmt": "yuv420p",
            "video.fps": fps,
            "video.channels": 3,
            "video.g": self.gop,
            "video.crf": self.crf,
            "video.preset": self.preset,
            "video.is_depth_map": False,
            "is_depth_map": False,
            "has_audio": False,
        }


def _options(settings: VideoSettings) -> dict[str, str]:
    return {
        "preset": settings.preset,
        "crf": str(settings.crf),
        "g": str(settings.gop),
        "bf": "0",
        "threads": "1",
    }


def encode(
    images: Sequence[EncodedImage], path: Path, size: tuple[int, int], fps: int, settings: VideoSettings
) -> None:
    """Encodes images to an MP4.

    Args:
        images: In order.
        path: The file; its folder is created.
        size: Width and height that every image must have.
        fps: Frames per second.
        settings: Codec settings.

    Raises:
        ValueError: An image has another size or cannot be decoded; the message says which.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    jpeg = av.CodecContext.create("mjpeg", "r")
    jpeg.thread_count = 1
    jpeg.options = {"err_detect": "explode"}
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=fps, options=_options(settings))
        stream.width, stream.height = size
        stream.pix_fmt = PIXELS
        stream.codec_context.colorspace = BT601
        for index, image in enumerate(images):
            picture = _picture(image, jpeg, index)
            if (picture.width, picture.height) != size:
                raise ValueError(
                    f"image {index} is {picture.width}x{picture.height}, not {size[0]}x{size[1]}"
                )
            picture.pts = index
            picture.time_base = Fraction(1, fps)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))


def _picture(image: EncodedImage, jpeg: Any, index: int) -> Any:
    if image.encoding != "jpeg":
        frame = av.VideoFrame.from_ndarray(decode(image), format="rgb24")
    elif not image.data.rstrip(b"\0").endswith(END_OF_JPEG):
        raise ValueError(f"image {index} is cut short")
    else:
        try:
            (frame,) = jpeg.decode(av.Packet(image.data))
        except (av.FFmpegError, ValueError) as err:
            raise ValueError(f"image {index} cannot be decoded: {err}") from err
    if frame.format.name != PIXELS:
        frame = frame.reformat(format=PIXELS, dst_colorspace=BT601, dst_color_range=FULL_RANGE)
    return frame


def concatenate(parts: Sequence[tuple[Path, int]], path: Path, fps: int) -> None:
    """Puts the episodes of one camera into one file by copying packets.

    Args:
        parts: Files of `encode` with equal settings, and their numbers of frames, in order.
        path: The file; its folder is created.
        fps: Frames per second.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        target: Any = None
        start = 0
        for part, length in parts:
            with av.open(str(part)) as source:
                stream = source.streams.video[0]
                if target is None:
                    target = container.add_stream_from_template(stream)
                    target.time_base = stream.time_base
                ticks = Fraction(1, fps) / stream.time_base
                for packet in source.demux(stream):
                    if packet.dts is None:
                        continue
                    packet.pts += int(start * ticks)
                    packet.dts += int(start * ticks)
                    packet.stream = target
                    container.mux(packet)
            start += length
