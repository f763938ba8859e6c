"""Episodes with their columns, videos and counted pictures, as the header and recordings of a dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finevla.dataset.encode import VideoSettings
from finevla.dataset.model import Header, Recording, index_columns, table_of
from finevla.dataset.stats import Stats, of_histogram, of_rows


@dataclass(frozen=True, slots=True)
class Take:
    """One episode.

    Attributes:
        task: Instruction.
        vectors: Values by feature, each (frames, dimensions).
        videos: MP4 by feature, each with exactly these frames; a writer may move them.
        levels: Counts of picture levels by feature, each (3, 256); see `stats.levels`.
    """

    task: str
    vectors: Mapping[str, NDArray[np.float32]]
    videos: Mapping[str, Path]
    levels: Mapping[str, NDArray[np.int64]]

    @property
    def length(self) -> int:
        """Number of frames."""
        return len(next(iter(self.vectors.values())))


@dataclass(frozen=True, slots=True)
class Outline:
    """What the episodes of a dataset have in common.

    Attributes:
        robot_type: Name of the robot, where one is known.
        fps: Frames per second.
        vectors: Names of the dimensions, by feature.
        pictures: Height and width, by feature.
        settings: How the videos are encoded.
    """

    robot_type: str | None
    fps: int
    vectors: Mapping[str, Sequence[str]]
    pictures: Mapping[str, tuple[int, int]]
    settings: VideoSettings

    def features(self) -> dict[str, Any]:
        """The `features` of `info.json`."""
        table: dict[str, Any] = {
            key: {"dtype": "float32", "shape": [len(names)], "names": list(names)}
            for key, names in self.vectors.items()
        }
        for key, (height, width) in self.pictures.items():
            table[key] = {
                "dtype": "video",
                "shape": [height, width, 3],
                "names": ["height", "width", "channels"],
                "info": self.settings.info(width, height, self.fps),
            }
        table["timestamp"] = {"dtype": "float32", "shape": [1], "names": None}
        for key in ("frame_index", "episode_index", "index", "task_index"):
            table[key] = {"dtype": "int64", "shape": [1], "names": None}
        return table


def pack(outline: Outline, takes: Sequence[Take]) -> tuple[Header, list[Recording]]:
    """The dataset as the writer of either format takes it."""
    places = {task: index for index, task in enumerate(dict.fromkeys(take.task for take in takes))}
    starts = [0, *np.cumsum([take.length for take in takes])[:-1].tolist()]
    data: list[dict[str, NDArray[Any]]] = [
        {**take.vectors, **index_columns(take.length, number, start, places[take.task], outline.fps)}
        for number, (take, start) in enumerate(zip(takes, starts, strict=True))
    ]
    recordings = [_recording(take, columns) for take, columns in zip(takes, data, strict=True)]
    header = Header(
        robot_type=outline.robot_type,
        fps=outline.fps,
        features=outline.features(),
        tasks=tuple(places),
        stats=recordings[0].stats if len(takes) == 1 else _of_all(takes, data),
    )
    return header, recordings


def _of_all(takes: Sequence[Take], data: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, Stats]:
    rows = {key: of_rows(np.concatenate([columns[key] for columns in data])) for key in data[0]}
    return {**rows, **_of_pictures(takes)}


def _recording(take: Take, columns: Mapping[str, NDArray[Any]]) -> Recording:
    return Recording(
        tasks=(take.task,),
        length=take.length,
        table=lambda: table_of(columns),
        videos=take.videos,
        stats={**{key: of_rows(values) for key, values in columns.items()}, **_of_pictures([take])},
        spare=True,
    )


def _of_pictures(takes: Sequence[Take]) -> dict[str, Stats]:
    return {
        key: of_histogram(np.sum([take.levels[key] for take in takes], axis=0)) for key in takes[0].levels
    }
