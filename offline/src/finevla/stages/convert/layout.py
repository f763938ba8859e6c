"""What both formats of LeRobot have in common: features, columns, statistics, language files."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from finevla.contract import keys
from finevla.contract.instruction import Level
from finevla.contract.robot import CameraSpec, RobotContract
from finevla.stages.convert.stats import Stats, of_histogram, of_rows
from finevla.stages.convert.video import VideoSettings
from finevla.stages.convert.work import Converted
from finevla.stages.report import write_json, write_jsonl

CHUNK = 1000
"""Files per chunk folder, as in LeRobot."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """Episodes on their way into a folder."""

    contract: RobotContract
    episodes: Sequence[Converted]
    settings: VideoSettings
    camera_names: tuple[str, ...]

    @property
    def cameras(self) -> dict[str, CameraSpec]:
        """The cameras of the dataset, by name."""
        return {name: self.contract.cameras[name] for name in self.camera_names}

    @property
    def fps(self) -> int:
        """Frames per second."""
        return round(self.contract.rates_hz.frame)

    @property
    def frames(self) -> int:
        """Number of frames in all."""
        return sum(episode.length for episode in self.episodes)

    @property
    def tasks(self) -> list[str]:
        """Instruction texts in order of appearance, each once; the place is the task index."""
        return list(dict.fromkeys(episode.task for episode in self.episodes))

    @property
    def starts(self) -> list[int]:
        """Index of the first frame of every episode."""
        return [0, *np.cumsum([episode.length for episode in self.episodes])[:-1].tolist()]

    def digest(self) -> str:
        """SHA-256 over contract, rate and all episodes in order: equal content, equal hash, either format."""
        sha = hashlib.sha256(f"{self.contract.hash} {self.fps}\n".encode())
        for episode in self.episodes:
            sha.update(f"{episode.digest}\n".encode())
        return sha.hexdigest()

    def language_digest(self) -> str:
        """SHA-256 over all descriptions in order; frames, actions and instructions have the other hash."""
        sha = hashlib.sha256()
        for episode in self.episodes:
            sha.update((episode.language.text() if episode.language is not None else "none").encode())
        return sha.hexdigest()


def features(dataset: Dataset) -> dict[str, Any]:
    """The `features` of `info.json`."""
    contract = dataset.contract
    vector = {"dtype": "float32", "shape": [contract.dof], "names": list(contract.joint_names)}
    table: dict[str, Any] = {keys.STATE: vector, keys.ACTION: vector}
    for camera in dataset.cameras.values():
        table[camera.key] = {
            "dtype": "video",
            "shape": [camera.height, camera.width, 3],
            "names": ["height", "width", "channels"],
            "info": dataset.settings.info(camera.width, camera.height, dataset.fps),
        }
    table["timestamp"] = {"dtype": "float32", "shape": [1], "names": None}
    for key in ("frame_index", "episode_index", "index", "task_index"):
        table[key] = {"dtype": "int64", "shape": [1], "names": None}
    return table


def columns(dataset: Dataset, number: int) -> dict[str, NDArray[Any]]:
    """The numeric columns of one episode."""
    episode = dataset.episodes[number]
    n = episode.length
    frame = np.arange(n, dtype=np.int64)
    return {
        keys.STATE: episode.state,
        keys.ACTION: episode.action,
        "timestamp": (frame / dataset.fps).astype(np.float32),
        "frame_index": frame,
        "episode_index": np.full(n, number, dtype=np.int64),
        "index": dataset.starts[number] + frame,
        "task_index": np.full(n, dataset.tasks.index(episode.task), dtype=np.int64),
    }


def table(data: dict[str, NDArray[Any]]) -> Any:
    """Columns as an Arrow table; vectors become lists of fixed length."""
    arrays = {}
    for key, values in data.items():
        flat = pa.array(values.reshape(-1))
        arrays[key] = flat if values.ndim == 1 else pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
    return pa.table(arrays)


def episode_stats(dataset: Dataset, number: int) -> dict[str, Stats]:
    """Statistics of every feature of one episode."""
    episode = dataset.episodes[number]
    images = {camera.key: of_histogram(episode.histograms[name]) for name, camera in dataset.cameras.items()}
    return {**{key: of_rows(values) for key, values in columns(dataset, number).items()}, **images}


def dataset_stats(dataset: Dataset) -> dict[str, Stats]:
    """Statistics of every feature over the whole dataset, computed from all frames."""
    parts = [columns(dataset, number) for number in range(len(dataset.episodes))]
    numbers = {key: of_rows(np.concatenate([part[key] for part in parts])) for key in parts[0]}
    images = {
        camera.key: of_histogram(np.sum([e.histograms[name] for e in dataset.episodes], axis=0))
        for name, camera in dataset.cameras.items()
    }
    return {**numbers, **images}


def info(dataset: Dataset, version: str) -> dict[str, Any]:
    """The part of `info.json` that both formats share."""
    return {
        "codebase_version": version,
        "robot_type": dataset.contract.name,
        "total_episodes": len(dataset.episodes),
        "total_frames": dataset.frames,
        "total_tasks": len(dataset.tasks),
        "chunks_size": CHUNK,
        "fps": dataset.fps,
        "splits": {"train": f"0:{len(dataset.episodes)}"},
        "features": features(dataset),
    }


def write_language(dataset: Dataset, folder: Path) -> None:
    """Writes `meta/finevla.json` and FineVLA's `meta/FineGrainedInstruction.jsonl`.

    The latter has a line for every episode whose instruction fixes an element of its execution;
    an episode without fine-grained text has none, because nothing is made up. Where the bag came with a
    fine-grained description, the line holds its steps; else it holds the instruction.
    """
    fine = [
        {"episode_id": number, "FineGrainedInstruction": _fine_grained(episode)}
        for number, episode in enumerate(dataset.episodes)
        if episode.level is Level.FINE or episode.language is not None
    ]
    write_jsonl(folder / "meta" / "FineGrainedInstruction.jsonl", fine)
    provenance = {
        "format_version": 1,
        "dataset_hash": dataset.digest(),
        "contract_hash": dataset.contract.hash,
        "contract": dataset.contract.document,
        "fine_grained_episodes": len(fine),
        "described_episodes": sum(episode.language is not None for episode in dataset.episodes),
        "language_hash": dataset.language_digest(),
        "episodes": [_provenance(number, episode) for number, episode in enumerate(dataset.episodes)],
    }
    write_json(folder / "meta" / "finevla.json", provenance)


def _fine_grained(episode: Converted) -> list[str]:
    return [episode.task] if episode.language is None else list(episode.language.steps)


def _provenance(number: int, episode: Converted) -> dict[str, Any]:
    return {
        "episode_index": number,
        "bag": episode.bag,
        "hash": episode.digest,
        "instruction": episode.task,
        "level": episode.level.value,
        "raw": episode.language.raw if episode.language is not None else None,
        "dimensions": [
            {"dimension": v.dimension.value, "slot": v.slot, "value": v.value} for v in episode.dimensions
        ],
        "outcome": episode.outcome,
        "operator": episode.operator,
        "source": episode.source,
        "start_ns": episode.start_ns,
        "frames": episode.length,
        "dropped": episode.dropped,
        "surplus": episode.surplus,
    }
