"""Camera images of an episode into one MP4, by profile: as LeRobot encodes, fast, or copied as they are.

JPEG is decoded to YUV and encoded as it is (4:2:0, full range, BT.601), without a detour over RGB.
Single-threaded, so that equal images give equal bytes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from finevla.bag import EncodedImage
from finevla.bag.images import decode
from finevla.dataset.join import copied
from finevla.dataset.mp4 import Rates, bit_rate, front_of, write_all
from finevla.dataset.stats import SAMPLE_EVERY, levels
from finevla.dataset.video import writing

# As in `video`: no encoder statistics on the terminal.
os.environ.setdefault("SVT_LOG", "1")

FULL_RANGE = 2
BT601 = 5
PIXELS = "yuvj420p"
"""4:2:0 in full range, as in JPEG; the encoder tags the range by itself."""
END_OF_JPEG = b"\xff\xd9"

Codec = Literal["h264", "av1", "mjpeg"]
Profile = Literal["fast", "lerobot", "stage"]


@dataclass(frozen=True, slots=True)
class VideoSettings:
    """How video is encoded.

    Attributes:
        codec: `mjpeg` is the camera's own JPEG, copied; the other fields say nothing then.
        preset: Effort of the encoder.
        crf: Quality: lower is better and larger.
        gop: Distance of key frames: small is quick to read at random.
    """

    codec: Codec = "h264"
    preset: str = "ultrafast"
    crf: int = 20
    gop: int = 5

    def info(self, width: int, height: int, fps: int) -> dict[str, Any]:
        """What `info.json` of a LeRobot dataset says about the video."""
        encoder = {"video.g": self.gop, "video.crf": self.crf, "video.preset": self.preset}
        return {
            "video.height": height,
            "video.width": width,
            "video.codec": self.codec,
            "video.pix_fmt": PIXELS if self.codec == "mjpeg" else "yuv420p",
            "video.fps": fps,
            "video.channels": 3,
            **({} if self.codec == "mjpeg" else encoder),
            "video.is_depth_map": False,
            "is_depth_map": False,
            "has_audio": False,
        }


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of images before they come.

    Attributes:
        lengths: Bytes of each, (n,).
        copied: Whether the file should be as `join.concatenate` copies it, so that it need not be copied.
    """

    lengths: NDArray[np.int64]
    copied: bool


PROFILES: Mapping[Profile, VideoSettings] = {
    "fast": VideoSettings(),
    "lerobot": VideoSettings("av1", "12", 30, 2),
    "stage": VideoSettings("mjpeg", "", 0, 1),
}
"""`lerobot` has the defaults of lerobot 0.6.1 (`configs/video.py`)."""


def encode_counted(
    images: Iterable[EncodedImage],
    path: Path,
    size: tuple[int, int],
    fps: int,
    settings: VideoSettings,
    known: Known | None = None,
) -> NDArray[np.int64]:
    """As `encode`; every tenth image that the encoder took is decoded and counted.

    Returns:
        Counts of the levels, (3, 256).

    Raises:
        ValueError: As `encode`.
        BagError: As `decode`.
    """
    counts = np.zeros((3, 256), np.int64)

    def counted() -> Iterator[EncodedImage]:
        for number, image in enumerate(images):
            yield image
            if number % SAMPLE_EVERY == 0:
                counts[:] += levels([decode(image)])

    encode(counted(), path, size, fps, settings, known)
    return counts


def encode(
    images: Iterable[EncodedImage],
    path: Path,
    size: tuple[int, int],
    fps: int,
    settings: VideoSettings,
    known: Known | None = None,
) -> None:
    """Makes an MP4 of images.

    Args:
        images: In order.
        path: The file; its folder is created.
        size: Width and height that every image must have.
        fps: Frames per second.
        settings: Codec and its settings.
        known: What is known of JPEGs before they come; they are then copied in one go.

    Raises:
        ValueError: An image has another size, cannot be decoded, or is no JPEG where JPEG is copied; the
            message says which.
    """
    if settings.codec == "mjpeg":
        checked = _jpegs(images, size)
        if known is None:
            with writing(path) as container:
                _copy(checked, container, size, fps)
        else:
            _put(checked, path, size, fps, known)
        return
    with writing(path) as container:
        _encode(images, container, size, fps, settings)


def _encode(
    images: Iterable[EncodedImage], container: Any, size: tuple[int, int], fps: int, settings: VideoSettings
) -> None:
    jpeg = av.CodecContext.create("mjpeg", "r")
    jpeg.thread_count = 1
    jpeg.options = {"err_detect": "explode"}
    h264 = settings.codec == "h264"
    stream = container.add_stream("libx264" if h264 else "libsvtav1", rate=fps, options=_options(settings))
    stream.width, stream.height = size
    stream.codec_context.colorspace = BT601
    # libx264 knows the full range by the format, SVT by its tag.
    stream.pix_fmt = pixels = PIXELS if h264 else "yuv420p"
    if not h264:
        stream.codec_context.color_range = FULL_RANGE
    for index, image in enumerate(images):
        picture = _picture(image, jpeg, index, pixels)
        _check_size(index, (picture.width, picture.height), size)
        picture.pts = index
        picture.time_base = Fraction(1, fps)
        container.mux(stream.encode(picture))
    container.mux(stream.encode(None))


def _options(settings: VideoSettings) -> dict[str, str]:
    shared = {"preset": settings.preset, "crf": str(settings.crf), "g": str(settings.gop)}
    if settings.codec == "h264":
        return {**shared, "bf": "0", "threads": "1"}  # without B-frames: quick to read at random
    return {**shared, "svtav1-params": "lp=1"}


def _picture(image: EncodedImage, jpeg: Any, index: int, pixels: str) -> Any:
    if image.encoding != "jpeg":
        frame = av.VideoFrame.from_ndarray(decode(image), format="rgb24")
    else:
        _check_end(image, index)
        try:
            (frame,) = jpeg.decode(av.Packet(image.data))
        except (av.FFmpegError, ValueError) as err:
            raise ValueError(f"image {index} cannot be decoded: {err}") from err
    if frame.format.name != PIXELS:
        frame = frame.reformat(format=PIXELS, dst_colorspace=BT601, dst_color_range=FULL_RANGE)
    if pixels != PIXELS:  # the same levels under another name
        frame = frame.reformat(format=pixels, src_color_range=FULL_RANGE, dst_color_range=FULL_RANGE)
    return frame


def _jpegs(images: Iterable[EncodedImage], size: tuple[int, int]) -> Iterator[bytes]:
    """The bytes of images that can be copied."""
    for index, image in enumerate(images):
        if image.encoding != "jpeg":
            raise ValueError(f"image {index} is {image.encoding}, no JPEG that could be copied")
        _check_end(image, index)
        height, width, _, _ = simplejpeg.decode_jpeg_header(image.data)
        _check_size(index, (width, height), size)
        yield image.data


def _put(images: Iterator[bytes], path: Path, size: tuple[int, int], fps: int, known: Known) -> None:
    """As `_copy`, into a file whose index is written before the images."""
    first, single = next(images), BytesIO()
    with av.open(single, "w", format="mp4") as container:
        _copy([first], container, size, fps)
    lengths, template = known.lengths, single.getvalue()
    mean = bit_rate(lengths, 1, fps)
    rates = Rates(mean, mean) if known.copied else Rates(mean, 0)
    front = front_of(copied(template) if known.copied else template, lengths, np.arange(len(lengths)), rates)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb", buffering=0) as file:
        write_all(file, front)
        for index, image in enumerate(chain([first], images)):
            if len(image) != lengths[index]:
                raise ValueError(f"image {index} has {len(image)} bytes, not {lengths[index]}")
            write_all(file, image)


def _copy(images: Iterable[bytes], container: Any, size: tuple[int, int], fps: int) -> None:
    """Puts JPEGs into a file as they are."""
    stream = container.add_stream("mjpeg", rate=fps)
    stream.width, stream.height = size
    stream.pix_fmt = PIXELS
    stream.time_base = Fraction(1, fps)
    for index, image in enumerate(images):
        packet = av.Packet(image)
        packet.stream, packet.time_base = stream, Fraction(1, fps)
        packet.pts = packet.dts = index
        packet.duration, packet.is_keyframe = 1, True
        container.mux(packet)


def _check_end(image: EncodedImage, index: int) -> None:
    if not image.data.rstrip(b"\0").endswith(END_OF_JPEG):
        raise ValueError(f"image {index} is cut short")


def _check_size(index: int, found: tuple[int, int], size: tuple[int, int]) -> None:
    if found != size:
        raise ValueError(f"image {index} is {found[0]}x{found[1]}, not {size[0]}x{size[1]}")
