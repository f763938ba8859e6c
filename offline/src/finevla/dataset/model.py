"""What a LeRobot dataset is before it has a format: a header and its episodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from finevla.dataset.arrow import numbers
from finevla.dataset.stats import Stats

CHUNK = 1000
"""Files per chunk folder, as in LeRobot."""


@dataclass(frozen=True, slots=True)
class Recording:
    """One episode.

    Attributes:
        tasks: Instructions.
        length: Number of frames.
        table: Reads the columns; called once while the episode is written, so that a dataset may be
            larger than memory.
        videos: MP4 by feature, each with exactly these frames; the writer takes the files.
        stats: Statistics by feature.
        spare: Whether nobody else needs the files of the videos, so that a writer may move them.
    """

    tasks: tuple[str, ...]
    length: int
    table: Callable[[], pa.Table]
    videos: Mapping[str, Path]
    stats: Mapping[str, Stats]
    spare: bool = False


@dataclass(frozen=True, slots=True)
class Header:
    """What the episodes share.

    Attributes:
        robot_type: Name of the robot, where one is known.
        fps: Frames per second.
        features: `features` of `info.json`.
        tasks: All instructions; the place is the task index.
        stats: Statistics by feature over all frames; written where the format keeps them.
        more: Fields of `info.json` beyond those that every dataset has.
    """

    robot_type: str | None
    fps: int
    features: Mapping[str, Any]
    tasks: tuple[str, ...]
    stats: Mapping[str, Stats]
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def videos(self) -> list[str]:
        """Features that are videos."""
        return video_keys(self.features)

    def info(self, version: str, lengths: list[int]) -> dict[str, Any]:
        """The part of `info.json` that all formats share."""
        return {
            "codebase_version": version,
            "robot_type": self.robot_type,
            "total_episodes": len(lengths),
            "total_frames": sum(lengths),
            "total_tasks": len(self.tasks),
            "chunks_size": CHUNK,
            "fps": self.fps,
            "splits": {"train": f"0:{len(lengths)}"},
            "features": dict(self.features),
            **self.more,
        }


def video_keys(features: Mapping[str, Any]) -> list[str]:
    """Keys of the features that are videos."""
    return [key for key, feature in features.items() if feature["dtype"] == "video"]


def table_of(data: Mapping[str, NDArray[Any]]) -> pa.Table:
    """Columns as an Arrow table; vectors become lists of fixed length."""
    arrays = {}
    for key, values in data.items():
        flat = numbers(values.reshape(-1))
        arrays[key] = flat if values.ndim == 1 else pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
    return pa.table(arrays)


def index_columns(length: int, episode: int, start: int, task: int, fps: int) -> dict[str, NDArray[Any]]:
    """The columns that LeRobot adds to every episode.

    Args:
        length: Number of frames.
        episode: Index of the episode.
        start: Index of its first frame in the dataset.
        task: Index of its instruction.
        fps: Frames per second.
    """
    frame = np.arange(length, dtype=np.int64)
    return {
        "timestamp": (frame / fps).astype(np.float32),
        "frame_index": frame,
        "episode_index": np.full(length, episode, dtype=np.int64),
        "index": start + frame,
        "task_index": np.full(length, task, dtype=np.int64),
    }
