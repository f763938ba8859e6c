"""Cuts by number, by height and by the largest gap; the paper's order of clusters."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster
from scipy.spatial.distance import pdist

from finevla.stages.curate.cluster.condensed import ClusterError, canonical
from finevla.stages.curate.cluster.cut import (
    Count,
    LargestGap,
    Threshold,
    apply,
    by_count,
    by_gap,
    by_threshold,
    largest_gap,
    paper_order,
)
from finevla.stages.curate.cluster.tree import Linkage, grow

KINDS = list(Linkage)


@pytest.mark.parametrize("kind", KINDS)
def test_cuts_are_those_of_fcluster(kind: Linkage) -> None:
    tree = grow(pdist(np.random.default_rng(0).normal(size=(60, 3))), kind)
    for k in (1, 2, 7, 59, 60):
        assert np.array_equal(by_count(tree, k), canonical(fcluster(tree.merges, k, "maxclust")))
    for t in (0.0, *np.quantile(tree.heights, [0.1, 0.5, 0.9]), tree.heights[20], 99.0):
        assert np.array_equal(by_threshold(tree, t), canonical(fcluster(tree.merges, t, "distance")))


@pytest.mark.parametrize("kind", KINDS)
def test_threshold_cuts_are_those_of_fcluster_with_ties(kind: Linkage) -> None:
    points = np.random.default_rng(1).integers(4, size=(50, 2)).astype(float)
    tree = grow(pdist(points, "cityblock"), kind)
    for t in np.unique(tree.heights):
        assert np.array_equal(by_threshold(tree, t), canonical(fcluster(tree.merges, t, "distance")))


def test_a_count_is_met_exactly_where_heights_are_equal() -> None:
    tree = grow(np.ones(15), Linkage.AVERAGE)
    assert len(np.unique(fcluster(tree.merges, 3, "maxclust"))) == 1
    assert len(np.unique(by_count(tree, 3))) == 3


@pytest.mark.parametrize("k", [0, 5])
def test_an_impossible_count_is_refused(k: int) -> None:
    with pytest.raises(ClusterError, match="1 to 4"):
        by_count(grow(np.ones(6), Linkage.SINGLE), k)


@pytest.mark.parametrize("t", [-1.0, float("nan")])
def test_an_impossible_threshold_is_refused(t: float) -> None:
    with pytest.raises(ClusterError, match="0 or more"):
        by_threshold(grow(np.ones(6), Linkage.SINGLE), t)


def test_gap_of_a_worked_example() -> None:
    # Seven items: h(2) = 12, h(3) = 10, h(4) = 2, h(5) = 1.6; h(7) is never looked at.
    gap = largest_gap(np.array([1.0, 1.2, 1.6, 2.0, 10.0, 12.0]))
    assert gap.heights == {2: 12.0, 3: 10.0, 4: 2.0, 5: 1.6, 6: 1.2}
    assert gap.gaps == pytest.approx({2: 0.2, 3: 4.0, 4: 0.25, 5: 1 / 3})
    assert (gap.k, gap.best, gap.confident) == (3, 4.0, True)
    assert gap.second == pytest.approx(1 / 3)
    assert gap.ratio == pytest.approx(12.0)


def test_k_max_bounds_the_heights_not_the_clusters() -> None:
    heights = np.array([1.0, 9.0, 10.0, 11.0, 12.0])  # h(5) = 9, and the jump below it belongs to k = 5
    assert largest_gap(heights, 2, 4).k == 3
    assert largest_gap(np.array([1.0, 1.0, 9.0, 10.0]), 2, 4).k == 3
    assert 4 not in largest_gap(np.arange(1.0, 9.0), 2, 4).gaps


def test_equal_gaps_give_the_fewest_clusters_and_no_confidence() -> None:
    gap = largest_gap(np.array([1.0, 1.0, 2.0, 4.0, 8.0]))
    assert (gap.k, gap.best, gap.second, gap.ratio, gap.confident) == (2, 1.0, 1.0, 1.0, False)


def test_heights_of_zero() -> None:
    gap = largest_gap(np.array([0.0, 0.0, 0.0, 0.0, 5.0]))
    assert gap.gaps == {2: inf, 3: 0.0, 4: 0.0}
    assert (gap.k, gap.confident) == (2, True)
    copies = largest_gap(np.zeros(5))
    assert (copies.best, copies.ratio, copies.confident) == (0.0, 1.0, False)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_too_few_items_for_a_gap(n: int) -> None:
    labels, gap = by_gap(grow(np.ones(n * (n - 1) // 2), Linkage.AVERAGE))
    assert (gap.k, gap.gaps, gap.best) == (2, {}, 0.0)
    assert labels.max() + 1 == min(2, n)


def test_no_range_of_k_is_refused() -> None:
    with pytest.raises(ClusterError, match="k_min"):
        largest_gap(np.ones(9), 5, 5)


def test_groups_are_found_by_gap() -> None:
    rng = np.random.default_rng(2)
    truth = np.repeat([0, 1, 2, 3], 10)
    distances = pdist(np.eye(4)[truth] * 10 + rng.normal(size=(40, 4)) * 0.3)
    tree = grow(distances, Linkage.AVERAGE)
    labels, gap = by_gap(tree)
    assert np.array_equal(labels, truth)
    assert gap.confident
    assert np.array_equal(apply(tree, LargestGap())[0], truth)
    assert np.array_equal(apply(tree, Count(4))[0], truth)
    assert np.array_equal(apply(tree, Threshold(5.0))[0], truth)


@pytest.mark.parametrize("kind", KINDS)
def test_the_papers_order_is_that_of_fcluster(kind: Linkage) -> None:
    tree = grow(pdist(np.random.default_rng(4).normal(size=(40, 2))), kind)
    theirs = fcluster(tree.merges, 8, "maxclust")
    ours = by_count(tree, 8)
    for number, label in enumerate(paper_order(tree, ours).tolist(), 1):
        assert np.array_equal(theirs == number, ours == label)
