"""Recursive clustering with the paper's stopping rules: each cluster is split again on its own distances."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Protocol

import numpy as np

from finevla.stages.curate.cluster.condensed import (
    ClusterError,
    FloatArray,
    IntArray,
    checked,
    count_of,
    inner_index,
    labels_of,
)
from finevla.stages.curate.cluster.cut import Gap, by_count, largest_gap, paper_order
from finevla.stages.curate.cluster.tree import Linkage, Tree, grow


class Stop(StrEnum):
    """Why a cluster was not split further."""

    SMALL = "fewer members than min_cluster_size"
    DEPTH = "max_depth reached"
    GAP = "largest relative gap below min_rel_gap"
    LEAVES = "leaf budget used up"


@dataclass(frozen=True)
class RecursiveSettings:
    """The paper's stopping rules; the defaults are those of its command line.

    Args:
        linkage: Linkage of every level.
        k_min: Fewest clusters of a split.
        k_max: See `cut.LargestGap`.
        min_cluster_size: A cluster of fewer members is a leaf.
        max_depth: A cluster at this depth is a leaf; the root has depth 0.
        min_rel_gap: Below the root, a largest gap under this makes a leaf.
        max_leaves: Leaf budget; 0 is no limit.
        hard_budget: The budget holds. Upstream counts only the leaves that it has visited, not the brothers
            that still wait, so that it can end with more than `max_leaves`; False does as upstream does.
    """

    linkage: Linkage = Linkage.AVERAGE
    k_min: int = 2
    k_max: int = 10
    min_cluster_size: int = 4
    max_depth: int = 3
    min_rel_gap: float = 0.3
    max_leaves: int = 20
    hard_budget: bool = True

    def __post_init__(self) -> None:
        """Raises ClusterError on settings that cannot be meant."""
        if (
            self.min_cluster_size < 1
            or self.max_depth < 0
            or self.max_leaves < 0
            or not self.min_rel_gap >= 0
        ):
            raise ClusterError(
                "settings of the recursive clustering are out of range",
                expected="min_cluster_size of 1 or more; max_depth, max_leaves, min_rel_gap of 0 or more",
                found=self,
            )


def _preset(size: int = 5, depth: int = 2, gap: float = 0.3) -> RecursiveSettings:
    return RecursiveSettings(
        min_cluster_size=size, max_depth=depth, min_rel_gap=gap, max_leaves=20, hard_budget=False
    )


# FineVLA-Tool/ClusteringAndSampling/config.py: min_cluster_size, max_depth, min_rel_gap by dataset.
PRESETS: Mapping[str, RecursiveSettings] = MappingProxyType(
    {
        "Galaxea": _preset(gap=0.03),
        "RDT": _preset(size=3),
        "RoboCOIN": _preset(),
        "Bridge": _preset(),
        "RT-1": _preset(size=3, depth=5, gap=0.0),
        "BC_Z": _preset(size=3, depth=5, gap=0.0),
        "DROID": _preset(size=3, depth=5, gap=0.0),  # droid_RoboInter; the plain droid_1.0.1 has the defaults
        "EgoDex": _preset(),
        "RH20T": _preset(size=3, depth=5, gap=0.0),  # RH20T-RoboInter
        "AgiBotWorld": _preset(),
        "RoboMIND": _preset(),
    }
)
# What was run for the release instead (commands in batch_run_by_task.py): average linkage cut by count.
FLAT_COUNTS: Mapping[str, int] = MappingProxyType({"BC_Z": 20, "RT-1": 10, "RH20T": 10, "DROID": 10})


@dataclass(frozen=True, eq=False)
class Leaf:
    """A cluster that is not split further.

    Args:
        path: "0" is the root, "0.2" its second child, children counted from 1 in the order of `paper_order`.
        members: Sorted items.
        stop: Why it is a leaf.
        gap: Its heights, where they were looked at.
    """

    path: str
    members: IntArray
    stop: Stop
    gap: Gap | None

    @property
    def depth(self) -> int:
        """Splits between the root and this leaf."""
        return self.path.count(".")


class Splitter(Protocol):
    """What the recursion asks about a set of items: plain (`DistanceSplitter`) or certified."""

    def gap(self, members: IntArray, settings: RecursiveSettings, floor: float | None) -> Gap:
        """Largest gap of the members' own dendrogram; `floor` is the value that it will be compared with."""
        ...

    def split(self, members: IntArray, k: int) -> list[IntArray]:
        """The members in k clusters, sorted items each, in `paper_order`."""
        ...


class DistanceSplitter:
    """Splits by float64 distances, condensed (n (n - 1) / 2,)."""

    def __init__(self, distances: FloatArray, linkage: Linkage) -> None:
        self._distances = checked(distances)
        self._n = count_of(len(self._distances))
        self._linkage = linkage

    def _tree(self, members: IntArray) -> Tree:
        return grow(self._distances[inner_index(self._n, members)], self._linkage)

    def gap(self, members: IntArray, settings: RecursiveSettings, floor: float | None) -> Gap:  # noqa: ARG002
        """See `Splitter`; exact distances need no floor."""
        return largest_gap(self._tree(members).heights, settings.k_min, settings.k_max)

    def split(self, members: IntArray, k: int) -> list[IntArray]:
        """See `Splitter`."""
        return parts(self._tree(members), members, k)


def parts(tree: Tree, members: IntArray, k: int) -> list[IntArray]:
    """`members` in the k clusters of their tree, in `paper_order`."""
    labels = by_count(tree, k)
    return [members[labels == label] for label in paper_order(tree, labels)]


def recursive(n: int, splitter: Splitter, settings: RecursiveSettings) -> list[Leaf]:
    """Leaves of the recursive clustering of items 0 to n - 1, depth first.

    Args:
        n: Number of items, at least 1.
        splitter: How a set of items is split; see `recursive_by_distances`.
        settings: Stopping rules.
    """
    leaves: list[Leaf] = []
    waiting: list[tuple[str, IntArray]] = [("0", np.arange(n, dtype=np.int64))]
    while waiting:
        path, members = waiting.pop()
        room = settings.max_leaves - len(leaves) - (len(waiting) if settings.hard_budget else 0)
        found = _stop_or_gap(path, members, room, splitter, settings)
        if isinstance(found, Leaf):
            leaves.append(found)
            continue
        k = min(found.k, len(members), room) if settings.max_leaves else min(found.k, len(members))
        children = splitter.split(members, k)
        waiting += [(f"{path}.{i}", child) for i, child in reversed(list(enumerate(children, 1)))]
    return leaves


def _stop_or_gap(
    path: str, members: IntArray, room: int, splitter: Splitter, settings: RecursiveSettings
) -> Leaf | Gap:
    depth = path.count(".")
    if len(members) < max(settings.min_cluster_size, 2):
        return Leaf(path, members, Stop.SMALL, None)
    if depth >= settings.max_depth:
        return Leaf(path, members, Stop.DEPTH, None)
    if settings.max_leaves and room < 2:
        return Leaf(path, members, Stop.LEAVES, None)
    floor = settings.min_rel_gap if depth else None
    gap = splitter.gap(members, settings, floor)
    if floor is not None and gap.best < floor:
        return Leaf(path, members, Stop.GAP, gap)
    return gap


def recursive_by_distances(distances: FloatArray, settings: RecursiveSettings) -> list[Leaf]:
    """Leaves of the recursive clustering of condensed float64 distances."""
    return recursive(count_of(len(distances)), DistanceSplitter(distances, settings.linkage), settings)


def leaf_labels(leaves: list[Leaf]) -> IntArray:
    """Labels (n,): the position of each item's leaf in the list."""
    return labels_of([leaf.members for leaf in leaves])
