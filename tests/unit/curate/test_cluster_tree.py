"""Trees are scipy's, and the helpers of condensed vectors are inverse to each other."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import pdist, squareform

from finevla.stages.curate.cluster.condensed import (
    ClusterError,
    canonical,
    checked,
    clusters_of,
    count_of,
    inner_index,
    pair_index,
    pairs_at,
)
from finevla.stages.curate.cluster.tree import Linkage, embed, grow

LINE = pdist(np.array([[0.0], [1.0], [3.0], [7.0]]))


def test_the_count_of_items_follows_from_the_length() -> None:
    assert [count_of(length) for length in (0, 1, 3, 6, 1999000)] == [1, 2, 3, 4, 2000]
    with pytest.raises(ClusterError, match="no condensed distance vector"):
        count_of(4)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0])
def test_a_bad_distance_is_named_by_its_items(bad: float) -> None:
    vector = LINE.copy()
    vector[4] = bad
    with pytest.raises(ClusterError, match="between items 1 and 3"):
        checked(vector)
    with pytest.raises(ClusterError, match="one dimension"):
        checked(squareform(LINE))


@pytest.mark.parametrize("n", [2, 3, 7, 50])
def test_pairs_and_positions_are_inverse(n: int) -> None:
    rows, columns = np.triu_indices(n, 1)
    assert np.array_equal(pair_index(n, rows, columns), np.arange(len(rows)))
    assert np.array_equal(pair_index(n, columns, rows), np.arange(len(rows)))
    assert np.array_equal(pairs_at(n, np.arange(len(rows))), np.stack([rows, columns], axis=1))


def test_inner_positions_are_the_submatrix() -> None:
    distances = pdist(np.random.default_rng(0).normal(size=(9, 2)))
    members = np.array([1, 4, 5, 8])
    part = squareform(distances)[np.ix_(members, members)]
    assert np.array_equal(squareform(distances[inner_index(9, members)]), part)


def test_canonical_labels_count_by_first_item() -> None:
    labels = canonical(np.array([7, 2, 7, 9, 2]))
    assert labels.tolist() == [0, 1, 0, 2, 1]
    assert [members.tolist() for members in clusters_of(labels)] == [[0, 2], [1, 4], [3]]


@pytest.mark.parametrize("kind", [Linkage.AVERAGE, Linkage.COMPLETE, Linkage.SINGLE])
def test_the_tree_is_that_of_scipy(kind: Linkage) -> None:
    distances = pdist(np.random.default_rng(1).normal(size=(40, 3)))
    assert np.array_equal(grow(distances, kind).merges, linkage(distances, kind.value))


def test_nodes_heights_and_members() -> None:
    tree = grow(LINE, Linkage.COMPLETE)
    assert tree.heights.tolist() == [1.0, 3.0, 7.0]
    assert [tree.height(k) for k in (2, 3, 4)] == [7.0, 3.0, 1.0]
    assert [tree.members(node).tolist() for node in (2, 4, 5, 6)] == [[2], [0, 1], [0, 1, 2], [0, 1, 2, 3]]
    with pytest.raises(ValueError, match="k of 2 to 4"):
        tree.height(1)


def test_one_item_is_a_tree() -> None:
    tree = grow(np.zeros(0), Linkage.WARD)
    assert (tree.n, tree.visit_order().tolist()) == (1, [0])
    assert tree.partition(np.zeros(0, dtype=bool)).tolist() == [0]


def test_embedding_keeps_euclidean_distances() -> None:
    distances = pdist(np.random.default_rng(2).normal(size=(30, 4)))
    assert np.allclose(pdist(embed(distances)), distances)
    assert embed(distances, 2).shape == (30, 2)


def test_ward_of_euclidean_distances_is_ward_of_the_points() -> None:
    points = np.random.default_rng(3).normal(size=(30, 4))
    tree = grow(pdist(points), Linkage.WARD)
    assert np.allclose(tree.merges, linkage(points, "ward"))
    assert np.array_equal(tree.merges, grow(pdist(points), Linkage.WARD).merges)


def test_ward_takes_distances_that_no_points_have() -> None:
    tree = grow(np.array([1.0, 1.0, 9.0]), Linkage.WARD)  # breaks the triangle inequality, as DTW does
    assert np.isfinite(tree.merges).all()
    assert grow(np.zeros(6), Linkage.WARD).heights.max() == 0.0
