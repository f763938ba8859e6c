"""Outliers and their reasons."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from finevla.stages.curate.cluster.medoids import ExactDistances
from finevla.stages.curate.cluster.outliers import Outlier, Reason, ordinary_limit, outliers


def test_the_limit_of_a_worked_example() -> None:
    # Median 3, absolute deviations 2 1 0 1 97, MAD 1.
    assert ordinary_limit(np.array([1.0, 2.0, 3.0, 4.0, 100.0])) == pytest.approx(3 + 3.5 * 1.4826)
    # MAD 0: the mean absolute deviation 6 / 6 = 1 stands for it.
    assert ordinary_limit(np.array([2.0, 2.0, 2.0, 2.0, 2.0, 8.0])) == pytest.approx(2 + 3.5 * 1.2533)
    assert ordinary_limit(np.zeros(5)) == 0.0


def test_reasons() -> None:
    points = np.array([[0.0], [1.0], [-1.0], [2.0], [-2.0], [8.0], [500.0], [900.0], [901.0], [950.0]])
    clusters = [np.arange(6), np.array([6]), np.array([7, 8, 9])]
    found = outliers(ExactDistances(pdist(points)), clusters, [0, 6, 8])
    assert [(o.item, o.cluster, o.reason) for o in found] == [(5, 0, Reason.FAR), (6, 1, Reason.ALONE)]
    assert found[0].distance == 8.0 > found[0].limit
    points[5] = 7.0  # within 2 + 3.5 * 1.4826
    assert [o.item for o in outliers(ExactDistances(pdist(points)), clusters, [0, 6, 8])] == [6]
    assert found[1] == Outlier(6, 1, Reason.ALONE, 0.0, 0.0)


def test_copies_and_a_lone_item_are_ordinary() -> None:
    assert outliers(ExactDistances(np.zeros(15)), [np.arange(6)], [0]) == []
    assert outliers(ExactDistances(np.zeros(0)), [np.array([0])], [0]) == []
