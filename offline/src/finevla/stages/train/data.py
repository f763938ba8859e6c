"""A LeRobot v3.0 dataset as arrays in memory: cropped pictures, joints, texts.

Every frame is decoded once, through the same image transform that the live node runs; what stays
in memory is 12 kB per frame and camera.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finevla.contract import keys
from finevla.contract.images import WorkspaceCrop
from finevla.contract.robot import RobotContract, difference
from finevla.errors import DatasetError

OnEpisode = Callable[[int, int], None]
"""Called with the episodes read so far and their number."""


@dataclass(frozen=True)
class FrameCache:
    """All frames of a dataset.

    Args:
        pictures: (N, cameras, height, width, 3) uint8.
        state: Measured joints (N, dof), rad and m.
        action: Commanded joints (N, dof), rad and m.
        starts: First frame of each episode and, last, N; shape (episodes + 1,).
        texts: Instruction of each episode.
        dataset_hash: Identity of the data.
    """

    pictures: NDArray[np.uint8]
    state: NDArray[np.float64]
    action: NDArray[np.float64]
    starts: NDArray[np.int64]
    texts: tuple[str, ...]
    dataset_hash: str

    @property
    def episodes(self) -> int:
        """Number of episodes."""
        return len(self.texts)

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
    root: Path, contract: RobotContract, images: Mapping[str, WorkspaceCrop], on_episode: OnEpisode
) -> FrameCache:
    """Reads a dataset that was recorded with this robot.

    Raises:
        DatasetError: It is missing, of another format, robot, rate or camera set, or has no frames.
    """
    root = Path(root)
    info = _info(root)
    _check_info(info, contract, images, root)
    recorded = _our_record(root, contract)
    dataset = _open(root)
    columns = dataset.hf_dataset.select_columns([keys.STATE, keys.ACTION, "episode_index", "timestamp"])
    table = columns.with_format("numpy")[:]
    state, action = (np.asarray(table[k], dtype=np.float64) for k in (keys.STATE, keys.ACTION))
    owner = np.asarray(table["episode_index"], dtype=np.int64)
    _check_numbers(state, action, owner, root)
    episodes, first = np.unique(owner, return_index=True)
    starts = np.append(first, len(owner)).astype(np.int64)
    pictures = np.empty((len(owner), len(images), *_picture_shape(images)), np.uint8)
    texts: list[str] = []
    for row, episode in enumerate(episodes):
        span = slice(int(starts[row]), int(starts[row + 1]))
        stamps = [float(t) for t in table["timestamp"][span]]
        for column, (camera, transform) in enumerate(images.items()):
            decoded = _decode(dataset, int(episode), contract.cameras[camera].key, stamps)
            pictures[span, column] = [transform(picture) for picture in decoded]
        texts.append(_text(dataset, int(episode)))
        on_episode(row + 1, len(episodes))
    digest = recorded or _content_hash(pictures, state, action, texts)
    return FrameCache(pictures, state, action, starts, tuple(texts), digest)


def _picture_shape(images: Mapping[str, WorkspaceCrop]) -> tuple[int, int, int]:
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
    if info.get("codebase_version") != "v3.0":
        raise DatasetError(
            "the dataset has another format",
            where=root,
            expected="v3.0",
            found=info.get("codebase_version"),
            remedy="convert the bags with --format v3.0",
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


def _our_record(root: Path, contract: RobotContract) -> str:
    """Hash that our converter left; empty for a dataset of another origin."""
    path = root / "meta" / "finevla.json"
    if not path.is_file():
        return ""
    record = json.loads(path.read_text())
    if record["contract_hash"] != contract.hash:
        raise DatasetError(
            "the dataset was recorded with another robot contract",
            where=path,
            expected=contract.hash,
            found="\n    ".join(["robot != dataset:", *difference(contract.document, record["contract"])]),
            remedy="record and convert again, or use the contract that it was recorded with",
        )
    return str(record["dataset_hash"])


def _open(root: Path) -> Any:
    """Opens the dataset with LeRobot's own class, from disk only."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    try:
        return LeRobotDataset(f"local/{root.resolve().name}", root=root, return_uint8=True)
    except (OSError, ValueError, KeyError, RuntimeError) as err:
        raise DatasetError(
            "LeRobot cannot open the dataset",
            where=root,
            found=err,
            remedy="convert the bags again; an interrupted conversion leaves no dataset",
        ) from err


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


def _decode(dataset: Any, episode: int, key: str, stamps: list[float]) -> NDArray[np.uint8]:
    """Pictures (T, height, width, 3) of one camera of one episode."""
    from lerobot.datasets.video_utils import decode_video_frames

    meta = dataset.meta
    offset = float(meta.episodes[episode][f"videos/{key}/from_timestamp"])
    path = Path(dataset.root) / meta.get_video_file_path(episode, key)
    frames = decode_video_frames(
        path, [offset + t for t in stamps], tolerance_s=1.0 / (4 * meta.fps), return_uint8=True
    )
    decoded: NDArray[np.uint8] = frames.movedim(1, -1).contiguous().numpy()
    return decoded


def _text(dataset: Any, episode: int) -> str:
    tasks = list(dataset.meta.episodes[episode]["tasks"])
    if len(tasks) != 1 or not str(tasks[0]).strip():
        raise DatasetError(
            "an episode has not exactly one instruction",
            where=f"episode {episode}",
            expected="one non-empty task text",
            found=tasks,
            remedy="convert the bags again; every bag needs its instruction",
        )
    return str(tasks[0])


def _content_hash(
    pictures: NDArray[np.uint8], state: NDArray[np.float64], action: NDArray[np.float64], texts: list[str]
) -> str:
    digest = hashlib.sha256(json.dumps(texts).encode())
    for array in (pictures, state, action):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
