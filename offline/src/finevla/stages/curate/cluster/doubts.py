"""Which merges have heights too close to a cut to be trusted."""

from __future__ import annotations

import numpy as np

from finevla.stages.curate.cluster.condensed import BoolArray, FloatArray, IntArray
from finevla.stages.curate.cluster.cut import (
    CONFIDENT_RATIO,
    Count,
    Cut,
    LargestGap,
    Threshold,
    by_count,
    gap_heights,
    gap_ratio,
    largest_gap,
    relative_gap,
)
from finevla.stages.curate.cluster.replay import HIGH, LOW, VALUE
from finevla.stages.curate.cluster.tree import Tree


def doubtful_merges(heights: FloatArray, cut: Cut) -> IntArray:
    """Positions of merges that must be exact before a cut can be trusted; empty where it can.

    Args:
        heights: Value, least and greatest height of each merge, (3, n - 1), in scipy's order of discovery.
        cut: The cut.
    """
    if isinstance(cut, Threshold):
        suspects = (heights[LOW] <= cut.t) & (cut.t < heights[HIGH])
    elif isinstance(cut, Count):
        suspects = _count(heights, cut.k)
    else:
        suspects = _gap(heights, cut)
        if not np.any(suspects & (heights[LOW] < heights[HIGH])):
            gap = largest_gap(np.sort(heights[VALUE]), cut.k_min, cut.k_max)
            suspects = _count(heights, min(gap.k, heights.shape[1] + 1))
    return np.flatnonzero(suspects & (heights[LOW] < heights[HIGH]))


def doubtful_order(heights: FloatArray, tree: Tree, k: int) -> IntArray:
    """Positions of merges that must be exact before `cut.paper_order` of k clusters can be trusted.

    That order follows from the order of heights among the undone merges and the tops of the clusters, whose
    height is the greatest of the merges inside.

    Args:
        heights: As for `doubtful_merges`.
        tree: The tree of these values; its cut into k clusters is certain.
        k: Number of clusters.
    """
    position = np.argsort(heights[VALUE], kind="stable")  # of each row of the tree
    rows = heights[:, position]
    undone = tree.n - k
    group = by_count(tree, k)[tree.ends()[:, 0]]
    group[undone:] = k + np.arange(k - 1)
    top = np.full((3, 2 * k - 1), -np.inf)
    for layer in (VALUE, LOW, HIGH):
        np.maximum.at(top[layer], group, rows[layer])
    used = np.flatnonzero(np.isfinite(top[VALUE]))  # a single item has no height
    order = used[np.argsort(top[VALUE, used], kind="stable")]
    close = np.flatnonzero(top[HIGH, order[:-1]] >= top[LOW, order[1:]])
    asked = np.isin(group, order[np.union1d(close, close + 1)]) & (rows[HIGH] >= top[LOW, group])
    suspects = asked & (rows[LOW] < rows[HIGH])
    return np.asarray(position[suspects], dtype=np.int64)


def _count(heights: FloatArray, k: int) -> BoolArray:
    """Merges that could be on the other side of the cut into k clusters."""
    m = heights.shape[1]
    suspects = np.zeros(m, dtype=np.bool_)
    order = np.argsort(heights[VALUE], kind="stable")
    done, undone = order[: m + 1 - k], order[m + 1 - k :]
    if len(done) and len(undone):
        suspects[done] = heights[HIGH, done] >= heights[LOW, undone].min()
        suspects[undone] = heights[LOW, undone] <= heights[HIGH, done].max()
    return suspects


def _gap(heights: FloatArray, cut: LargestGap) -> BoolArray:
    """Merges whose heights could change which gap is largest, and what is said about it."""
    suspects = np.zeros(heights.shape[1], dtype=np.bool_)
    # The k-th greatest of the least heights bounds the k-th greatest true height from below, and so on.
    low, high = (gap_heights(np.sort(heights[layer]), cut.k_min, cut.k_max) for layer in (LOW, HIGH))
    gap = largest_gap(np.sort(heights[VALUE]), cut.k_min, cut.k_max)
    if not gap.gaps:
        return suspects
    least = {k: relative_gap(low[k], high[k + 1]) for k in gap.gaps}
    greatest = {k: relative_gap(high[k], low[k + 1]) for k in gap.gaps}
    best = gap.k
    rivals = {k for k in gap.gaps if k != best and greatest[k] >= least[best]}
    asked = rivals | ({best} if rivals else set())
    if cut.floor is not None and least[best] < cut.floor <= greatest[best]:
        asked.add(best)
    others = [k for k in gap.gaps if k != best]
    if others:
        seconds = max(least[k] for k in others), max(greatest[k] for k in others)
        if gap_ratio(least[best], seconds[1]) < CONFIDENT_RATIO <= gap_ratio(greatest[best], seconds[0]):
            asked |= {best, *(k for k in others if greatest[k] >= seconds[0])}
    for k in asked:
        for edge in (k, k + 1):
            suspects |= (heights[LOW] <= high[edge]) & (heights[HIGH] >= low[edge])
    return suspects
