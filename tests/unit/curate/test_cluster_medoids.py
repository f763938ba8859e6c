"""Medoids, k-medoids and representatives."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform

from finevla.stages.curate.cluster.condensed import ClusterError, clusters_of
from finevla.stages.curate.cluster.medoids import (
    ExactDistances,
    k_medoids,
    medoid,
    random_representatives,
    representatives,
)

LINE = ExactDistances(pdist(np.array([[0.0], [1.0], [2.0], [3.0], [10.0], [11.0], [12.0], [30.0]])))
CLUSTERS = [np.array([0, 1, 2, 3]), np.array([4, 5, 6]), np.array([7])]


def loss(full: np.ndarray, medoids: tuple[int, ...]) -> float:
    return float(full[:, list(medoids)].min(axis=1).sum())


def test_the_medoid_is_the_least_sum_and_the_lowest_of_equals() -> None:
    assert [medoid(LINE, members) for members in CLUSTERS] == [1, 5, 7]
    assert medoid(ExactDistances(np.zeros(10)), np.array([2, 3, 4])) == 2
    # 0.1 + 0.2 + 0.3 and 0.3 + 0.2 + 0.1 are not the same float64 when added in turn
    tie = squareform([[0, 0.1, 0.2, 0.3], [0.1, 0, 0.3, 0.2], [0.2, 0.3, 0, 0.1], [0.3, 0.2, 0.1, 0]])
    assert medoid(ExactDistances(tie), np.arange(4)) == 0


@pytest.mark.parametrize("seed", range(8))
def test_no_exchange_improves_k_medoids(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, k = 14, 2 + seed % 4
    distances = pdist(rng.normal(size=(n, 2)))
    full = squareform(distances)
    found = k_medoids(distances, k)
    best = min(loss(full, some) for some in combinations(range(n), k))
    assert found.loss == pytest.approx(loss(full, tuple(found.medoids)))
    assert best <= found.loss + 1e-12 <= best * 1.1
    for out in found.medoids:
        for new in set(range(n)) - set(found.medoids.tolist()):
            exchanged = tuple(new if m == out else int(m) for m in found.medoids)
            assert loss(full, exchanged) >= found.loss - 1e-9


def test_swaps_mend_a_bad_start() -> None:
    # BUILD begins with the middle of two groups of two, and only a swap gets away from there.
    points = np.array([[0.0], [1.0], [5.0], [9.0], [10.0]])
    found = k_medoids(pdist(points), 2)
    full = squareform(pdist(points))
    assert found.loss == min(loss(full, some) for some in combinations(range(5), 2))
    assert any(k_medoids(pdist(np.random.default_rng(s).normal(size=(40, 2))), 4).swaps for s in range(5))


def test_groups_are_found_and_labelled_with_their_medoids() -> None:
    truth = np.tile([0, 1, 2, 3], 12)
    distances = pdist(np.eye(4)[truth] * 10 + np.random.default_rng(0).normal(size=(48, 4)))
    found = k_medoids(distances, 4)
    assert np.array_equal(found.labels, truth)
    assert found.labels[found.medoids].tolist() == [0, 1, 2, 3]
    source = ExactDistances(distances)
    assert found.medoids.tolist() == [medoid(source, members) for members in clusters_of(found.labels)]


@pytest.mark.parametrize("seed", range(4))
def test_medoids_belong_to_their_clusters(seed: int) -> None:
    rng = np.random.default_rng(seed)
    distances = rng.integers(0, 4, size=30 * 29 // 2).astype(float)
    found = k_medoids(distances, 6)
    assert found.labels[found.medoids].tolist() == list(range(6))
    assert np.array_equal(found.medoids, k_medoids(distances, 6).medoids)


def test_the_ends_of_k() -> None:
    assert k_medoids(np.zeros(0), 1).medoids.tolist() == [0]
    assert k_medoids(LINE.values, 1).medoids.tolist() == [3]
    everything = k_medoids(np.zeros(6), 4)
    assert (everything.labels.tolist(), everything.loss) == ([0, 1, 2, 3], 0.0)
    for k in (0, 9):
        with pytest.raises(ClusterError, match="number of medoids"):
            k_medoids(LINE.values, k)


@pytest.mark.parametrize(
    ("budget", "chosen"),
    [
        (0, [[], [], []]),
        (1, [[1], [], []]),  # the largest cluster first
        (2, [[1], [5], []]),
        (3, [[1], [5], [7]]),
        (4, [[1, 3], [5], [7]]),  # item 3 is 2 away from item 1; no other is farther from its own
        (5, [[1, 3, 0], [5], [7]]),  # items 0, 2, 4 and 6 are all 1 away: the lowest
        (8, [[1, 3, 0, 2], [5, 4, 6], [7]]),
        (99, [[1, 3, 0, 2], [5, 4, 6], [7]]),
    ],
)
def test_representatives_use_their_budget(budget: int, chosen: list[list[int]]) -> None:
    assert representatives(LINE, CLUSTERS, budget) == chosen


def test_outliers_and_copies_are_not_further_representatives() -> None:
    assert representatives(LINE, CLUSTERS, 5, frozenset({3, 0})) == [[1, 2], [5, 4], [7]]
    assert representatives(ExactDistances(np.zeros(6)), [np.arange(4)], 3) == [[0]]
    assert representatives(LINE, [], 3) == []


def test_random_representatives_are_the_papers() -> None:
    generator = np.random.RandomState(42)
    expected = [int(generator.choice(members.tolist())) for members in CLUSTERS]
    assert random_representatives(CLUSTERS) == expected
    assert random_representatives(CLUSTERS, 7) != expected
