"""What the report draws of a group, as numbers: dendrogram, cuts of it, distance map. Pure functions.

A cut needs no tree: in the order of the leaves every cluster is a run, and two neighbours are parted
where the height at which they come together, their join, is above the cut. The page does the same in
the browser (`plots.js`), so that a slider can move the cut.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

import numpy as np

from finevla.stages.curate.cluster.condensed import BoolArray, FloatArray, IntArray, pair_index
from finevla.stages.curate.cluster.tree import Linkage, Tree

HEAT_SIZE = 400
DRAWN_LINKS = 1500
COLOR_TOP = 0.98
"""The colours of a distance map end at this quantile, so that one far episode does not use them all up."""


@dataclass(frozen=True, eq=False)
class Dendrogram:
    """A dendrogram of n leaves as it is drawn.

    Attributes:
        order: Items in the order of the leaves, shape (n,); that of scipy's `leaves_list`.
        joins: Height at which leaf i and leaf i + 1 come together, shape (n - 1,).
        births: Rank of each leaf's colour, shape (n,): a part that splits off takes the next one, the
            larger part keeps its own; a cluster has the lowest of its leaves. So colours stay as the cut
            moves.
        first: First leaf under each merge, shape (n - 1,).
        last: Last leaf under each merge, shape (n - 1,).
        middles: Where each node stands over the leaves, shape (2 n - 1,); leaf i is at i + 0.5.
    """

    order: IntArray
    joins: FloatArray
    births: IntArray
    first: IntArray
    last: IntArray
    middles: FloatArray


def dendrogram(merges: FloatArray) -> Dendrogram:
    """Lays out scipy's linkage matrix (n - 1, 4), the left part of each merge first."""
    n = len(merges) + 1
    children = merges[:, :2].astype(np.int64)
    sizes = np.concatenate([np.ones(n, np.int64), merges[:, 3].astype(np.int64)])
    first, births = np.zeros(2 * n - 1, np.int64), np.zeros(2 * n - 1, np.int64)
    for row in reversed(range(n - 1)):
        left, right = children[row]
        first[left], first[right] = first[n + row], first[n + row] + sizes[left]
        old, new = (left, right) if sizes[left] >= sizes[right] else (right, left)
        births[old], births[new] = births[n + row], n - 1 - row
    middles = first.astype(np.float64) + 0.5
    for row, (left, right) in enumerate(children):
        middles[n + row] = (middles[left] + middles[right]) / 2
    order = np.argsort(first[:n]).astype(np.int64)
    joins = np.zeros(n - 1)
    joins[first[children[:, 1]] - 1] = Tree(Linkage.AVERAGE, merges).subtree_heights()
    return Dendrogram(order, joins, births[order], first[n:], first[n:] + sizes[n:] - 1, middles)


def labels_at(joins: FloatArray, height: float) -> IntArray:
    """Clusters (n,) of the leaves, numbered along them, where merges of at most `height` have happened."""
    return np.concatenate([[0], np.cumsum(joins > height)]).astype(np.int64)


def colors(labels: IntArray, births: IntArray) -> IntArray:
    """A colour number 0, 1, ... for each leaf by its cluster; -1 stays -1 (in no cluster)."""
    clusters = [c for c in np.unique(labels) if c >= 0]
    ranked = sorted(clusters, key=lambda c: int(births[labels == c].min()))
    number = {c: rank for rank, c in enumerate(ranked)}
    return np.array([number.get(c, -1) for c in labels], dtype=np.int64)


def links(merges: FloatArray, drawn: Dendrogram, most: int = DRAWN_LINKS) -> dict[str, list[float]]:
    """The tallest merges as brackets: two feet x0, x1, their heights y0, y1, the top h, the leaves below."""
    n = len(merges) + 1
    left, right = merges[:, :2].astype(np.int64).T
    heights = np.concatenate([np.zeros(n), merges[:, 2]])
    columns = {
        "x0": drawn.middles[left],
        "x1": drawn.middles[right],
        "y0": heights[left],
        "y1": heights[right],
        "h": merges[:, 2],
        "first": drawn.first,
        "last": drawn.last,
    }
    return {name: rounded(values[-most:]) for name, values in columns.items()}


def rounded(values: FloatArray | IntArray) -> list[float]:
    """Numbers to six digits, in half the text."""
    return [float(f"{value:.6g}") if value % 1 else int(value) for value in values.tolist()]


def order_without_tree(labels: IntArray) -> IntArray:
    """Items cluster by cluster, those in none last, shape (n,)."""
    return np.argsort(np.where(labels < 0, len(labels), labels), kind="stable").astype(np.int64)


@dataclass(frozen=True, eq=False)
class Heat:
    """A distance map in the order of the leaves.

    Attributes:
        edges: Where its rows and columns begin and end along the leaves, shape (size + 1,).
        values: Distances, shape (size, size); means over pairs where several leaves share a row; NaN where
            no distance is known.
        top: Where the colours end.
    """

    edges: IntArray
    values: FloatArray
    top: float

    @property
    def averaged(self) -> bool:
        """Whether several leaves share a row."""
        return bool(self.edges[-1] > len(self.values))


def heat(condensed: FloatArray, order: IntArray, most: int = HEAT_SIZE) -> Heat:
    """Orders condensed distances by the leaves, and averages them down to `most` rows.

    The distance of an episode to itself has no part in a mean.
    """
    n, size = len(order), min(len(order), most)
    edges = np.round(np.linspace(0, n, size + 1)).astype(np.int64)
    values = np.zeros((size, size))
    for row in range(size):
        values[row] = _means(condensed, order, edges, order[edges[row] : edges[row + 1]])
    known = condensed[np.isfinite(condensed)]
    top = float(np.quantile(known, COLOR_TOP)) if len(known) else 0.0
    return Heat(edges, values, top or float(known.max(initial=0.0)) or 1.0)


def _means(condensed: FloatArray, order: IntArray, edges: IntArray, items: IntArray) -> FloatArray:
    """Mean distance of some items to those of every column, shape (size,)."""
    n = len(order)
    same = items[:, None] == order[None, :]
    index = np.where(same, 0, pair_index(n, items[:, None], order[None, :]))
    distances = condensed[index].astype(np.float64) if len(condensed) else np.zeros(same.shape)
    counted = np.isfinite(distances) & ~same
    sums = np.add.reduceat(np.where(counted, distances, 0.0), edges[:-1], axis=1).sum(axis=0)
    counts = np.add.reduceat(counted, edges[:-1], axis=1, dtype=np.int64).sum(axis=0)
    alone = np.add.reduceat(same, edges[:-1], axis=1, dtype=np.int64).sum(axis=0) == 1
    means = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    lone: BoolArray = alone & (counts == 0) & (np.diff(edges) == 1)
    return np.asarray(np.where(lone, 0.0, means), dtype=np.float64)


def packed(picture: Heat) -> dict[str, object]:
    """A distance map in JSON types: the upper triangle row by row in steps, the highest for unknown.

    Means are kept to 1/254 of the greatest distance, distances themselves to 1/65534.
    """
    levels = 255 if picture.averaged else 65535
    upper = picture.values[np.triu_indices(len(picture.values))]
    known = np.isfinite(upper)
    step = float(upper[known].max(initial=0.0)) / (levels - 1)
    steps = np.where(known, np.round(np.where(known, upper, 0.0) / (step or 1.0)), levels)
    return {
        "edges": picture.edges.tolist(),
        "bytes": base64.b64encode(steps.astype("<u2" if levels > 255 else "u1").tobytes()).decode(),
        "levels": levels,
        "step": step,
        "top": float(f"{picture.top:.6g}"),
        "averaged": picture.averaged,
        "unknown": int((~known).sum()),
    }
