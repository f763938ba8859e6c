"""Threshold mode: single and complete linkage cut at t from the pairs within t alone.

Both partitions depend only on pairs of at most t, so the others need not be known: the graph of these pairs
falls into components that cannot join, and memory is that of the edges. A pair without an edge stands for a
distance above t that nothing is known about.

Equal distances: complete linkage of a component goes as scipy's would on the component's matrix with all
missing distances equal and above t, whatever the path (dense or sparse) that computes it. scipy on the full
matrix can break ties at or below t otherwise, because its path then leads through pairs above t.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from finevla.stages.curate.cluster.condensed import (
    BoolArray,
    ClusterError,
    FloatArray,
    IntArray,
    canonical,
    clusters_of,
    pair_index,
)
from finevla.stages.curate.cluster.cut import by_threshold
from finevla.stages.curate.cluster.tree import Linkage, grow

DENSE_LIMIT = 2048


@dataclass(frozen=True, eq=False)
class Edges:
    """Known distances between items 0 to n - 1; brought into the order of (row, column), row < column.

    Args:
        n: Number of items.
        rows: One item of each pair, (E,).
        columns: The other, (E,).
        distances: Their distances, (E,).

    Raises:
        ClusterError: An item that does not exist, a pair twice, or a distance that is negative or not finite.
    """

    n: int
    rows: IntArray
    columns: IntArray
    distances: FloatArray

    def __post_init__(self) -> None:
        """Sorts and checks."""
        low, high = np.minimum(self.rows, self.columns), np.maximum(self.rows, self.columns)
        order = np.lexsort((high, low))
        for name, values, kind in (
            ("rows", low, np.int64),
            ("columns", high, np.int64),
            ("distances", self.distances, np.float64),
        ):
            object.__setattr__(self, name, np.asarray(values, dtype=kind)[order])
        twice = (np.diff(self.rows) == 0) & (np.diff(self.columns) == 0)
        outside = (self.rows < 0) | (self.columns >= self.n) | (self.rows == self.columns)
        bad = ~(np.isfinite(self.distances) & (self.distances >= 0.0))
        for marks, what in ((outside, "join no two items"), (bad, "are no distances"), (twice, "come twice")):
            if marks.any():
                at = int(np.flatnonzero(marks)[0])
                raise ClusterError(
                    f"{int(marks.sum())} edges {what}",
                    where=f"items {self.rows[at]} and {self.columns[at]}",
                    expected=f"pairs of items 0 to {self.n - 1}, each once at most, distances of 0 or more",
                    found=self.distances[at],
                )

    def take(self, chosen: BoolArray) -> Edges:
        """Only the edges marked in `chosen` (E,)."""
        return Edges(self.n, self.rows[chosen], self.columns[chosen], self.distances[chosen])


def components(edges: Edges) -> IntArray:
    """Canonical labels (n,) of the connected components."""
    graph = coo_array((np.ones(len(edges.rows)), (edges.rows, edges.columns)), shape=(edges.n, edges.n))
    return canonical(np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64))


def parts_of(edges: Edges, labels: IntArray) -> list[tuple[IntArray, Edges, IntArray]]:
    """For each component: items, edges between positions in them, positions of these in `edges`."""
    clusters = clusters_of(labels)
    position = np.empty(edges.n, dtype=np.int64)
    for members in clusters:
        position[members] = np.arange(len(members))
    owner = labels[edges.rows]
    order = np.argsort(owner, kind="stable")
    counts = np.bincount(owner, minlength=len(clusters))
    pieces = np.split(order.astype(np.int64), np.cumsum(counts)[:-1])
    return [
        (
            members,
            Edges(len(members), position[edges.rows[at]], position[edges.columns[at]], edges.distances[at]),
            at,
        )
        for members, at in zip(clusters, pieces, strict=True)
    ]


def single_at(edges: Edges, t: float) -> IntArray:
    """Canonical labels (n,) of single linkage cut at t: the components of the edges of at most t."""
    return components(edges.take(edges.distances <= t))


def complete_at(edges: Edges, t: float, dense_limit: int = DENSE_LIMIT) -> IntArray:
    """Canonical labels (n,) of complete linkage cut at t.

    Args:
        edges: All pairs of at most t; others are left aside.
        t: Threshold.
        dense_limit: Components of up to so many items are clustered by scipy on a matrix of their own (8
            bytes a pair), larger ones on dictionaries of neighbors (about 100 bytes an edge). Both give the
            same labels.
    """
    within = edges.take(edges.distances <= t)
    found = components(within)
    labels = np.empty(edges.n, dtype=np.int64)
    used = 0
    for members, own, _ in parts_of(within, found):
        labels[members] = used + complete_component(own, t, dense_limit)
        used = int(labels[members].max()) + 1
    return canonical(labels)


def complete_component(edges: Edges, t: float, dense_limit: int = DENSE_LIMIT) -> IntArray:
    """Labels of complete linkage at t of one component whose edges are all at most t."""
    if len(edges.rows) == edges.n * (edges.n - 1) // 2:
        return np.zeros(edges.n, dtype=np.int64)  # all pairs are within t, so that nothing keeps any apart
    if edges.n <= dense_limit:
        return by_threshold(grow(filled(edges, t)[0], Linkage.COMPLETE), t)
    return complete_chains(edges)


def filled(edges: Edges, t: float) -> tuple[FloatArray, BoolArray]:
    """Condensed distances, missing pairs above t and all edges; and which are missing."""
    length = edges.n * (edges.n - 1) // 2
    known = pair_index(edges.n, edges.rows, edges.columns)
    vector = np.full(length, 2.0 * max(t, float(edges.distances.max(initial=0.0))) + 1.0)
    vector[known] = edges.distances
    missing = np.ones(length, dtype=np.bool_)
    missing[known] = False
    return vector, missing


def complete_chains(edges: Edges) -> IntArray:
    """Labels of complete linkage on edges alone: scipy's chains on dictionaries of neighbors.

    A union is a neighbor of what both parts were neighbors of, at the greater distance. A cluster without
    neighbors is finished. scipy would go on from it to the lowest other cluster, which is where the next
    chain starts here, so that both follow the same path: the lowest unfinished slot first, the cluster that
    the chain came from before an equally near one, else the lowest slot, a union in the slot of its second
    part.
    """
    near: list[dict[int, float]] = [{} for _ in range(edges.n)]
    for i, j, d in zip(edges.rows.tolist(), edges.columns.tolist(), edges.distances.tolist(), strict=True):
        near[i][j] = near[j][i] = d
    parent = np.arange(
        edges.n, dtype=np.int64
    )  # of a dropped slot: the slot it went into, always a higher one
    for start in range(edges.n):
        chain = [start]
        while near[start]:
            chain = chain or [start]
            x = chain[-1]
            distance, y = min((d, slot) for slot, d in near[x].items())
            if len(chain) > 1 and near[x].get(chain[-2]) == distance:
                low, high = sorted(chain[-2:])
                del chain[-2:]
                _unite(near, low, high)
                parent[low] = high
            else:
                chain.append(y)
    for slot in range(edges.n - 1, -1, -1):
        parent[slot] = parent[parent[slot]]
    return canonical(parent)


def _unite(near: list[dict[int, float]], low: int, high: int) -> None:
    """Slot `high` becomes the union of both, slot `low` is dropped."""
    gone, kept = near[low], near[high]
    union = {slot: max(d, kept[slot]) for slot, d in gone.items() if slot in kept}
    for slot in gone:
        del near[slot][low]
    for slot in [slot for slot in kept if slot not in union]:
        del near[slot][high]
    for slot, d in union.items():
        near[slot][high] = d
    near[low], near[high] = {}, union


def medoids_at(edges: Edges, labels: IntArray) -> IntArray:
    """Medoid of each cluster (clusters,): least sum of distances, equal sums the lowest item.

    Every pair inside a cluster of complete linkage at t is an edge of at most t, so that nothing is missing.

    Args:
        edges: Edges; those between clusters are left aside.
        labels: Labels 0, 1, ... of the items, (n,).

    Raises:
        ClusterError: Pairs inside a cluster are missing, as they are for single linkage.
    """
    sizes = np.bincount(labels)
    own = edges.take(labels[edges.rows] == labels[edges.columns])
    missing = sizes * (sizes - 1) // 2 - np.bincount(labels[own.rows], minlength=len(sizes))
    if missing.any():
        raise ClusterError(
            "a medoid needs all distances inside its cluster",
            where=f"cluster {int(missing.argmax())} of {int(sizes[missing.argmax()])} items",
            found=f"{int(missing.max())} pairs without an edge",
            remedy="use complete linkage, or compute the pairs inside of the clusters",
        )
    sums = np.zeros(edges.n)
    for ends in (own.rows, own.columns):
        sums += np.bincount(ends, own.distances, minlength=edges.n)
    return np.array([members[sums[members].argmin()] for members in clusters_of(labels)], dtype=np.int64)
