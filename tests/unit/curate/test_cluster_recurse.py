"""The recursion stops where the paper's does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import pdist, squareform

from finevla.stages.curate.cluster.condensed import ClusterError
from finevla.stages.curate.cluster.recurse import (
    FLAT_COUNTS,
    PRESETS,
    Leaf,
    RecursiveSettings,
    Stop,
    leaf_labels,
    recursive_by_distances,
)
from finevla.stages.curate.cluster.tree import Linkage


def nested(rng: np.random.Generator, arms: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Arms far apart, three ways each, eight items a way: distances and the way of each item."""
    ways = np.repeat(np.arange(3 * arms), 8)
    points = np.zeros((len(ways), 3 + arms))
    points[np.arange(len(ways)), 3 + ways // 3] = 1000.0
    points[np.arange(len(ways)), ways % 3] = 8.0
    return pdist(points + rng.normal(size=points.shape) * 0.3), ways


def paper(distances: np.ndarray, s: RecursiveSettings) -> list[tuple[str, list[int]]]:
    """The paper's recursion, written down a second time from its description."""
    square, leaves = squareform(distances), []

    def visit(items: np.ndarray, depth: int, path: str) -> None:
        n = len(items)
        stop = n < s.min_cluster_size or depth >= s.max_depth or 0 < s.max_leaves <= len(leaves)
        if not stop:
            Z = linkage(squareform(square[np.ix_(items, items)]), s.linkage.value)
            h = {k: Z[n - k, 2] for k in range(2, min(10, n - 1) + 1)}
            gaps = {k: (h[k] - h[k + 1]) / h[k + 1] for k in h if k + 1 in h}
            k = max(gaps, key=gaps.__getitem__) if gaps else 2
            room = s.max_leaves - len(leaves)
            stop = (depth > 0 and gaps.get(k, 0.0) < s.min_rel_gap) or (s.max_leaves > 0 and room < 2)
        if stop:
            leaves.append((path, items.tolist()))
            return
        labels = fcluster(Z, min(k, room) if s.max_leaves else k, "maxclust")
        for label in range(1, labels.max() + 1):
            visit(items[labels == label], depth + 1, f"{path}.{label}")

    visit(np.arange(len(square)), 0, "0")
    return leaves


def plain(leaves: list[Leaf]) -> list[tuple[str, list[int]]]:
    return [(leaf.path, leaf.members.tolist()) for leaf in leaves]


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("seed", [0, 1])
def test_presets_give_the_papers_leaves(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for distances in (pdist(rng.normal(size=(70, 3))), nested(rng)[0]):
        for settings in (PRESETS[name], replace(PRESETS[name], max_leaves=0)):
            assert plain(recursive_by_distances(distances, settings)) == paper(distances, settings)


def test_small_differences_are_found_below_large_ones() -> None:
    distances, ways = nested(np.random.default_rng(2))
    leaves = recursive_by_distances(distances, RecursiveSettings(max_depth=2))
    assert [leaf.path for leaf in leaves] == ["0.1.1", "0.1.2", "0.1.3", "0.2.1", "0.2.2", "0.2.3"]
    assert {leaf.stop for leaf in leaves} == {Stop.DEPTH}
    assert sorted(ways[leaf.members].tolist() for leaf in leaves) == [[way] * 8 for way in range(6)]
    labels = leaf_labels(leaves)
    assert all(np.array_equal(np.flatnonzero(labels == i), leaf.members) for i, leaf in enumerate(leaves))


def test_every_leaf_says_why() -> None:
    distances, _ = nested(np.random.default_rng(3))
    stops = {leaf.stop for leaf in recursive_by_distances(distances, RecursiveSettings(min_cluster_size=49))}
    assert stops == {Stop.SMALL}
    leaves = recursive_by_distances(distances, RecursiveSettings(max_depth=9))
    assert Stop.GAP in {leaf.stop for leaf in leaves}
    assert all(leaf.gap is not None and leaf.gap.best < 0.3 for leaf in leaves if leaf.stop is Stop.GAP)
    stops = {leaf.stop for leaf in recursive_by_distances(distances, RecursiveSettings(max_leaves=2))}
    assert stops == {Stop.LEAVES}
    assert plain(recursive_by_distances(distances, RecursiveSettings(max_depth=0))) == [
        ("0", list(range(48)))
    ]


def test_a_hard_budget_holds_where_the_papers_does_not() -> None:
    distances, _ = nested(np.random.default_rng(5), arms=5)
    soft = RecursiveSettings(max_depth=2, max_leaves=6, hard_budget=False)
    assert (
        len(recursive_by_distances(distances, soft)) == 9
    )  # 3 + 3 below the first two arms, then three brothers
    hard = recursive_by_distances(distances, replace(soft, hard_budget=True))
    assert len(hard) == 6
    assert sorted(np.concatenate([leaf.members for leaf in hard]).tolist()) == list(range(120))


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_items(n: int) -> None:
    settings = RecursiveSettings(min_cluster_size=1)
    leaves = recursive_by_distances(np.ones(n * (n - 1) // 2), settings)
    assert sorted(np.concatenate([leaf.members for leaf in leaves]).tolist()) == list(range(n))
    assert len(leaves) == min(2, n)


@pytest.mark.parametrize("wrong", [{"min_cluster_size": 0}, {"max_depth": -1}, {"min_rel_gap": float("nan")}])
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ClusterError, match="out of range"):
        RecursiveSettings(**wrong)


def test_presets_are_those_of_the_release() -> None:
    assert {(s.linkage, s.max_leaves) for s in PRESETS.values()} == {(Linkage.AVERAGE, 20)}
    assert PRESETS["Galaxea"].min_rel_gap == 0.03
    assert (PRESETS["RT-1"].max_depth, PRESETS["RT-1"].min_rel_gap, PRESETS["RDT"].min_cluster_size) == (
        5,
        0.0,
        3,
    )
    assert FLAT_COUNTS["BC_Z"] == 20
