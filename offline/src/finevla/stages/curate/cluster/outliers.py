"""Members that do not belong: alone at the cut, or far from the medoid of their cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from finevla.stages.curate.cluster.condensed import FloatArray, IntArray
from finevla.stages.curate.cluster.medoids import Lookup

LEAST_MEMBERS = 5
DEFAULT_SCORE = 3.5
MAD_TO_SIGMA = 1.4826  # of a normal distribution: 1 / 0.6745
MEAN_TO_SIGMA = 1.2533


class Reason(StrEnum):
    """Why an item is an outlier."""

    ALONE = "alone in its cluster"
    FAR = "far from the medoid of its cluster"


@dataclass(frozen=True)
class Outlier:
    """An item that does not belong.

    Args:
        item: Which.
        cluster: Position of its cluster.
        reason: Why.
        distance: To the medoid of its cluster, in the unit of the distances; 0 for an item alone.
        limit: Greatest distance that is ordinary in this cluster; 0 for an item alone.
    """

    item: int
    cluster: int
    reason: Reason
    distance: float
    limit: float


def ordinary_limit(distances: FloatArray, score: float = DEFAULT_SCORE) -> float:
    """Greatest ordinary distance: median + score * 1.4826 * MAD, MAD the median absolute deviation.

    That is the modified z-score of Iglewicz and Hoaglin (1993), whose limit is 3.5, on the far side only.
    Where more than half of the distances are equal the MAD is 0; then 1.2533 times the mean absolute
    deviation stands for it, as they do.

    Args:
        distances: Of a cluster's members to its medoid, the medoid left out, (s - 1,).
        score: Standard deviations that are still ordinary.
    """
    median = float(np.median(distances))
    deviations = np.abs(distances - median)
    mad = float(np.median(deviations))
    sigma = MAD_TO_SIGMA * mad if mad > 0.0 else MEAN_TO_SIGMA * float(deviations.mean())
    return median + score * sigma


def outliers(
    lookup: Lookup, clusters: Sequence[IntArray], medoids: Sequence[int], score: float = DEFAULT_SCORE
) -> list[Outlier]:
    """Outliers of all clusters, sorted by item.

    A member alone in its cluster is one, unless there is only this cluster. In a cluster of five or more,
    so is a member farther from the medoid than `ordinary_limit`; fewer members have no spread to speak of.

    Args:
        lookup: Distances; with `mended.MendedDistances` those to the medoids are made exact.
        clusters: Sorted items of each cluster.
        medoids: Medoid of each cluster.
        score: See `ordinary_limit`.
    """
    found = []
    for cluster, (members, center) in enumerate(zip(clusters, medoids, strict=True)):
        if len(members) == 1 and len(clusters) > 1:
            found.append(Outlier(int(members[0]), cluster, Reason.ALONE, 0.0, 0.0))
        if len(members) >= LEAST_MEMBERS:
            others = members[members != center]
            distances = lookup.between(center, others)
            limit = ordinary_limit(distances, score)
            far = np.flatnonzero(distances > limit).tolist()
            found += [Outlier(int(others[i]), cluster, Reason.FAR, float(distances[i]), limit) for i in far]
    return sorted(found, key=lambda outlier: outlier.item)
