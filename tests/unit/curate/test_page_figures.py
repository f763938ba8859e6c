"""What the report of curated episodes draws: order of leaves, cuts, colours, distance maps. No browser."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, leaves_list, linkage
from scipy.spatial.distance import pdist, squareform

from finevla.stages.curate.cluster.condensed import canonical
from finevla.stages.curate.page.figures import (
    colors,
    dendrogram,
    heat,
    labels_at,
    links,
    order_without_tree,
    packed,
)

KINDS = ("average", "complete", "single", "ward")


def grown(n: int = 40, kind: str = "average", ties: bool = False) -> np.ndarray:
    rng = np.random.default_rng(n)
    points = rng.integers(4, size=(n, 2)).astype(float) if ties else rng.normal(size=(n, 3))
    return linkage(pdist(points), kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ties", [False, True])
def test_order_is_that_of_scipy(kind: str, ties: bool) -> None:
    merges = grown(kind=kind, ties=ties)
    assert np.array_equal(dendrogram(merges).order, leaves_list(merges))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ties", [False, True])
def test_cuts_are_those_of_fcluster_at_every_height(kind: str, ties: bool) -> None:
    merges = grown(kind=kind, ties=ties)
    drawn = dendrogram(merges)
    heights = merges[:, 2]
    for height in [0.0, *heights, *(heights[1:] + heights[:-1]) / 2, heights[-1] + 1]:
        truth = fcluster(merges, height, "distance")[drawn.order]
        labels = labels_at(drawn.joins, height)
        assert np.array_equal(canonical(labels), canonical(truth))
        painted = colors(labels, drawn.births)
        assert np.array_equal(canonical(painted), canonical(truth)), "two clusters share a colour number"
        assert sorted(set(painted)) == list(range(len(set(truth))))


def test_larger_part_keeps_its_colour_as_the_cut_falls() -> None:
    merges = grown(30)
    drawn = dendrogram(merges)
    joins = np.sort(drawn.joins)[::-1]
    before = colors(labels_at(drawn.joins, joins[0]), drawn.births)
    for k, height in enumerate((joins[:-1] + joins[1:]) / 2, start=2):
        after = colors(labels_at(drawn.joins, height), drawn.births)
        changed = before != after
        assert set(after[changed]) == {k - 1}, "only the part that splits off changes"
        parent = before[changed][0]
        assert changed.sum() <= (after == parent).sum()
        before = after


def test_links_are_brackets_over_their_leaves() -> None:
    merges = grown(12)
    drawn = dendrogram(merges)
    found = links(merges, drawn)
    assert found["h"] == pytest.approx(merges[:, 2], rel=1e-5)
    assert (found["first"][-1], found["last"][-1]) == (0, 11)
    for i in range(11):
        assert found["first"][i] < found["x0"][i] < found["x1"][i] < found["last"][i] + 1
        assert max(found["y0"][i], found["y1"][i]) <= found["h"][i]
    assert links(merges, drawn, most=4)["h"] == found["h"][-4:]


def test_colours_of_the_stage_leave_out_who_is_in_no_cluster() -> None:
    assert colors(np.array([7, 7, -1, 2]), np.array([3, 1, 0, 2])).tolist() == [0, 0, -1, 1]
    assert order_without_tree(np.array([1, -1, 0, 1])).tolist() == [2, 0, 3, 1]


def test_one_episode_is_one_leaf() -> None:
    drawn = dendrogram(np.zeros((0, 4)))
    assert drawn.order.tolist() == [0]
    assert labels_at(drawn.joins, 1.0).tolist() == [0]
    assert heat(np.zeros(0), drawn.order).values.tolist() == [[0.0]]


def test_small_map_is_the_matrix_in_the_order_of_the_leaves() -> None:
    condensed = pdist(np.random.default_rng(1).normal(size=(20, 2)))
    order = np.random.default_rng(2).permutation(20)
    picture = heat(condensed, order)
    assert not picture.averaged
    assert np.allclose(picture.values, squareform(condensed)[np.ix_(order, order)])
    assert picture.top == pytest.approx(np.quantile(condensed, 0.98))


def test_big_map_holds_the_means_without_the_diagonal() -> None:
    condensed = pdist(np.random.default_rng(1).normal(size=(25, 2)))
    order = np.random.default_rng(2).permutation(25)
    picture = heat(condensed, order, most=7)
    assert picture.averaged
    square = squareform(condensed)[np.ix_(order, order)]
    np.fill_diagonal(square, np.nan)
    for i, (a, b) in enumerate(zip(picture.edges, picture.edges[1:], strict=False)):
        for j, (c, d) in enumerate(zip(picture.edges, picture.edges[1:], strict=False)):
            assert picture.values[i, j] == pytest.approx(np.nanmean(square[a:b, c:d]))


def unpacked(told: dict) -> np.ndarray:
    """As the script does it; NaN where it leaves a gap."""
    size = len(told["edges"]) - 1
    steps = np.frombuffer(base64.b64decode(told["bytes"]), "<u2" if told["levels"] > 255 else "u1")
    values = np.full((size, size), np.nan)
    upper = np.triu_indices(size)
    values[upper] = np.where(steps == told["levels"], np.nan, steps * told["step"])
    values.T[upper] = values[upper]
    return values


@pytest.mark.parametrize(("most", "levels"), [(40, 65535), (15, 255)])
def test_packed_map_is_the_map_to_half_a_step(most: int, levels: int) -> None:
    picture = heat(pdist(np.random.default_rng(3).normal(size=(40, 2))), np.arange(40), most)
    told = packed(picture)
    assert told["levels"] == levels
    assert np.abs(unpacked(told) - picture.values).max() <= told["step"] * 0.500001


def test_unknown_distances_are_gaps_and_not_numbers() -> None:
    condensed = pdist(np.arange(4.0)[:, None])
    condensed[[0, 5]] = np.nan, np.inf
    told = packed(heat(condensed, np.arange(4)))
    assert told["unknown"] == 2
    values = unpacked(told)
    assert np.argwhere(np.isnan(values)).tolist() == [[0, 1], [1, 0], [2, 3], [3, 2]]
    assert values[0, 3] == pytest.approx(3.0)


def test_equal_trajectories_make_a_map_of_zeros() -> None:
    told = packed(heat(np.zeros(3), np.arange(3)))
    assert told["top"] > 0
    assert unpacked(told).tolist() == np.zeros((3, 3)).tolist()
