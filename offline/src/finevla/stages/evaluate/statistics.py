"""Means that carry their n and interval, resampling over pairs, and the test of discordant pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import comb

import numpy as np
from numpy.typing import NDArray

from finevla.errors import FineVLAError
from finevla.sim.scene import seeded

RESAMPLES = 10_000
METHOD = (
    f"percentile bootstrap over pairs, {RESAMPLES} resamples, seeded: the pairs of a row are drawn with "
    "replacement, the mean is taken, and the 2.5th and 97.5th percentile of these means are the bounds"
)
_CHUNK = 1_000

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Measured:
    """A mean that cannot be shown without its interval and its number of trials.

    Attributes:
        mean: In the unit in which it is shown.
        low: Lower bound of the 95 % interval.
        high: Upper bound.
        n: Number of trials.

    Raises:
        FineVLAError: There are no trials: such a mean does not exist.
    """

    mean: float
    low: float
    high: float
    n: int

    def __post_init__(self) -> None:
        """Refuses a mean of nothing."""
        if self.n < 1 or not np.isfinite([self.mean, self.low, self.high]).all():
            raise FineVLAError(
                "a mean without trials is not shown",
                expected="n of 1 or more",
                found=f"n={self.n}, mean {self.mean}",
                remedy="run at least one pair of every row",
            )

    def __str__(self) -> str:
        """`mean [low, high] n=..`, one decimal."""
        return f"{self.mean:.1f} [{self.low:.1f}, {self.high:.1f}] n={self.n}"


def share_of(share: float, interval: Sequence[float], n: int) -> Measured:
    """A share of 0 to 1 with its interval, in percent."""
    low, high = interval
    return Measured(100.0 * share, 100.0 * low, 100.0 * high, n)


def resampled_means(samples: FloatArray, *seed: object) -> FloatArray:
    """Means of `RESAMPLES` draws with replacement, shape (RESAMPLES, k).

    Args:
        samples: One row per pair, shape (n, k): all measures of a pair are drawn together.
        seed: Decides the draws.

    Raises:
        FineVLAError: There are no pairs.
    """
    n = len(samples)
    if n < 1:
        raise FineVLAError("there are no pairs to draw from", expected="one or more", found=n)
    rng = seeded("bootstrap", *seed)
    means = [samples[rng.integers(n, size=(_CHUNK, n))].mean(axis=1) for _ in range(RESAMPLES // _CHUNK)]
    return np.concatenate(means)


def bounds(means: FloatArray) -> list[float]:
    """The central 95 % of resampled means, shape (RESAMPLES,)."""
    low, high = np.quantile(means, [0.025, 0.975])
    return [float(low), float(high)]


def mcnemar(first_only: int, second_only: int) -> float:
    """Exact two-sided p value of McNemar's test.

    Where both conditions are alike, a discordant pair falls on either side with probability 1/2. The p
    value is twice the binomial probability of a split at least as uneven, at most 1.

    Args:
        first_only: Pairs in which only the first condition holds.
        second_only: Pairs in which only the second one does.
    """
    discordant, fewer = first_only + second_only, min(first_only, second_only)
    tail = sum(comb(discordant, i) for i in range(fewer + 1))
    return min(1.0, 2.0 * float(Fraction(tail, 2**discordant)))
