"""What follows from dataset and flags: the split, statistics, texts, and where batches come from."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finevla.contract.mirror import Mirror
from finevla.contract.robot import RobotContract
from finevla.contract.transforms import Chain, JointStatistics, Normalize
from finevla.policy.text import TextCodec
from finevla.stages.train.batches import BatchSource, training_texts
from finevla.stages.train.data import FrameCache
from finevla.stages.train.manifest import Manifest, build_manifest
from finevla.stages.train.places import next_places
from finevla.stages.train.record import dimensions_of, plain_fields
from finevla.stages.train.spec import TrainSpec
from finevla.stages.train.split import split_episodes

_STD_FLOOR_RAD = 0.08
_STD_FLOOR_SHARE = 0.08
"""Floor of a gripper's spread as a share of its stroke, the counterpart of the floor in rad."""


class Plan:
    """What follows from dataset and flags: split, statistics, texts."""

    def __init__(self, spec: TrainSpec, contract: RobotContract, cache: FrameCache) -> None:
        self._spec, self.cache = spec, cache
        both = tuple(f"{fine} {raw}" for fine, raw in zip(cache.fine, cache.raw, strict=True))
        self.training, self.validation = split_episodes(both, spec.validation_episodes, spec.schedule.seed)
        self.frames = cache.frames_of(self.training)
        self.mirror = Mirror(contract, spec.mirror_without) if spec.augment.mirror > 0 else None
        self.state, self.action = (
            normalization(self._seen(rows[self.frames]), contract) for rows in (cache.state, cache.action)
        )
        self.texts = training_texts(cache, self.training, self.mirror)
        self._contract = contract

    def _seen(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        return rows if self.mirror is None else np.concatenate([rows, self.mirror.joints(rows)])

    def source(self, codec: TextCodec) -> BatchSource:
        """Where batches come from."""
        spec = self._spec
        return BatchSource(
            self.cache,
            codec,
            self.state,
            self.action,
            self._contract.horizon,
            spec.rest_steps,
            spec.mix,
            spec.mix_mode,
            self.mirror,
            augment=spec.augment,
            balance=spec.balance,
            places=self._places(),
        )

    def _places(self) -> NDArray[np.float64] | None:
        """Where the hand acts next, per frame, in the first picture; None where words are not grounded."""
        cache, workspace = self.cache, self._spec.workspace
        if workspace is None:
            return None
        spans = (slice(*span) for span in pairwise(cache.starts.tolist()))
        return np.concatenate(
            [workspace.on_picture(next_places(cache.action[span], self._contract)) for span in spans]
        )

    def manifest(self, source: BatchSource) -> Manifest:
        """What the run will train on."""
        schedule = self._spec.schedule
        return build_manifest(
            source,
            self.frames,
            training=self.training,
            validation=self.validation,
            statistics={"state": self.state.to_json(), "action": self.action.to_json()},
            steps=schedule.steps,
            batch_size=schedule.batch_size,
            seed=schedule.seed,
        )

    def document(self) -> dict[str, Any]:
        """The part of run.json that says what was trained on and how."""
        spec, cache = self._spec, self.cache
        return {
            "images": {name: image.to_json() for name, image in spec.images.items()},
            "dimensions": dimensions_of(self.texts),
            "state": self.state.to_json(),
            "action": self.action.to_json(),
            "validation": self.validation.tolist(),
            "mix": spec.mix.name,
            "mix_mode": spec.mix_mode,
            "balance": spec.balance,
            "augment": plain_fields(spec.augment),
            "mirror_without": list(spec.mirror_without),
            "workspace": None if spec.workspace is None else plain_fields(spec.workspace),
            "schedule": plain_fields(spec.schedule),
            "rest_steps": spec.rest_steps,
            "threads": spec.threads,
            "precision": spec.precision,
            "compiled": spec.compiled,
            "dataset_hash": cache.dataset_hash,
            "episodes": cache.episodes,
            "frames": len(cache.state),
        }


def normalization(rows: NDArray[np.float64], contract: RobotContract) -> Chain:
    """Normalization by the statistics of `rows` (N, dof); the spread has a floor per joint."""
    floors = np.full(contract.dof, _STD_FLOOR_RAD)
    for index in contract.grippers.values():
        floors[index] = _STD_FLOOR_SHARE * (contract.upper[index] - contract.lower[index])
    statistics = JointStatistics.of(contract.joint_names, rows)
    return Chain((Normalize(statistics, tuple(float(v) for v in floors)),))
