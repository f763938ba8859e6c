"""Pictures of a dataset: decoded on demand, or all at once into memory or a file beside the dataset.

Every way runs the same decoder and the image transform of the live node, so they give the same
bytes. In memory a picture takes size x size x 3 bytes (12 kB at 64 x 64); on demand nothing is kept,
which is for datasets that do not fit.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finevla.contract.images import WorkspaceCrop
from finevla.contract.robot import document_hash
from finevla.errors import DatasetError
from finevla.stages.train.decode import Decoder, best_decoder, decoder_name, frames_at
from finevla.stages.train.source import Source

OnEpisode = Callable[[int, int], None]
"""Called with the episodes read so far and their number."""

_OPEN_VIDEOS = 64
_FRAMES_AT_ONCE = 64
_STORE_VERSION = 1


class VideoStore:
    """Pictures decoded when they are asked for; indexed like an array (N, cameras, height, width, 3).

    Args:
        source: The dataset.
        images: The transform of each camera.
        kind: The decoder; the best one where it is None.
    """

    def __init__(
        self,
        source: Source,
        images: Mapping[str, WorkspaceCrop],
        kind: Callable[[Path, float], Decoder] | None = None,
    ) -> None:
        self._source, self._images = source, dict(images)
        self._kind = kind or best_decoder()
        self._open: OrderedDict[Path, Decoder] = OrderedDict()
        self._lock = threading.Lock()
        self.shape = (len(source.stamps), len(images), *picture_shape(images))

    def __getitem__(self, frames: NDArray[np.int64], /) -> NDArray[np.uint8]:
        """Pictures (n, cameras, height, width, 3) of these frames (n,).

        Raises:
            DatasetError: A video cannot be read, or has no such frame.
        """
        wanted, places = np.unique(frames, return_inverse=True)
        owner = np.searchsorted(self._source.starts, wanted, side="right") - 1
        out = np.empty((len(wanted), *self.shape[1:]), np.uint8)
        with self._lock:
            for column, (camera, transform) in enumerate(self._images.items()):
                clips = [self._source.clips[camera][episode] for episode in owner]
                stamps = self._source.stamps[wanted] + [clip.start_s for clip in clips]
                paths = np.array([str(clip.path) for clip in clips])
                for path in dict.fromkeys(paths.tolist()):
                    rows = np.flatnonzero(paths == path)
                    for part in np.array_split(rows, -(-len(rows) // _FRAMES_AT_ONCE)):
                        decoded = self._decode(Path(path), stamps[part])
                        out[part, column] = [transform(picture) for picture in decoded]
        result: NDArray[np.uint8] = out[places]
        return result

    def _decode(self, path: Path, stamps: NDArray[np.float64]) -> NDArray[np.uint8]:
        decoder = self._open.pop(path, None)
        if decoder is None:
            decoder = self._opened(path)
        self._open[path] = decoder
        while len(self._open) > _OPEN_VIDEOS:
            self._open.popitem(last=False)
        return frames_at(decoder, path, stamps, self._source.fps)

    def _opened(self, path: Path) -> Decoder:
        try:
            return self._kind(path, self._source.fps)
        except (OSError, RuntimeError, ValueError, IndexError) as err:
            raise DatasetError(
                "a video of the dataset cannot be opened",
                where=path,
                found=repr(err),
                remedy="convert the bags again, or copy the dataset again",
            ) from err


def read_pictures(
    source: Source,
    images: Mapping[str, WorkspaceCrop],
    on_episode: OnEpisode,
    cache_dir: Path | None = None,
    workers: int = 1,
) -> NDArray[np.uint8]:
    """All pictures, (N, cameras, height, width, 3).

    Args:
        source: The dataset.
        images: The transform of each camera.
        on_episode: Called after each episode.
        cache_dir: Where decoded pictures are kept for the next run; None keeps none. Runs that use
            the same file at once share its memory.
        workers: Threads that decode.

    Raises:
        DatasetError: A video cannot be read, or a kept file is damaged.
    """
    shape = (len(source.stamps), len(images), *picture_shape(images))
    episodes = len(source.starts) - 1
    if cache_dir is None:
        pictures = np.empty(shape, np.uint8)
        _fill(pictures, source, images, on_episode, workers)
        return pictures
    path = cache_dir / f"{store_key(source, images)}.npy"
    if not path.is_file():
        cache_dir.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        try:
            mapped: Any = _new_file(partial, shape)
            _fill(mapped, source, images, on_episode, workers)
            mapped.flush()
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    on_episode(episodes, episodes)
    return _kept(path, shape)


def store_key(source: Source, images: Mapping[str, WorkspaceCrop]) -> str:
    """Name of the kept pictures: changes with the videos, the frames, the transforms and the decoder.

    Videos count by name, size and time of change.
    """
    videos = [(path, path.stat()) for path in source.videos]
    return document_hash(
        {
            "version": _STORE_VERSION,
            "decoder": decoder_name(best_decoder()),
            "images": {name: image.to_json() for name, image in images.items()},
            "videos": [[str(p.relative_to(source.root)), s.st_size, s.st_mtime_ns] for p, s in videos],
            "clips": {
                name: [[str(clip.path.relative_to(source.root)), clip.start_s] for clip in source.clips[name]]
                for name in images
            },
            "starts": source.starts.tolist(),
            "stamps": source.stamps.tolist(),
        }
    )


def picture_shape(images: Mapping[str, WorkspaceCrop]) -> tuple[int, int, int]:
    """Height, width and channels of every picture.

    Raises:
        DatasetError: The cameras are resized differently.
    """
    sizes = {image.size for image in images.values()}
    if len(sizes) != 1:
        raise DatasetError(
            "the cameras are resized differently",
            expected="one size for all",
            found=sizes,
            remedy="use one image size",
        )
    width, height = sizes.pop()
    return height, width, 3


def _fill(
    pictures: NDArray[np.uint8],
    source: Source,
    images: Mapping[str, WorkspaceCrop],
    on_episode: OnEpisode,
    workers: int,
) -> None:
    """Decodes everything; each thread has decoders of its own."""
    own = threading.local()
    total = len(source.starts) - 1

    def fill(episode: int) -> None:
        if not hasattr(own, "store"):
            own.store = VideoStore(source, images)
        span = np.arange(source.starts[episode], source.starts[episode + 1])
        pictures[span[0] : span[-1] + 1] = own.store[span]

    for done in _run(fill, total, workers):
        on_episode(done, total)


def _run(work: Callable[[int], None], total: int, workers: int) -> Iterator[int]:
    """Counts up as the jobs 0, 1, ... are done, in order."""
    with ThreadPoolExecutor(max(1, workers)) as pool:
        try:
            yield from (done for done, _ in enumerate(pool.map(work, range(total)), 1))
        finally:
            pool.shutdown(cancel_futures=True)


def _new_file(path: Path, shape: tuple[int, ...]) -> Any:
    return np.lib.format.open_memmap(  # type: ignore[no-untyped-call]  # numpy has no type here
        path, mode="w+", dtype=np.uint8, shape=shape
    )


def _kept(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    try:
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as err:
        raise _damaged(path, err) from err
    if mapped.shape != shape or mapped.dtype != np.uint8:
        raise _damaged(path, f"{mapped.dtype} of shape {mapped.shape}")
    pictures: NDArray[np.uint8] = np.asarray(mapped)
    return pictures


def _damaged(path: Path, found: object) -> DatasetError:
    return DatasetError(
        "the kept pictures are damaged", where=path, found=found, remedy="remove the file and train again"
    )
