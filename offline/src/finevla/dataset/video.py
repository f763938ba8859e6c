"""Videos on disk without decoding: what a file holds, and one episode cut out of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import takewhile
from pathlib import Path
from typing import Any

import av
import av.logging
import numpy as np
from numpy.typing import NDArray

from finevla.dataset.mp4 import UnusualError, samples_of
from finevla.errors import DatasetError

# A pipe of thousands of small files would otherwise fill the terminal with encoder statistics.
av.logging.set_level(av.logging.ERROR)


@dataclass(frozen=True, slots=True)
class Clip:
    """The one video stream of a file, without its pictures.

    Attributes:
        path: The file.
        size: Bytes.
        frames: Number of pictures.
        start: Presentation time of the first picture, in ticks of the stream.
        encoding: What two clips must have in common to share a file: codec, size, ticks, parameter sets.
    """

    path: Path
    size: int
    frames: int
    start: int
    encoding: tuple[object, ...]


def probe(path: Path) -> Clip:
    """Looks at the packets of a video, without decoding.

    Raises:
        DatasetError: The file is not a video, or holds no picture.
    """
    with reading(path) as (container, stream):
        frames, start = _extent(container, stream, path)
        context = stream.codec_context
        encoding = (
            context.name,
            context.width,
            context.height,
            context.pix_fmt,
            stream.time_base,
            bytes(context.extradata or b""),
        )
    return Clip(path, path.stat().st_size, frames, start, encoding)


def _extent(container: Any, stream: Any, path: Path) -> tuple[int, int]:
    """Number of the pictures of a file and time of the first one, ticks."""
    try:
        return len(samples_of(path).sizes), 0
    except UnusualError:  # the packets have to be looked at
        shown = _shown(container, stream, path)
        return len(shown), shown[0][0]


def checked(clip: Clip, frames: int) -> Clip:
    """The clip, if it has a picture for every frame.

    Raises:
        DatasetError: It has more or fewer.
    """
    if clip.frames != frames:
        raise DatasetError(
            "the video of an episode has not as many pictures as the episode has frames",
            where=clip.path,
            expected=f"{frames} pictures",
            found=clip.frames,
            remedy="repair the dataset, or leave this episode out",
        )
    return clip


@contextmanager
def reading(path: Path) -> Iterator[tuple[Any, Any]]:
    """Opens the container and the video stream of a file.

    Raises:
        DatasetError: The file is missing, damaged, or has no video.
    """
    try:
        with av.open(str(path)) as container:
            yield container, container.streams.video[0]
    except (OSError, av.FFmpegError, IndexError) as err:
        raise unreadable(path, repr(err)) from err


def writing(path: Path) -> Any:
    """A new MP4, to be used as a context; its folder is created."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return av.open(str(path), "w", options={"movflags": "+faststart"})


def unreadable(path: Path, found: str) -> DatasetError:
    """What is said of a file that is no video, or a damaged one."""
    return DatasetError(
        "the video cannot be read",
        where=path,
        expected="a file with one video stream",
        found=found,
        remedy="copy the dataset again, or leave this episode out",
    )


def like(stream: Any, container: Any) -> Any:
    """A stream that takes the packets of another one as they are."""
    target = container.add_stream_from_template(stream, opaque=True)
    target.time_base = stream.time_base
    return target


def mux(packets: Iterable[Any], shift: int, target: Any, container: Any) -> None:
    """Writes packets, moved in time by so many ticks."""
    for packet in packets:
        packet.pts += shift
        packet.dts += shift
        packet.stream = target
        container.mux(packet)


@dataclass(frozen=True, slots=True)
class Piece:
    """The pictures of one episode: a file, and the time in it at which they begin, s."""

    path: Path
    start_s: float
    frames: int


def split(piece: Piece, path: Path, fps: int) -> None:
    """Copies the packets of one episode out of a file that holds several.

    Args:
        piece: Where they are.
        path: The new file, which begins at 0; its folder is created.
        fps: Frames per second.

    Raises:
        DatasetError: The file lacks pictures, or the episode does not begin with a key frame, so that it
            cannot be taken out without encoding it again.
    """
    with reading(piece.path) as (container, stream):
        packets = _packets(container, stream, piece, fps)
        with writing(path) as out:
            mux(packets, -min(packet.pts for packet in packets), like(stream, out), out)


def digest(piece: Piece, fps: int) -> str:
    """SHA-256 of the encoded pictures of an episode and of their order; where they are stored is left out.

    Raises:
        DatasetError: As `split`.
    """
    sha = hashlib.sha256()
    with reading(piece.path) as (container, stream):
        packets = _packets(container, stream, piece, fps)
        begin = min(packet.pts for packet in packets)
        for packet in packets:
            sha.update(f"{(packet.pts - begin) * stream.time_base}\n".encode())
            sha.update(memoryview(packet))
    return sha.hexdigest()


@dataclass(frozen=True, slots=True)
class Survey:
    """All pictures of a file, without decoding.

    Attributes:
        times_s: When they are shown, from the first one on, ascending, s.
        keys: Whether each can be decoded by itself.
        height: Of the video, pixels.
        width: Of the video, pixels.
    """

    times_s: NDArray[np.float64]
    keys: NDArray[np.bool_]
    height: int
    width: int

    def of(self, piece: Piece, fps: int) -> tuple[int, bool]:
        """Number of pictures of an episode, and whether it begins with a key frame."""
        half = 0.5 / fps
        low, high = piece.start_s - half, piece.start_s + piece.frames / fps - half
        first, last = np.searchsorted(self.times_s, [low, high])
        return int(last - first), bool(first < last and self.keys[first])


def survey(path: Path) -> Survey:
    """Reads the index of a video.

    Raises:
        DatasetError: The video cannot be read, or is empty.
    """
    with reading(path) as (container, stream):
        shown = _shown(container, stream, path)
        size = int(stream.codec_context.height), int(stream.codec_context.width)
        tick_s = float(stream.time_base)
    times, keys = zip(*shown, strict=True)
    return Survey((np.array(times) - times[0]) * tick_s, np.array(keys), *size)


def _shown(container: Any, stream: Any, path: Path) -> list[tuple[int, bool]]:
    """Time (ticks) of every picture of a file, ascending, and whether it is a key frame."""
    found = [(p.pts, p.is_keyframe) for p in container.demux(stream) if p.pts is not None]
    if not found:
        raise unreadable(path, "no picture")
    return sorted(found)


def _packets(container: Any, stream: Any, piece: Piece, fps: int) -> list[Any]:
    """The packets of an episode, in the order in which they are decoded."""
    ticks = Fraction(1, fps) / stream.time_base
    first = round(Fraction(piece.start_s).limit_denominator(10**6) / stream.time_base)
    if piece.start_s == 0.0:
        first = stream.start_time or 0
    low, high = first - ticks / 2, first + (piece.frames - Fraction(1, 2)) * ticks
    container.seek(first, stream=stream)
    decoded_before = takewhile(lambda p: p.dts is not None and p.dts < high, container.demux(stream))
    packets = [p for p in decoded_before if low <= p.pts < high]
    if len(packets) == piece.frames and packets[0].is_keyframe:
        return packets
    predicted = "the first one predicted from others" if packets and not packets[0].is_keyframe else ""
    raise DatasetError(
        "an episode cannot be cut out of its video",
        where=f"{piece.path} at {piece.start_s:g} s",
        expected=f"{piece.frames} pictures, the first one a key frame",
        found=f"{len(packets)} pictures {predicted}",
        remedy="repair the dataset, or encode its videos again with a key frame at each episode",
    )


def pictures(path: Path, every: int) -> Iterator[NDArray[np.uint8]]:
    """Every so manieth picture of a video, (h, w, 3) RGB.

    Raises:
        DatasetError: The video cannot be read.
    """
    with reading(path) as (container, stream):
        for number, frame in enumerate(container.decode(stream)):
            if number % every == 0:
                yield frame.to_ndarray(format="rgb24")
