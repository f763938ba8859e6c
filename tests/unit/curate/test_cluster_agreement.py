"""Agreement with known labels."""

from __future__ import annotations

import numpy as np
import pytest

from finevla.stages.curate.cluster.agreement import adjusted_rand_index, coverage
from finevla.stages.curate.cluster.condensed import ClusterError


@pytest.mark.parametrize(
    ("one", "other", "index"),
    [
        ([0, 0, 1, 1], [0, 0, 1, 1], 1.0),
        ([0, 0, 1, 1], ["b", "b", "a", "a"], 1.0),
        ([0, 0, 1, 2], [0, 0, 1, 1], 4 / 7),  # (1 - 1/3) / (3/2 - 1/3)
        ([0, 0, 1, 1], [0, 0, 1, 2], 4 / 7),
        ([0, 0, 0, 0], [0, 1, 2, 3], 0.0),
        ([0, 0, 1, 1], [0, 1, 0, 1], -0.5),
        ([0, 0, 0], [5, 5, 5], 1.0),
        ([0, 1, 2], [2, 1, 0], 1.0),
        ([0], [3], 1.0),
    ],
)
def test_adjusted_rand_index_of_worked_examples(one: list[int], other: list[int], index: float) -> None:
    assert adjusted_rand_index(one, other) == pytest.approx(index)


def test_chance_scores_nothing() -> None:
    rng = np.random.default_rng(0)
    scores = [
        adjusted_rand_index(rng.integers(4, size=200).tolist(), rng.integers(5, size=200).tolist())
        for _ in range(200)
    ]
    assert abs(np.mean(scores)) < 0.003


def test_partitions_of_different_items_are_refused() -> None:
    with pytest.raises(ClusterError, match="2 and 3"):
        adjusted_rand_index([0, 1], [0, 1, 2])
    with pytest.raises(ClusterError, match="0 and 0"):
        adjusted_rand_index([], [])


def test_coverage_names_what_is_missing() -> None:
    found = coverage(["left", "left", "right", "both", "right", "left"], [1, 4, 0])
    assert (found.labels, found.covered, found.items, found.items_covered) == (3, 2, 6, 5)
    assert found.missing == ("both",)
    assert found.share == pytest.approx(2 / 3)
    assert coverage([], []).share == 1.0
