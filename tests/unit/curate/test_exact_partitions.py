"""What comes out of float32 kernels is what float64 would give, through every linkage and cut."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.interpolate import CubicSpline

from finevla.stages.curate.cluster.condensed import clusters_of
from finevla.stages.curate.cluster.cut import apply
from finevla.stages.curate.cluster.medoids import ExactDistances, medoids_of
from finevla.stages.curate.cluster.outliers import outliers
from finevla.stages.curate.cluster.recurse import leaf_labels, recursive_by_distances
from finevla.stages.curate.cluster.tree import Linkage, grow
from finevla.stages.curate.distances import as_condensed, as_edges, lanes_of, pairs_of
from finevla.stages.curate.dtw.metric import Metric
from finevla.stages.curate.group import from_distances, from_edges
from finevla.stages.curate.settings import GroupSettings


def trajectories(name: str, seed: int, n: int = 40) -> list[np.ndarray]:
    """Four ways with noise, some copies of others, some that stand still for a while."""
    rng = np.random.default_rng(seed)
    width = 16 if name == "eef" else 14
    ways = [rng.normal(0.0, 0.5, (5, width)) for _ in range(4)]
    found = []
    for k in range(n):
        frames = int(rng.integers(20, 70))
        curve = CubicSpline(np.linspace(0, 1, 5), ways[k % 4])(
            np.linspace(0, 1, frames) ** rng.uniform(0.8, 1.2)
        )
        curve += rng.normal(0.0, 0.02, curve.shape)
        if k % 7 == 3:
            curve[5:15] = curve[5]
        if name == "eef":
            for s in (3, 11):
                turn = 0.3 * curve[:, s : s + 4] + [0.0, 0.0, 0.0, 1.0]
                curve[:, s : s + 4] = turn / np.linalg.norm(turn, axis=1, keepdims=True)
        found.append(curve)
    found[-1] = found[0].copy()
    return found


def reference(exact: np.ndarray, settings: GroupSettings) -> np.ndarray:
    """Labels from float64 distances, by scipy and plain rules."""
    if settings.cut == "recursive":
        leaves = recursive_by_distances(exact, replace(settings.recursive, linkage=settings.linkage))
        return leaf_labels(sorted(leaves, key=lambda leaf: int(leaf.members[0])))
    tree = grow(exact, settings.linkage)
    return apply(tree, settings.tree_cut(tree.n))[0]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", ["eef", "joint", "sqeuclid"])
@pytest.mark.parametrize("linkage", ["average", "complete", "single"])
@pytest.mark.parametrize("cut", ["gap", "count", "recursive", "threshold"])
def test_partitions_medoids_and_outliers_are_those_of_float64(seed, name, linkage, cut):
    series = trajectories(name, seed)
    n = len(series)
    base = GroupSettings(Metric(name))
    lanes = lanes_of(series, base, 2)
    every = np.stack(np.triu_indices(n, 1), axis=1).astype(np.int64)
    exact = lanes.exact(every)
    # A threshold that is a distance: rounding decides on which side of it that pair lies.
    threshold = float(np.sort(exact)[len(exact) // 5])
    settings = GroupSettings(Metric(name), Linkage(linkage), cut, k=6, threshold=threshold)
    pairs = pairs_of(lanes, settings, 0, n)
    found = (
        from_edges(lanes, as_edges(n, pairs), settings)
        if settings.sparse
        else from_distances(lanes, as_condensed(n, pairs), settings)
    )
    wanted = clusters_of(reference(exact, settings))
    assert [c.tolist() for c in found.clusters] == [c.tolist() for c in wanted]
    lookup = ExactDistances(exact)
    medoids = medoids_of(lookup, wanted)
    assert found.medoids == medoids
    assert [o.item for o in found.outliers] == [o.item for o in outliers(lookup, wanted, medoids)]
