"""Videos of several episodes put together into one file, without decoding."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np

from finevla.dataset import mp4
from finevla.dataset.mp4 import Rates, Samples, UnusualError
from finevla.dataset.video import Clip, like, mux, reading, unreadable, writing


def concatenate(clips: Sequence[Clip], path: Path, fps: int) -> None:
    """Puts the episodes of one camera into one file by copying packets.

    Args:
        clips: Of one encoding, in order.
        path: The file; its folder is created.
        fps: Frames per second.

    Raises:
        DatasetError: A file cannot be read any more.
    """
    try:
        _join([_samples(clip) for clip in clips], path, fps)
    except UnusualError:  # files that others made
        _remux(clips, path, fps)
    except EOFError as err:
        raise unreadable(clips[0].path, repr(err)) from err


def _samples(clip: Clip) -> Samples:
    try:
        return mp4.samples_of(clip.path)
    except OSError as err:
        raise unreadable(clip.path, repr(err)) from err


def _join(parts: Sequence[Samples], path: Path, fps: int) -> None:
    """As `concatenate`, of files of which each picture is known by its place."""
    front = _front(parts, fps)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb", buffering=0) as file:
        mp4.write_all(file, front)
        mp4.copy_pictures(parts, file)


def _front(parts: Sequence[Samples], fps: int) -> bytes:
    """What a file of these pictures begins with."""
    if any(some.duration * fps != some.timescale for some in parts):
        raise UnusualError("pictures of another rate")
    with reading(parts[0].path) as (container, stream):
        rate, template = int(stream.codec_context.bit_rate or 0), _first_copied(container, stream)
    sizes = np.concatenate([some.sizes for some in parts])
    begins = np.append(0, np.cumsum([len(some.sizes) for some in parts])[:-1])
    keys = np.concatenate([some.keys + begin for some, begin in zip(parts, begins, strict=True)])
    mean = mp4.bit_rate(sizes, parts[0].duration, parts[0].timescale)
    return mp4.front_of(template, sizes, keys, Rates(max(rate, mean), mean))


def _first_copied(container: Any, stream: Any) -> bytes:
    """A file of the first picture only, for what libavformat writes around it."""
    buffer = BytesIO()
    with av.open(buffer, "w", format="mp4") as target:
        mux(islice(container.demux(stream), 1), 0, like(stream, target), target)
    return buffer.getvalue()


def copied(single: bytes) -> bytes:
    """A file of one picture as `concatenate` copies it."""
    with av.open(BytesIO(single)) as container:
        return _first_copied(container, container.streams.video[0])


def take(clip: Clip, path: Path, fps: int) -> None:
    """As `concatenate` of one clip whose file nobody needs any more: it is moved where that gives the same.

    Raises:
        DatasetError: As `concatenate`.
    """
    try:
        samples = _samples(clip)
        front = _front([samples], fps)
        movable = len(front) == samples.begin
    except UnusualError:  # a file that others made
        movable = False
    if not movable:
        concatenate([clip], path, fps)
        return
    with clip.path.open("r+b") as file:
        file.write(front)
    path.parent.mkdir(parents=True, exist_ok=True)
    clip.path.replace(path)


def _remux(clips: Sequence[Clip], path: Path, fps: int) -> None:
    with writing(path) as container:
        target: Any = None
        done = 0
        for clip in clips:
            with reading(clip.path) as (source, stream):
                target = like(stream, container) if target is None else target
                packets = (packet for packet in source.demux(stream) if packet.dts is not None)
                mux(packets, round(Fraction(done, fps) / stream.time_base) - clip.start, target, container)
            done += clip.frames
