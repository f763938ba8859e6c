"""A dendrogram from condensed distances, through scipy."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy.cluster.hierarchy import linkage
from scipy.linalg import eigh
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import squareform

from finevla.stages.curate.cluster.condensed import BoolArray, FloatArray, IntArray, canonical, checked

WARD_DIMENSIONS = 10


class Linkage(StrEnum):
    """How far apart two clusters are."""

    AVERAGE = "average"
    COMPLETE = "complete"
    SINGLE = "single"
    WARD = "ward"


@dataclass(frozen=True, eq=False)
class Tree:
    """A dendrogram of n items.

    Args:
        linkage: How it was grown.
        merges: scipy's linkage matrix, (n - 1, 4): two nodes, their height, the size of the new node. Items
            are nodes 0 to n - 1; row r makes node n + r. Rows are in order of height, equal heights in the
            order in which scipy found them.
    """

    linkage: Linkage
    merges: FloatArray

    @property
    def n(self) -> int:
        """Number of items."""
        return len(self.merges) + 1

    @property
    def heights(self) -> FloatArray:
        """Heights of the merges, (n - 1,), in the unit of the distances (for ward: of the embedding)."""
        return self.merges[:, 2]

    def height(self, k: int) -> float:
        """h(k): the height of the merge that takes k clusters to k - 1, for k of 2 to n."""
        if not 2 <= k <= self.n:
            raise ValueError(f"h(k) is defined for k of 2 to {self.n}, not {k}")
        return float(self.merges[self.n - k, 2])

    def members(self, node: int) -> IntArray:
        """Sorted items below a node."""
        found, waiting = [], [node]
        while waiting:
            at = waiting.pop()
            if at < self.n:
                found.append(at)
            else:
                waiting.extend(int(child) for child in self.merges[at - self.n, :2])
        return np.sort(np.array(found, dtype=np.int64))

    def visit_order(self) -> IntArray:
        """Items in the order in which `fcluster` comes to them: merged parts before single items."""
        order, waiting = [], [2 * self.n - 2]
        while waiting:
            at = waiting.pop()
            if at < self.n:
                order.append(at)
            else:
                left, right = self.merges[at - self.n, :2].astype(np.int64).tolist()
                waiting += sorted((right, left), key=lambda child: child >= self.n)
        return np.array(order, dtype=np.int64)

    def subtree_heights(self) -> FloatArray:
        """Greatest height at or below each merge, (n - 1,): what `fcluster` compares with a threshold.

        Rounding can put a merge of an average linkage a last bit below one of its children.
        """
        greatest = np.concatenate([np.zeros(self.n), self.heights])
        for row, (left, right) in enumerate(self.merges[:, :2].astype(np.int64).tolist()):
            greatest[self.n + row] = max(greatest[self.n + row], greatest[left], greatest[right])
        return greatest[self.n :]

    def ends(self) -> IntArray:
        """One item of the left and one of the right part of each merge, (n - 1, 2)."""
        item, found = list(range(self.n)), []
        for left, right in self.merges[:, :2].astype(np.int64).tolist():
            found.append((item[left], item[right]))
            item.append(item[left])
        return np.array(found, dtype=np.int64).reshape(-1, 2)

    def partition(self, done: BoolArray) -> IntArray:
        """Labels (n,) where only the merges marked in `done` (n - 1,) have happened; canonical numbers."""
        rows, columns = self.ends()[done].T
        graph = coo_array((np.ones(len(rows)), (rows, columns)), shape=(self.n, self.n))
        return canonical(np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64))


def grow(distances: FloatArray, kind: Linkage) -> Tree:
    """The dendrogram of condensed distances.

    The same vector gives the same tree. Ties are scipy's: average, complete and ward follow nearest-neighbour
    chains that prefer the cluster they came from, then the lowest slot (a merged cluster keeps the slot of
    its second part); single follows Prim's algorithm from item 0 and takes the lowest item.

    Ward needs coordinates. As in the paper they come from multidimensional scaling to at most ten dimensions;
    upstream's is iterative and seeded, this one is classical (Torgerson 1952) and needs no seed.

    Args:
        distances: Condensed, (n (n - 1) / 2,).
        kind: Linkage.

    Raises:
        ClusterError: Distances that are no condensed vector of finite numbers of 0 or more.
    """
    vector = checked(distances)
    if not len(vector):
        return Tree(kind, np.zeros((0, 4)))
    if kind is Linkage.WARD:
        return Tree(kind, np.asarray(linkage(embed(vector), method="ward"), dtype=np.float64))
    return Tree(kind, np.asarray(linkage(vector, method=kind.value), dtype=np.float64))


def embed(distances: FloatArray, dimensions: int = WARD_DIMENSIONS) -> FloatArray:
    """Classical multidimensional scaling (Torgerson 1952), (n, at most `dimensions`) coordinates.

    Double-centers the squared distances and keeps the axes of the greatest positive eigenvalues.

    Args:
        distances: Condensed, of two items or more.
        dimensions: Most axes to keep; no more than n - 1 are kept.
    """
    squared = np.asarray(squareform(checked(distances)), dtype=np.float64) ** 2
    n = len(squared)
    mean = squared.mean(axis=0)
    gram = -0.5 * (squared - mean[:, None] - mean[None, :] + mean.mean())
    kept = min(dimensions, n - 1)
    values, vectors = eigh(gram, subset_by_index=(n - kept, n - 1))
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)), dtype=np.float64)
