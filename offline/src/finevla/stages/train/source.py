"""LeRobot datasets on disk, v3.0 and v2.1, read natively: numbers, tasks, and where each frame is.

v3.0 keeps many episodes in one file and says in `meta/episodes` where each begins; v2.1 keeps one
file per episode and names it after the episode.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
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
from finevla.errors import DatasetError

FORMATS = ("v3.0", "v2.1")


@dataclass(frozen=True, slots=True)
class Clip:
    """The video of one camera of one episode: a file, and the time in it at which the episode begins, s."""

    path: Path
    start_s: float


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
    clips: Mapping[str, tuple[Clip, ...]]

    @property
    def videos(self) -> tuple[Path, ...]:
        """All video files, each once, in order."""
        return tuple(dict.fromkeys(clip.path for clips in self.clips.values() for clip in clips))


def open_source(root: Path, contract: RobotContract, images: Mapping[str, WorkspaceCrop]) -> Source:
    """Reads everything but the pictures.

    Raises:
        DatasetError: It is missing, incomplete, of another format, robot, rate or camera set.
    """
    info = _info(root)
    _check_info(info, contract, images, root)
    try:
        table = _table(root, len(contract.joint_names))
        rows = _episodes(root, info["codebase_version"])
        cameras = {name: contract.cameras[name].key for name in images}
        clips = {name: _clips(root, info, rows, key) for name, key in cameras.items()}
    except (OSError, KeyError, ValueError, TypeError, pa.ArrowException) as err:
        raise DatasetError(
            "the dataset cannot be read",
            where=root,
            expected=f"a complete dataset of LeRobot {info['codebase_version']}",
            found=repr(err),
            remedy="convert the bags again; an interrupted conversion leaves no dataset",
        ) from err
    owner = np.asarray(table["episode_index"], dtype=np.int64)
    state, action = table[keys.STATE], table[keys.ACTION]
    _check_numbers(state, action, owner, root)
    episodes, first = np.unique(owner, return_index=True)
    _check_complete(info, rows, episodes, len(owner), root)
    return Source(
        root=root,
        fps=float(info["fps"]),
        state=state,
        action=action,
        stamps=np.asarray(table["timestamp"], dtype=np.float64),
        starts=np.append(first, len(owner)).astype(np.int64),
        tasks={number: only_task(row.get("tasks", ()), number) for number, row in rows.items()},
        clips=clips,
    )


def _info(root: Path) -> dict[str, Any]:
    try:
        info: dict[str, Any] = json.loads((root / "meta" / "info.json").read_text())
    except (OSError, ValueError) as err:
        raise DatasetError(
            "this is not a LeRobot dataset",
            where=root,
            expected="a directory with meta/info.json",
            found=err,
            remedy="give the directory that `finevla convert` wrote",
        ) from err
    if info.get("codebase_version") not in FORMATS:
        raise DatasetError(
            "the dataset has another format",
            where=root,
            expected=" or ".join(FORMATS),
            found=info.get("codebase_version"),
            remedy="convert the bags again, or the dataset with LeRobot's own converter",
        )
    return info


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


def _episodes(root: Path, version: str) -> dict[int, dict[str, Any]]:
    """What the metadata says of each episode, by number, in order."""
    meta = root / "meta"
    rows: Sequence[dict[str, Any]]
    if version == "v2.1":
        rows = [json.loads(line) for line in (meta / "episodes.jsonl").read_text().splitlines()]
    else:
        files = sorted((meta / "episodes").rglob("*.parquet"))
        names = [n for n in pq.read_schema(files[0]).names if not n.startswith("stats/")] if files else []
        rows = [row for file in files for row in pq.read_table(file, columns=names).to_pylist()]
    return {int(row["episode_index"]): row for row in sorted(rows, key=lambda row: row["episode_index"])}


def _clips(
    root: Path, info: Mapping[str, Any], rows: Mapping[int, Mapping[str, Any]], key: str
) -> tuple[Clip, ...]:
    """Where the pictures of one camera are, per episode."""
    clips: list[Clip] = []
    for number, row in rows.items():
        if info["codebase_version"] == "v2.1":
            place = {"episode_chunk": number // int(info["chunks_size"]), "episode_index": number}
            start = 0.0
        else:
            place = {k: int(row[f"videos/{key}/{k}"]) for k in ("chunk_index", "file_index")}
            start = float(row[f"videos/{key}/from_timestamp"])
        clips.append(Clip(root / info["video_path"].format(video_key=key, **place), start))
    missing = [str(path) for path in dict.fromkeys(c.path for c in clips) if not path.is_file()]
    if missing:
        raise FileNotFoundError(f"{len(missing)} videos, the first is {missing[0]}")
    return tuple(clips)


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


def _check_complete(
    info: Mapping[str, Any],
    rows: Mapping[int, Any],
    episodes: NDArray[np.int64],
    frames: int,
    root: Path,
) -> None:
    """Compares what the metadata promises with what the data files hold."""
    promised = (info.get("total_episodes"), info.get("total_frames"), sorted(rows))
    found = (len(episodes), frames, episodes.tolist())
    if promised != found:
        raise DatasetError(
            "the dataset is not complete",
            where=root,
            expected=f"{promised[0]} episodes, {promised[1]} frames",
            found=f"{found[0]} episodes in the data and {len(rows)} in the metadata, {frames} frames",
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
