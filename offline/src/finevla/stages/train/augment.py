"""Augmentation: how strongly a sample is changed, and the numbers drawn for one batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from finevla.errors import PolicyError

_HALF_RANGE = 127.5
"""Gray levels of a picture per unit of the policy's input."""


class Shake(NamedTuple):
    """The augmentation of a batch, one row per sample.

    `shift` (B, 2) rows and columns, px; `noise` (B, dof) in normalised units; `gain` (B, 1, 1, 1, 1)
    and `tint` (B, 1, 3, 1, 1) for pictures in [-1, 1]; `mirror` (B,) whether to mirror if possible.
    """

    shift: NDArray[np.int64]
    noise: NDArray[np.float32]
    gain: NDArray[np.float32]
    tint: NDArray[np.float32]
    mirror: NDArray[np.bool_]

    def part(self, rows: slice) -> Shake:
        """The augmentation of some samples of the batch."""
        return Shake(self.shift[rows], self.noise[rows], self.gain[rows], self.tint[rows], self.mirror[rows])

    def rolled(self, pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Pictures (B, cameras, H, W, 3), each sample shifted, its cameras alike; edges wrap around."""
        rolled = np.empty_like(pictures)
        for shift in np.unique(self.shift, axis=0):
            same = (self.shift == shift).all(axis=1)
            rolled[same] = np.roll(pictures[same], tuple(shift), axis=(2, 3))
        return rolled


@dataclass(frozen=True, slots=True)
class Augment:
    """Strengths of the augmentation; zero turns a kind off.

    Args:
        brightness: Standard deviation of the factor on a picture's brightness.
        tint: Largest shift of each color channel, gray levels.
        roll_px: Largest shift of a picture along each axis, px.
        state_noise: Standard deviation of noise on the normalised state.
        mirror: Probability of the left-right mirror image, where a sample has one.

    Raises:
        PolicyError: A strength is negative or not finite, or a probability above 1.
    """

    brightness: float = 0.15
    tint: float = 8.0
    roll_px: int = 1
    state_noise: float = 0.01
    mirror: float = 0.0

    def __post_init__(self) -> None:
        """Refuses strengths that mean nothing."""
        values = {name: getattr(self, name) for name in self.__slots__}
        wrong = {name: value for name, value in values.items() if not 0 <= value < float("inf")}
        if wrong or self.mirror > 1.0:
            raise PolicyError(
                "a strength of the augmentation is impossible",
                where=", ".join(wrong) or "mirror",
                expected="numbers of at least 0, and at most 1 for mirror",
                found=wrong or self.mirror,
                remedy="give 0 to turn a kind of augmentation off",
            )

    def draw(self, rng: np.random.Generator, size: int, dof: int) -> Shake:
        """The augmentation of a batch of `size` samples with `dof` joints; nothing else is drawn."""
        shift = rng.integers(-self.roll_px, self.roll_px + 1, (size, 2))
        noise = rng.normal(0.0, self.state_noise, (size, dof)).astype(np.float32)
        gain = rng.normal(1.0, self.brightness, (size, 1, 1, 1, 1)).astype(np.float32)
        limit = self.tint / _HALF_RANGE
        tint = rng.uniform(-limit, limit, (size, 1, 3, 1, 1)).astype(np.float32)
        return Shake(shift, noise, gain, tint, rng.random(size) < self.mirror)
