"""Who stands for a cluster: medoids, k-medoids, representatives within a budget, the paper's random draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum
from typing import Protocol

import numpy as np
from scipy.spatial.distance import squareform

from finevla.stages.curate.cluster.condensed import (
    ClusterError,
    FloatArray,
    IntArray,
    canonical,
    checked,
    count_of,
    pair_index,
)

PAPER_SEED = 42
SUM_ROUNDING = 1e-12  # relative error of a sum of up to thousands of float64 terms, with room to spare
LEAST_GAIN = 1e-12  # a swap must gain more than rounding, or two medoids could change places for ever


class Lookup(Protocol):
    """Distances as they are asked for here: `ExactDistances`, or `mended.MendedDistances`."""

    def sums(self, members: IntArray) -> tuple[FloatArray, FloatArray]:
        """Least and greatest sum (s,) of the distances of each member to the other members."""
        ...

    def between(self, item: int, members: IntArray) -> FloatArray:
        """Exact distances (s,) from an item to members; 0 to itself."""
        ...


class ExactDistances:
    """Float64 distances, condensed (n (n - 1) / 2,), as a `Lookup`."""

    def __init__(self, distances: FloatArray) -> None:
        self.values = checked(distances)
        self.n = count_of(len(self.values))

    def sums(self, members: IntArray) -> tuple[FloatArray, FloatArray]:
        """See `Lookup`; both are the sum."""
        totals = np.array([self.between(int(item), members).sum() for item in members])
        return totals, totals

    def between(self, item: int, members: IntArray) -> FloatArray:
        """See `Lookup`."""
        others = members != item
        row = np.zeros(len(members))
        row[others] = self.values[pair_index(self.n, np.array(item), members[others])]
        return row


def medoid(lookup: Lookup, members: IntArray) -> int:
    """The member with the least sum of distances to the others; equal sums: the lowest item.

    Members whose sums could be least are compared by exact distances, summed without rounding.

    Args:
        lookup: Distances.
        members: Sorted items, at least one.
    """
    low, high = lookup.sums(members)
    candidates = members[low * (1.0 - SUM_ROUNDING) <= high.min() * (1.0 + SUM_ROUNDING)]
    if len(candidates) == 1:
        return int(candidates[0])
    sums = [fsum(lookup.between(int(item), members).tolist()) for item in candidates]
    return int(candidates[int(np.argmin(sums))])


def medoids_of(lookup: Lookup, clusters: Sequence[IntArray]) -> list[int]:
    """The medoid of each cluster."""
    return [medoid(lookup, members) for members in clusters]


def random_representatives(clusters: Sequence[IntArray], seed: int = PAPER_SEED) -> list[int]:
    """A random member of each cluster, one generator over all of them in the order given, as in the paper.

    The paper's order is `cut.paper_order` for a flat cut, and sorted leaf paths for a recursive one.
    """
    generator = np.random.RandomState(seed)  # the paper's; another draws others
    return [int(generator.choice(members)) for members in clusters]


def representatives(
    lookup: Lookup, clusters: Sequence[IntArray], budget: int, excluded: frozenset[int] = frozenset()
) -> list[list[int]]:
    """Representatives of each cluster, `budget` of them in all; a cluster can get none.

    First every cluster gets its medoid, larger clusters first (equal sizes: the one with the lowest item),
    while the budget lasts. Each further one goes to the member, of any cluster, that is farthest from the
    nearest representative of its own cluster (equal: the lowest item): greedy k-center (Gonzalez 1985),
    which is within twice the best radius. A member without any distance to a representative adds nothing
    and is not taken.

    Args:
        lookup: Distances.
        clusters: Sorted items of each cluster.
        budget: Most representatives, 0 or more.
        excluded: Items that are not taken beyond the medoids: outliers.
    """
    chosen: list[list[int]] = [[] for _ in clusters]
    order = sorted(range(len(clusters)), key=lambda c: (-len(clusters[c]), int(clusters[c][0])))
    nearest: dict[int, FloatArray] = {}
    for c in order[: max(budget, 0)]:
        chosen[c].append(medoid(lookup, clusters[c]))
    left = budget - sum(map(len, chosen))
    if left > 0:
        for c in order:
            nearest[c] = lookup.between(chosen[c][0], clusters[c])
            nearest[c][np.isin(clusters[c], sorted(excluded))] = 0.0
    for _ in range(left if clusters else 0):
        far = [(-float(nearest[c].max()), int(clusters[c][nearest[c].argmax()]), c) for c in order]
        gain, item, c = min(far)
        if gain == 0.0:
            break
        chosen[c].append(item)
        nearest[c] = np.minimum(nearest[c], lookup.between(item, clusters[c]))
    return chosen


@dataclass(frozen=True, eq=False)
class Medoids:
    """A k-medoids clustering.

    Args:
        medoids: Medoid of each cluster, (k,).
        labels: Partition (n,): 0, 1, ... in the order of the clusters' lowest items, as of a tree's cut.
        loss: Sum of distances of items to their medoids.
        swaps: How often a medoid was exchanged after the start.
    """

    medoids: IntArray
    labels: IntArray
    loss: float
    swaps: int


def k_medoids(distances: FloatArray, k: int) -> Medoids:
    """Partitioning around medoids: BUILD of Kaufman and Rousseeuw (1990), then eager swaps.

    The swaps are FasterPAM's (Schubert and Rousseeuw 2021): for each candidate the change of the loss for
    all k medoids at once in O(n), the best exchange taken at once, until a whole round finds none. The
    result is a local optimum: no exchange of one medoid gains. No random numbers; ties go to the lowest
    item. An item between equally near medoids belongs to the lowest.

    Args:
        distances: Condensed, (n (n - 1) / 2,).
        k: Number of clusters, 1 to n.

    Raises:
        ClusterError: k out of range, or bad distances.
    """
    vector = checked(distances)
    n = count_of(len(vector))
    if not 1 <= k <= n:
        raise ClusterError("there is no such number of medoids", expected=f"1 to {n}", found=k)
    full = np.asarray(squareform(vector), dtype=np.float64)
    chosen, swaps = _swap(full, _build(full, k))
    chosen = np.sort(chosen)
    owner = full[:, chosen].argmin(axis=1).astype(np.int64)
    owner[chosen] = np.arange(k)  # a copy of another medoid still owns itself
    labels = canonical(owner)
    loss = float(full[np.arange(n), chosen[owner]].sum())
    return Medoids(chosen[np.argsort(labels[chosen])], labels, loss, swaps)


def _build(full: FloatArray, k: int) -> IntArray:
    chosen = [int(full.sum(axis=1).argmin())]
    nearest = full[chosen[0]].copy()
    for _ in range(k - 1):
        gain = np.maximum(nearest[None, :] - full, 0.0).sum(axis=1)
        gain[chosen] = -1.0
        chosen.append(int(gain.argmax()))
        nearest = np.minimum(nearest, full[chosen[-1]])
    return np.array(chosen, dtype=np.int64)


def _two_nearest(full: FloatArray, chosen: IntArray) -> tuple[IntArray, FloatArray, FloatArray]:
    """Position of the nearest medoid, distances to the nearest and the second nearest, each (n,)."""
    to_medoids = full[:, chosen]
    near = to_medoids.argmin(axis=1).astype(np.int64)
    first = to_medoids[np.arange(len(full)), near]
    to_medoids[np.arange(len(full)), near] = np.inf
    return near, first, to_medoids.min(axis=1)


def _swap(full: FloatArray, chosen: IntArray) -> tuple[IntArray, int]:
    n, k = len(full), len(chosen)
    if k in {1, n}:
        return chosen, 0  # BUILD's first medoid is the best single one, and all items have no rival
    near, first, second = _two_nearest(full, chosen)
    swaps = since = candidate = 0
    while since < n:
        if candidate not in chosen:
            row = full[candidate]
            gained = np.minimum(row - first, 0.0).sum()
            closer, between = row < first, (row >= first) & (row < second)
            lost = np.where(closer, 0.0, np.where(between, row, second) - first)
            change = np.bincount(near, lost, minlength=k) + gained
            out = int(change.argmin())
            if change[out] < -LEAST_GAIN * first.sum():
                chosen[out] = candidate
                near, first, second = _two_nearest(full, chosen)
                swaps, since = swaps + 1, -1
        since, candidate = since + 1, (candidate + 1) % n
    return chosen, swaps
