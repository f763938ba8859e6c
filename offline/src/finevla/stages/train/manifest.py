"""What a run trained on, as one hash: equal hashes mean the same episodes, frames and actions.

The manifest holds no pictures and no words: only the identity of the data, the split, the
statistics and the frames of every step. In strict mode it is the same for every mix, which is the
proof that the settings of a sweep differ in language only.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finevla.contract.robot import document_hash
from finevla.stages.train.batches import BatchSource

FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class Manifest:
    """The document and its hash."""

    document: Mapping[str, Any]

    @property
    def hash(self) -> str:
        """SHA-256 of the document in canonical JSON."""
        return document_hash(self.document)


def build_manifest(
    source: BatchSource,
    frames: NDArray[np.int64],
    *,
    training: NDArray[np.int64],
    validation: NDArray[np.int64],
    statistics: Mapping[str, Any],
    steps: int,
    batch_size: int,
    seed: int,
) -> Manifest:
    """Draws the frames of all steps, without pictures, and hashes them.

    Args:
        source: What the run takes its batches from.
        frames: Frames to draw from.
        training: Episodes to train on.
        validation: Episodes kept for validation.
        statistics: Normalization of state and action as JSON.
        steps: Updates of the run.
        batch_size: Samples per update over all ranks.
        seed: Of the run.
    """
    draws = hashlib.sha256()
    for step in range(steps):
        chosen = source.drawn(frames, batch_size, seed, step).frames
        draws.update(np.concatenate([[step], chosen]).astype("<i8").tobytes())
    cache = source.cache
    return Manifest(
        {
            "format_version": FORMAT_VERSION,
            "dataset_hash": cache.dataset_hash,
            "joints": _sha256(cache.state, cache.action, cache.starts),
            "split": {"training": training.tolist(), "validation": validation.tolist()},
            "statistics": document_hash(statistics),
            "targets": {"horizon": source.horizon, "rest_steps": source.rest_steps},
            "augment": dataclasses.asdict(source.augment),
            "mix_mode": source.mix_mode,
            "balance": source.balance,
            "steps": steps,
            "batch_size": batch_size,
            "seed": seed,
            "draws": draws.hexdigest(),
        }
    )


def _sha256(*arrays: NDArray[Any]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        digest.update(f"{little.shape} {little.dtype.str}\n".encode())
        digest.update(little.tobytes())
    return digest.hexdigest()
