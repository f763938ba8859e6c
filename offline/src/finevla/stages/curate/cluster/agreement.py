"""How well a partition agrees with known labels, and whether representatives cover them."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from finevla.stages.curate.cluster.condensed import ClusterError, FloatArray


def _codes(labels: Sequence[Hashable]) -> list[int]:
    numbers: dict[Hashable, int] = {}
    return [numbers.setdefault(label, len(numbers)) for label in labels]


def _pairs(counts: FloatArray) -> float:
    return float((counts * (counts - 1.0) / 2.0).sum())


def adjusted_rand_index(one: Sequence[Hashable], other: Sequence[Hashable]) -> float:
    """Adjusted Rand index (Hubert and Arabie 1985): 1 for the same partition, 0 on average for chance.

    Args:
        one: Label of each item.
        other: Label of each item in the other partition; labels need not be the same words.

    Raises:
        ClusterError: No items, or not as many in both.
    """
    if len(one) != len(other) or not len(one):
        raise ClusterError(
            "two partitions of the same items are needed",
            expected="as many labels in both, at least one",
            found=f"{len(one)} and {len(other)}",
        )
    rows, columns = np.array(_codes(one)), np.array(_codes(other))
    table = np.zeros((rows.max() + 1, columns.max() + 1))
    np.add.at(table, (rows, columns), 1.0)
    together = _pairs(table)
    in_one, in_other = _pairs(table.sum(axis=1)), _pairs(table.sum(axis=0))
    expected = in_one * in_other / max(_pairs(np.array([float(len(one))])), 1.0)
    most = (in_one + in_other) / 2.0
    # Equal only where both put all items together, or both none.
    return 1.0 if most == expected else (together - expected) / (most - expected)


@dataclass(frozen=True)
class Coverage:
    """Which labels have a representative.

    Args:
        labels: Number of different labels.
        covered: How many of them have at least one representative.
        items: Number of items.
        items_covered: Items whose label has one.
        missing: Labels without one, in the order of their first item.
    """

    labels: int
    covered: int
    items: int
    items_covered: int
    missing: tuple[Hashable, ...]

    @property
    def share(self) -> float:
        """Share of labels that are covered; 1 where there are none."""
        return self.covered / self.labels if self.labels else 1.0


def coverage(labels: Sequence[Hashable], representatives: Iterable[int]) -> Coverage:
    """Coverage of the items' labels by representatives, given as positions in `labels`."""
    covered = {labels[item] for item in representatives}
    different = dict.fromkeys(labels)
    return Coverage(
        len(different),
        len(covered),
        len(labels),
        sum(label in covered for label in labels),
        tuple(label for label in different if label not in covered),
    )
