"""Video frames by time: torchcodec, or PyAV where torchcodec cannot load.

Both decode with FFmpeg and give the same bytes for the H.264 that the converter writes (a test
compares them). torchcodec is about twice as fast; it does not load on machines whose FFmpeg
libraries it does not know.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import av
import numpy as np
from numpy.typing import NDArray

from finevla.errors import DatasetError

_LOG = logging.getLogger("finevla.train")
_SEEK_BEYOND_S = 3.0
"""PyAV decodes on to a frame that is at most so far ahead, and seeks otherwise."""


class Decoder(Protocol):
    """One open video."""

    def at(self, stamps: NDArray[np.float64]) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        """Frames (n, height, width, 3) RGB nearest to times in the file (n,), s, and their own times."""
        ...


class TorchcodecDecoder:
    """torchcodec on the CPU with one thread."""

    name = "torchcodec"

    def __init__(self, path: Path, fps: float) -> None:
        from torchcodec.decoders import VideoDecoder

        self._fps = fps
        self._video: Any = VideoDecoder(str(path), dimension_order="NHWC", num_ffmpeg_threads=1)

    def at(self, stamps: NDArray[np.float64]) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        """See `Decoder`."""
        last = int(self._video.metadata.num_frames) - 1
        numbers = np.clip(np.rint(stamps * self._fps).astype(np.int64), 0, last)
        batch = self._video.get_frames_at(numbers.tolist())
        return batch.data.numpy(), batch.pts_seconds.numpy()


class PyavDecoder:
    """PyAV with one thread; quick where times ascend."""

    name = "pyav"

    def __init__(self, path: Path, fps: float) -> None:
        self._container = av.open(str(path))
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = "NONE"
        self._half_s = 0.5 / fps
        self._frames = self._container.decode(self._stream)
        self._now: Any = None

    def at(self, stamps: NDArray[np.float64]) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        """See `Decoder`."""
        pictures: dict[float, NDArray[np.uint8]] = {}
        times: dict[float, float] = {}
        for stamp in np.unique(stamps).tolist():
            frame = self._advance(stamp)
            pictures[stamp] = frame.to_ndarray(format="rgb24")
            times[stamp] = float(frame.time)
        order = stamps.tolist()
        return np.stack([pictures[s] for s in order]), np.array([times[s] for s in order])

    def _advance(self, stamp: float) -> Any:
        """The first frame that is not more than half a period before a time, or the last one."""
        now = self._now
        if now is None or not -self._half_s <= stamp - now.time <= _SEEK_BEYOND_S:
            self._container.seek(max(0, int(stamp / self._stream.time_base)), stream=self._stream)
            self._frames = self._container.decode(self._stream)
            now = None
        while now is None or now.time < stamp - self._half_s:
            following = next(self._frames, None)
            if following is None:
                break
            now = following
        self._now = now
        return now


@lru_cache(maxsize=1)
def best_decoder() -> Callable[[Path, float], Decoder]:
    """torchcodec; PyAV where it cannot load, which is logged once."""
    try:
        import torchcodec.decoders  # noqa: F401  # whether it loads is what is asked
    except (ImportError, OSError, RuntimeError) as err:
        _LOG.warning("torchcodec cannot load, videos are read with PyAV: %s", str(err).splitlines()[0])
        return PyavDecoder
    return TorchcodecDecoder


def decoder_name(kind: Callable[[Path, float], Decoder]) -> str:
    """Name of a kind of decoder, as it stands in the key of stored pictures."""
    return str(getattr(kind, "name", kind))


def frames_at(decoder: Decoder, path: Path, stamps: NDArray[np.float64], fps: float) -> NDArray[np.uint8]:
    """Frames (n, height, width, 3) RGB of a video at these times (n,), s.

    Raises:
        DatasetError: The video cannot be decoded, or has no frame within a quarter of a period.
    """
    try:
        frames, times = decoder.at(stamps)
    except (OSError, RuntimeError, IndexError, AttributeError, ValueError) as err:
        raise _unreadable(path, "frames at the times of the data", repr(err)) from err
    apart = np.abs(times - stamps)
    if (apart > 0.25 / fps).any():
        worst = int(np.argmax(apart))
        raise _unreadable(
            path, f"a frame at {stamps[worst]:.3f} s", f"the nearest is at {times[worst]:.3f} s"
        )
    return frames


def _unreadable(path: Path, expected: str, found: str) -> DatasetError:
    return DatasetError(
        "a video of the dataset does not fit its data",
        where=path,
        expected=expected,
        found=found,
        remedy="convert the bags again, or copy the dataset again",
    )
