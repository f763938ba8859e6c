"""A dataset as the trainer takes it: pictures, joints, and the texts of every episode.

Frames go through the same image transform that the live node runs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from finevla.contract.images import WorkspaceCrop
from finevla.contract.robot import RobotContract, difference
from finevla.errors import DatasetError
from finevla.stages.train.source import Source, open_source
from finevla.stages.train.store import OnEpisode, VideoStore, read_pictures
from finevla.stages.train.texts import Texts, read_texts

CacheMode = Literal["memory", "none"]
CACHE_MODES: tuple[str, ...] = get_args(CacheMode)


class Pictures(Protocol):
    """Pictures by frame: an array, or a `VideoStore`."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, cameras, height, width, 3)."""
        ...

    def __getitem__(self, frames: NDArray[np.int64], /) -> NDArray[np.uint8]:
        """A new array with the pictures of these frames, (n, cameras, height, width, 3)."""
        ...


@dataclass(frozen=True)
class FrameCache:
    """All frames of a dataset.

    Args:
        pictures: (N, cameras, height, width, 3) uint8, in memory or decoded on demand.
        state: Measured joints (N, dof), rad and m.
        action: Commanded joints (N, dof), rad and m.
        starts: First frame of each episode and, last, N; shape (episodes + 1,).
        fine: Fine-grained text of each episode, the instruction that was given; empty without one.
        raw: Raw text of each episode, the goal only; empty without one.
        groups: Task group of each episode.
        dataset_hash: Identity of the data.
        images: The transform of each camera, in the order of the pictures.
    """

    pictures: Pictures
    state: NDArray[np.float64]
    action: NDArray[np.float64]
    starts: NDArray[np.int64]
    fine: tuple[str, ...]
    raw: tuple[str, ...]
    groups: tuple[str, ...]
    dataset_hash: str
    images: Mapping[str, WorkspaceCrop] = field(default_factory=dict)

    @property
    def episodes(self) -> int:
        """Number of episodes."""
        return len(self.starts) - 1

    def has_text(self, *, fine: bool) -> NDArray[np.bool_]:
        """Which episodes have a fine-grained, or else a raw, text; shape (episodes,)."""
        return np.array([bool(text) for text in (self.fine if fine else self.raw)], dtype=np.bool_)

    def texts_of(self, episodes: NDArray[np.int64]) -> tuple[str, ...]:
        """All texts of these episodes, raw and fine-grained, each once, sorted."""
        return tuple(sorted({t for e in episodes for t in (self.raw[e], self.fine[e]) if t}))

    def frames_of(self, episodes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Indices of all frames of these episodes."""
        spans = [np.arange(self.starts[e], self.starts[e + 1]) for e in episodes]
        return np.concatenate(spans) if spans else np.zeros(0, np.int64)

    def episode_of(self, frames: NDArray[np.int64]) -> NDArray[np.int64]:
        """Episode of each frame."""
        return np.searchsorted(self.starts, frames, side="right").astype(np.int64) - 1

    def chunks(
        self, frames: NDArray[np.int64], horizon: int, rest_steps: int
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Targets (B, horizon, dof) that begin at these frames, and which of them count.

        Past the end of an episode the last action is repeated, so that the policy learns to rest;
        `rest_steps` of these repetitions count, the others are padding.
        """
        last = self.starts[self.episode_of(frames) + 1][:, None] - 1
        wanted = frames[:, None] + np.arange(horizon)
        return self.action[np.minimum(wanted, last)], wanted <= last + rest_steps


def read_dataset(
    root: Path,
    contract: RobotContract,
    images: Mapping[str, WorkspaceCrop],
    on_episode: OnEpisode,
    *,
    cache: CacheMode = "memory",
    cache_dir: Path | None = None,
    workers: int = 1,
) -> FrameCache:
    """Reads a dataset of LeRobot v3.0 or v2.1 that was recorded with this robot.

    Args:
        root: Its directory.
        contract: The robot.
        images: The transform of each camera to read.
        on_episode: Called after each episode.
        cache: `memory` decodes all pictures now, `none` each when it is drawn.
        cache_dir: Where decoded pictures are kept for the next run, with `memory`; None keeps none.
        workers: Threads that decode, with `memory`.

    Raises:
        DatasetError: It is missing, incomplete, of another format, robot, rate or camera set, or has
            no frames.
    """
    root = Path(root)
    source = open_source(root, contract, images)
    record = _our_record(root, contract)
    texts = read_texts(root, source.tasks, record)
    pictures: Pictures
    if cache == "none":
        pictures = VideoStore(source, images)
    else:
        pictures = read_pictures(source, images, on_episode, cache_dir, workers)
    return FrameCache(
        pictures=pictures,
        state=source.state,
        action=source.action,
        starts=source.starts,
        fine=texts.fine,
        raw=texts.raw,
        groups=texts.groups,
        dataset_hash=str(record["dataset_hash"]) if record else _content_hash(source, texts),
        images=dict(images),
    )


def _our_record(root: Path, contract: RobotContract) -> dict[str, Any] | None:
    """What our converter left; None for a dataset of another origin."""
    path = root / "meta" / "finevla.json"
    if not path.is_file():
        return None
    try:
        record: dict[str, Any] = json.loads(path.read_text())
        ours = {key: record[key] for key in ("contract_hash", "contract", "dataset_hash", "episodes")}
    except (OSError, ValueError, KeyError) as err:
        raise DatasetError(
            "the record of the converter cannot be read",
            where=path,
            found=repr(err),
            remedy="convert the bags again",
        ) from err
    if ours["contract_hash"] != contract.hash:
        raise DatasetError(
            "the dataset was recorded with another robot contract",
            where=path,
            expected=contract.hash,
            found="\n    ".join(["robot != dataset:", *difference(contract.document, ours["contract"])]),
            remedy="record and convert again, or use the contract that it was recorded with",
        )
    return ours


def _content_hash(source: Source, texts: Texts) -> str:
    """Identity of a dataset of another origin: its numbers, texts and video files."""
    digest = hashlib.sha256(json.dumps([texts.fine, texts.raw]).encode())
    for array in (source.state, source.action, source.starts):
        digest.update(np.ascontiguousarray(array).data)
    for path in source.videos:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
