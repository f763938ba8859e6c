"""Cuts of a dendrogram: by number of clusters, by height, by the largest relative gap."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np

from finevla.stages.curate.cluster.condensed import ClusterError, FloatArray, IntArray
from finevla.stages.curate.cluster.tree import Tree

CONFIDENT_RATIO = 2.0


@dataclass(frozen=True)
class Count:
    """Cut into exactly k clusters.

    Args:
        k: How many.
        ordered: Their `paper_order` matters too: only `certify` needs to know.
    """

    k: int
    ordered: bool = False


@dataclass(frozen=True)
class Threshold:
    """Cut at a height: merges of at most `t` have happened."""

    t: float


@dataclass(frozen=True)
class LargestGap:
    """Cut where the heights make their largest relative jump.

    Args:
        k_min: Fewest clusters.
        k_max: The heights h(k_min) to h(k_max) are compared, so that the most clusters are k_max - 1.
        floor: A gap below it is no reason to split; None where nobody asks. Only `certify` needs it.
    """

    k_min: int = 2
    k_max: int = 10
    floor: float | None = None


Cut = Count | Threshold | LargestGap


@dataclass(frozen=True)
class Gap:
    """Which number of clusters the heights suggest, and how clearly.

    Args:
        k: Suggested number of clusters; `k_min` where there are too few items to compare.
        heights: h(k) by k: the height of the merge that takes k clusters to k - 1.
        gaps: rel_gap(k) = (h(k) - h(k + 1)) / h(k + 1) by k.
        best: rel_gap of the suggested k; 0 where there is none.
        second: The next largest; 0 where there is none.
    """

    k: int
    heights: dict[int, float]
    gaps: dict[int, float]
    best: float
    second: float

    @property
    def ratio(self) -> float:
        """Best over second gap; infinite where the best is the only one, 1 where nothing jumps."""
        return gap_ratio(self.best, self.second)

    @property
    def confident(self) -> bool:
        """The best gap is at least twice the second."""
        return self.ratio >= CONFIDENT_RATIO


def gap_ratio(best: float, second: float) -> float:
    """Best over second relative gap."""
    if best == 0.0:
        return 1.0
    return inf if second == 0.0 or best == inf else best / second


def relative_gap(upper: float, lower: float) -> float:
    """(h(k) - h(k + 1)) / h(k + 1) with upper = h(k), lower = h(k + 1), never below 0.

    Where h(k + 1) is 0 (copies of one trajectory) it is infinite, and 0 where h(k) is 0 too; upstream calls
    both infinite, which would split copies from copies.
    """
    if upper <= lower:
        return 0.0
    return inf if lower == 0.0 else (upper - lower) / lower


def gap_heights(heights: FloatArray, k_min: int, k_max: int) -> dict[int, float]:
    """h(k) for k of `k_min` to min(k_max, n - 1), from heights in ascending order, (n - 1,).

    Upstream never looks at h(n), the first merge of all.

    Raises:
        ClusterError: No range of k.
    """
    if not 2 <= k_min < k_max:
        raise ClusterError(
            "no range of cluster numbers to compare",
            expected="2 <= k_min < k_max",
            found=f"k_min {k_min}, k_max {k_max}",
            remedy="the paper compares 2 to 10",
        )
    n = len(heights) + 1
    return {k: float(heights[n - k]) for k in range(k_min, min(k_max, n - 1) + 1)}


def largest_gap(heights: FloatArray, k_min: int = 2, k_max: int = 10) -> Gap:
    """Largest relative gap of ascending heights (n - 1,), as in the paper; equal gaps: fewest clusters."""
    found = gap_heights(heights, k_min, k_max)
    gaps = {k: relative_gap(found[k], found[k + 1]) for k in found if k + 1 in found}
    ranked = sorted(gaps, key=lambda k: (-gaps[k], k))
    best = gaps[ranked[0]] if ranked else 0.0
    second = gaps[ranked[1]] if len(ranked) > 1 else 0.0
    return Gap(ranked[0] if ranked else k_min, found, gaps, best, second)


def by_count(tree: Tree, k: int) -> IntArray:
    """Labels (n,) of exactly k clusters: the last k - 1 merges are undone.

    scipy's `fcluster(..., "maxclust")` gives fewer than k where heights at the cut are equal; a budget of
    clusters is used up here instead, by the tree's own order of equal heights.

    Raises:
        ClusterError: k is not 1 to n.
    """
    if not 1 <= k <= tree.n:
        raise ClusterError(
            "there is no such number of clusters",
            expected=f"1 to {tree.n}, the number of items",
            found=k,
            remedy="ask for fewer clusters, or leave out groups with too few trajectories",
        )
    return tree.partition(np.arange(tree.n - 1) < tree.n - k)


def by_threshold(tree: Tree, t: float) -> IntArray:
    """Labels (n,) at height t, as scipy's `fcluster(..., "distance")`: merges of at most t have happened.

    Raises:
        ClusterError: t is negative or not a number.
    """
    if not t >= 0.0:
        raise ClusterError("a threshold is a distance", expected="0 or more", found=t)
    return tree.partition(tree.subtree_heights() <= t)


def by_gap(tree: Tree, k_min: int = 2, k_max: int = 10) -> tuple[IntArray, Gap]:
    """Labels (n,) at the largest relative gap, and the gap; one item is one cluster."""
    gap = largest_gap(tree.heights, k_min, k_max)
    return by_count(tree, min(gap.k, tree.n)), gap


def apply(tree: Tree, cut: Cut) -> tuple[IntArray, Gap | None]:
    """Labels (n,) of any cut, and the gap where it was cut at one."""
    if isinstance(cut, Count):
        return by_count(tree, cut.k), None
    if isinstance(cut, Threshold):
        return by_threshold(tree, cut.t), None
    return by_gap(tree, cut.k_min, cut.k_max)


def paper_order(tree: Tree, labels: IntArray) -> IntArray:
    """Labels in the order in which scipy's `fcluster` numbers the clusters.

    The paper draws its random representatives and names its leaves in this order.
    """
    ordered = labels[tree.visit_order()]
    first = np.unique(ordered, return_index=True)[1]
    return ordered[np.sort(first)]
