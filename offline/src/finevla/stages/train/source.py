"""Demonstrations of the contract's robot in a LeRobot dataset: numbers, tasks, and where each frame is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from finevla.contract import keys
from finevla.contract.images import WorkspaceCrop
from finevla.contract.robot import RobotContract
from finevla.dataset.read import Opened, open_dataset
from finevla.dataset.video import Piece
from finevla.errors import DatasetError


@dataclass(frozen=True)
class Source:
    """A dataset but for its pictures.

    Attributes:
        root: Its directory.
        fps: Frames per second.
        state: Measured joints (N, dof), rad and m.
        action: Commanded joints (N, dof), rad and m.
        stamps: Time of each frame from the start of its episode (N,), s.
        starts: First frame of each episode and, last, N; shape (episodes + 1,).
        tasks: Instruction by episode number, in order.
        clips: Per camera, the video of each episode.
    """

    root: Path
    fps: float
    state: NDArray[np.float64]
    action: NDArray[np.float64]
    stamps: NDArray[np.float64]
    starts: NDArray[np.int64]
    tasks: Mapping[int, str]
    clips: Mapping[str, tuple[Piece, ...]]

    @property
    def videos(self) -> tuple[Path, ...]:
        """All video files, each once, in order."""
        return tuple(dict.fromkeys(clip.path for clips in self.clips.values() for clip in clips))


def open_source(root: Path, contract: RobotContract, images: Mapping[str, WorkspaceCrop]) -> Source:
    """Reads everything but the pictures.

    Raises:
        DatasetError: It is missing, incomplete, of another format, robot, rate or camera set.
    """
    opened = open_dataset(root)
    _check_info(opened.info, contract, images, root)
    try:
        table = _table(root, len(contract.joint_names))
    except (OSError, KeyError, ValueError, TypeError, pa.ArrowException) as err:
        raise DatasetError(
            "the data cannot be read",
            where=root / "data",
            expected=f"the parquet files of a dataset of LeRobot {opened.version}",
            found=repr(err),
            remedy="convert the bags again; an interrupted conversion leaves no dataset",
        ) from err
    owner = np.asarray(table["episode_index"], dtype=np.int64)
    state, action = table[keys.STATE], table[keys.ACTION]
    _check_numbers(state, action, owner, root)
    episodes, first = np.unique(owner, return_index=True)
    _check_complete(opened, episodes, len(owner))
    numbers = range(len(opened.rows))
    return Source(
        root=root,
        fps=float(opened.fps),
        state=state,
        action=action,
        stamps=np.asarray(table["timestamp"], dtype=np.float64),
        starts=np.append(first, len(owner)).astype(np.int64),
        tasks={number: only_task(opened.tasks_of(number), number) for number in numbers},
        clips={
            name: tuple(opened.piece(number, contract.cameras[name].key) for number in numbers)
            for name in images
        },
    )


def _check_info(
    info: Mapping[str, Any], contract: RobotContract, images: Mapping[str, WorkspaceCrop], root: Path
) -> None:
    """Compares rate, joint names and cameras with the contract."""
    features = info.get("features", {})
    names = list(contract.joint_names)
    for key in (keys.STATE, keys.ACTION):
        found = features.get(key, {}).get("names")
        if found != names:
            raise DatasetError(
                f"{key} has other joints than the robot, or another order",
                where=root,
                expected=names,
                found=found,
                remedy="convert the bags with the contract of this robot",
            )
    if info.get("fps") != contract.rates_hz.frame:
        raise DatasetError(
            "the dataset has another frame rate than the contract",
            where=root,
            expected=contract.rates_hz.frame,
            found=info.get("fps"),
            remedy="convert the bags again",
        )
    for camera, image in images.items():
        feature = features.get(contract.cameras[camera].key, {})
        shape = [image.source[1], image.source[0], 3]
        if feature.get("dtype") != "video" or list(feature.get("shape", ())) != shape:
            raise DatasetError(
                f"the dataset lacks {camera} as a video of the expected size",
                where=root,
                expected={"dtype": "video", "shape": shape},
                found=feature or f"features {sorted(features)}",
                remedy="convert bags that hold this camera, or train with another one",
            )


def _table(root: Path, dof: int) -> dict[str, NDArray[Any]]:
    """The columns of all data files, in order of the files; vectors as float64 (N, dof)."""
    wanted = [keys.STATE, keys.ACTION, "episode_index", "timestamp"]
    files = sorted((root / "data").rglob("*.parquet"))
    table = pa.concat_tables([pq.read_table(file, columns=wanted) for file in files])
    flat = {name: table[name].combine_chunks() for name in wanted}
    return {
        **{k: flat[k].flatten().to_numpy().reshape(-1, dof).astype(np.float64) for k in wanted[:2]},
        **{k: flat[k].to_numpy() for k in wanted[2:]},
    }


def _check_numbers(
    state: NDArray[np.float64], action: NDArray[np.float64], owner: NDArray[np.int64], root: Path
) -> None:
    finite = np.isfinite(state).all() and np.isfinite(action).all()
    if len(owner) == 0 or not finite or (np.diff(owner) < 0).any():
        raise DatasetError(
            "the dataset has no frames, values that are not finite, or unsorted episodes",
            where=root,
            found=f"{len(owner)} frames, finite: {bool(finite)}",
            remedy="convert the bags again",
        )


def _check_complete(opened: Opened, episodes: NDArray[np.int64], frames: int) -> None:
    """Compares what the metadata promise with what the data files hold."""
    promised = opened.info["total_frames"]
    if promised != frames or episodes.tolist() != list(range(len(opened.rows))):
        raise DatasetError(
            "the dataset is not complete",
            where=opened.root,
            expected=f"{len(opened.rows)} episodes, {promised} frames",
            found=f"{len(episodes)} episodes, {frames} frames",
            remedy="convert the bags again, or copy the dataset again",
        )


def only_task(told: Iterable[Any], episode: int) -> str:
    """The one instruction of an episode.

    Raises:
        DatasetError: There is none, several, or an empty one.
    """
    tasks = list(told)
    if len(tasks) != 1 or not str(tasks[0]).strip():
        raise DatasetError(
            "an episode has not exactly one instruction",
            where=f"episode {episode}",
            expected="one non-empty task text",
            found=tasks,
            remedy="convert the bags again; every bag needs its instruction",
        )
    return str(tasks[0])
