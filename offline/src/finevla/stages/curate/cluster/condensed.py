"""Condensed distance vectors, pairs and labels: the vocabulary of this package.

A condensed vector holds the upper triangle of an n x n distance matrix row by row, as in scipy:
(0,1), (0,2), ..., (0,n-1), (1,2), ...; its length is n (n - 1) / 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from finevla.errors import FineVLAError

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


class ClusterError(FineVLAError):
    """Distances, edges or settings from which no clusters can be made."""


def count_of(length: int) -> int:
    """Number of items n of a condensed vector of `length` entries; an empty vector is one item.

    Raises:
        ClusterError: No n has that many pairs.
    """
    n = (1 + isqrt(1 + 8 * length)) // 2
    if n * (n - 1) // 2 != length:
        raise ClusterError(
            "this is no condensed distance vector",
            expected="n (n - 1) / 2 entries for some n",
            found=f"{length} entries",
            remedy="pass the upper triangle of the distance matrix, row by row, without the diagonal",
        )
    return n


def checked(distances: ArrayLike) -> FloatArray:
    """The condensed vector as float64, contiguous, checked.

    Raises:
        ClusterError: Wrong shape, or a distance that is negative or not finite.
    """
    vector = np.ascontiguousarray(distances, dtype=np.float64)
    if vector.ndim != 1:
        raise ClusterError("distances must be condensed", expected="one dimension", found=vector.shape)
    n = count_of(len(vector))
    bad = np.flatnonzero(~(np.isfinite(vector) & (vector >= 0.0)))
    if len(bad):
        i, j = pairs_at(n, bad[:1])[0].tolist()
        raise ClusterError(
            f"{len(bad)} distances are negative or not finite",
            where=f"the first is between items {i} and {j}",
            expected="finite, 0 or more",
            found=vector[bad[0]],
            remedy="look for non-finite values in the trajectories of these items",
        )
    return vector


def pair_index(n: int, rows: IntArray, columns: IntArray) -> IntArray:
    """Positions of pairs in a condensed vector of n items; broadcasts, either order, rows != columns."""
    low, high = np.minimum(rows, columns), np.maximum(rows, columns)
    return np.asarray(n * low - low * (low + 1) // 2 + high - low - 1, dtype=np.int64)


def pairs_at(n: int, index: IntArray) -> IntArray:
    """Pairs (K, 2), lower item first, at positions (K,) of a condensed vector; undoes `pair_index`."""
    starts = np.arange(n) * (2 * n - np.arange(n) - 1) // 2  # position of (i, i + 1)
    rows = np.searchsorted(starts[: n - 1], index, side="right") - 1
    return np.stack([rows, index - starts[rows] + rows + 1], axis=1).astype(np.int64)


def inner_index(n: int, members: IntArray) -> IntArray:
    """Positions of all pairs among sorted `members`, in the order of their own condensed vector."""
    rows, columns = np.triu_indices(len(members), 1)
    return pair_index(n, members[rows], members[columns])


def canonical(labels: IntArray) -> IntArray:
    """The same partition, clusters numbered 0, 1, ... by their lowest item."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]


def labels_of(clusters: Sequence[IntArray]) -> IntArray:
    """Labels (n,) of clusters that share out items 0 to n - 1: the place of each in the list."""
    labels = np.empty(sum(map(len, clusters)), dtype=np.int64)
    for number, members in enumerate(clusters):
        labels[members] = number
    return labels


def clusters_of(labels: IntArray) -> list[IntArray]:
    """Sorted members of each cluster, clusters in the order of their labels 0, 1, ..."""
    order = np.argsort(labels, kind="stable").astype(np.int64)
    return np.split(order, np.cumsum(np.bincount(labels))[:-1])
