"""Confidence intervals of proportions."""

from __future__ import annotations

from math import sqrt

Z_95 = 1.959963984540054


def wilson(share: float, n: int, z: float = Z_95) -> tuple[float, float]:
    """Wilson's interval for a share of `n` trials, both bounds within 0 and 1.

    Args:
        share: Observed share, 0 to 1; need not be a whole number of trials.
        n: Number of trials.
        z: Quantile of the normal distribution; the default gives 95 %.

    Raises:
        ValueError: No trials, or a share outside 0 to 1.
    """
    if n < 1 or not 0.0 <= share <= 1.0:
        raise ValueError(f"a share of 0 to 1 in at least one trial is needed, got {share} of {n}")
    center = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return max(0.0, min(center - half, share)), min(1.0, max(center + half, share))
