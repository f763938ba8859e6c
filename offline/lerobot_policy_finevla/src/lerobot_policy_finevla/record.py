"""What a LeRobot dataset says in words: the texts of every episode, and its identity."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from finevla.errors import DatasetError
from finevla.stages.train.source import only_task
from finevla.stages.train.texts import read_texts

RECORD = Path("meta") / "finevla.json"
"""What `finevla convert` leaves beside a dataset."""


@dataclass(frozen=True)
class Record:
    """One entry per episode in the texts, empty where an episode has no such text.

    Args:
        tasks: The instruction that LeRobot gives with every frame.
        fine: Fine-grained text.
        raw: Raw text, the goal only.
        dataset_hash: Identity of the data.
        contract_hash: Robot contract that it was recorded with; empty for a dataset of another origin.
    """

    tasks: tuple[str, ...]
    fine: tuple[str, ...]
    raw: tuple[str, ...]
    dataset_hash: str
    contract_hash: str = ""

    @property
    def texts(self) -> tuple[str, ...]:
        """All texts, each once, sorted."""
        return tuple(sorted({*self.tasks, *self.fine, *self.raw} - {""}))


def read_record(meta: Any) -> Record:
    """The record of a dataset.

    Args:
        meta: `LeRobotDatasetMetadata`.

    Raises:
        DatasetError: A file is damaged, or an episode has not exactly one instruction.
    """
    tasks = {
        episode: only_task(meta.episodes[episode]["tasks"], episode) for episode in range(meta.total_episodes)
    }
    document = _converter_record(Path(meta.root))
    texts = read_texts(Path(meta.root), tasks, document)
    told = document or {"dataset_hash": _hash(meta, tasks), "contract_hash": ""}
    return Record(
        tuple(tasks.values()), texts.fine, texts.raw, str(told["dataset_hash"]), str(told["contract_hash"])
    )


def _converter_record(root: Path) -> dict[str, Any] | None:
    path = root / RECORD
    if not path.is_file():
        return None
    try:
        document = json.loads(path.read_text())
        lacking = {"dataset_hash", "contract_hash", "episodes"} - set(document)
    except (OSError, ValueError, TypeError) as err:
        document, lacking = None, {repr(err)}
    if document is None or lacking:
        raise DatasetError(
            "the record of the converter cannot be read",
            where=path,
            expected="the file that `finevla convert` wrote",
            found=f"without {sorted(lacking)}",
            remedy="convert the bags again",
        )
    return dict(document)


def _hash(meta: Any, tasks: dict[int, str]) -> str:
    """SHA-256 over description, statistics and tasks, for data that no converter of ours hashed."""
    stats = {k: {n: np.asarray(v).tolist() for n, v in part.items()} for k, part in meta.stats.items()}
    document = [meta.features, meta.total_frames, meta.total_episodes, stats, tasks]
    return hashlib.sha256(json.dumps(document, sort_keys=True, default=str).encode()).hexdigest()
