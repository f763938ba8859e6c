"""Batches: drawn and augmented as a function of seed and step only, so that resuming is exact."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from finevla.contract.transforms import Transform
from finevla.policy.compact import Inputs
from finevla.policy.inference import pictures_to_tensor
from finevla.policy.text import Vocabulary
from finevla.stages.train.data import FrameCache

_BRIGHTNESS = 0.15
_TINT = 8.0 / 127.5
_STATE_NOISE = 0.01
_ROLL = 1


class Batch(NamedTuple):
    """Inputs, normalised targets (B, H, dof) and which of them count (B, H)."""

    inputs: Inputs
    target: Tensor
    valid: Tensor


class BatchSource:
    """Makes batches out of a frame cache."""

    def __init__(
        self,
        cache: FrameCache,
        vocabulary: Vocabulary,
        state: Transform,
        action: Transform,
        horizon: int,
        rest_steps: int,
    ) -> None:
        """Encodes texts and joints once."""
        self._cache, self._action = cache, action
        self._horizon, self._rest_steps = horizon, rest_steps
        self._words = np.stack([vocabulary.encode(text) for text in cache.texts])
        self._state = state.apply(cache.state).astype(np.float32)

    def exact(self, frames: NDArray[np.int64]) -> Batch:
        """These frames as they are."""
        return self._batch(frames, self._cache.pictures[frames], self._state[frames])

    def draw(self, frames: NDArray[np.int64], size: int, seed: int, step: int) -> Batch:
        """`size` random frames out of `frames`, augmented; the same for the same seed and step."""
        rng = np.random.default_rng([seed, 2, step])
        chosen = rng.choice(frames, size)
        pictures = _rolled(self._cache.pictures[chosen], rng)
        state = self._state[chosen]
        noise = rng.normal(0.0, _STATE_NOISE, state.shape).astype(np.float32)
        batch = self._batch(chosen, pictures, state + noise)
        return batch._replace(
            inputs=batch.inputs._replace(pictures=_recolored(batch.inputs.pictures, rng)),
        )

    def _batch(
        self, frames: NDArray[np.int64], pictures: NDArray[np.uint8], state: NDArray[np.float32]
    ) -> Batch:
        targets, valid = self._cache.chunks(frames, self._horizon, self._rest_steps)
        words = self._words[self._cache.episode_of(frames)]
        inputs = Inputs(pictures_to_tensor(pictures), torch.from_numpy(words), torch.from_numpy(state))
        normalized = torch.from_numpy(self._action.apply(targets).astype(np.float32))
        return Batch(inputs, normalized, torch.from_numpy(valid))


def _rolled(pictures: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Each sample shifted by up to one pixel, all its cameras alike; edges wrap around."""
    shifts = rng.integers(-_ROLL, _ROLL + 1, (len(pictures), 2))
    rolled = [np.roll(p, tuple(s), axis=(1, 2)) for p, s in zip(pictures, shifts, strict=True)]
    return np.stack(rolled)


def _recolored(pictures_bc3hw: Tensor, rng: np.random.Generator) -> Tensor:
    """Brightness around black, then a tint, per sample; values stay in [-1, 1]."""
    count = len(pictures_bc3hw)
    gain = torch.from_numpy(rng.normal(1.0, _BRIGHTNESS, (count, 1, 1, 1, 1)).astype(np.float32))
    tint = torch.from_numpy(rng.uniform(-_TINT, _TINT, (count, 1, 3, 1, 1)).astype(np.float32))
    return ((pictures_bc3hw + 1.0) * gain - 1.0 + tint).clamp_(-1.0, 1.0)
