"""What curation is compared with: dtaidistance and scipy, and the paper's formula as a clean numba loop.

The angle is written as an arc sine of the chord, as in our kernels: the arc cosine of the paper's code is off
by up to 3e-4 rad where two rotations are close and their numbers come out of float32, which changes paths.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from dtaidistance import dtw_ndim
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage

Array = NDArray[np.float64]


def dtaidistance_matrix(series: Sequence[Array], max_dist: float | None = None) -> Array:
    """All pairs, condensed, with OpenMP."""
    found: Array = np.asarray(dtw_ndim.distance_matrix_fast(list(series), max_dist=max_dist, compact=True))
    return found


def dtaidistance_threshold(series: Sequence[Array], threshold: float) -> NDArray[np.int64]:
    """Complete linkage cut at a threshold: dtaidistance's early stop, then scipy."""
    distances = dtaidistance_matrix(series, threshold)
    far = ~(distances <= threshold)
    distances[far] = 1e6
    labels: NDArray[np.int64] = fcluster(linkage(distances, "complete"), threshold, "distance")
    return labels


def numba_matrix() -> Callable[[Array, NDArray[np.int64], NDArray[np.int64], float, float], Array]:  # noqa: C901
    """The paper's distance of both arms, pair by pair on all cores; compiled when it is first called.

    Raises:
        SystemExit: numba is not installed.
    """
    try:
        import numba
    except ImportError as err:
        raise SystemExit("numba is missing: pip install -r benchmarks/requirements.txt") from err

    @numba.njit(cache=False)
    def cost(a: Array, b: Array, w_rot: float) -> float:
        total = 0.0
        for s in (0, 8):
            square, near, far = 0.0, 0.0, 0.0
            for k in range(3):
                square += (a[s + k] - b[s + k]) ** 2
            for k in range(3, 7):
                near += (a[s + k] - b[s + k]) ** 2
                far += (a[s + k] + b[s + k]) ** 2
            chord = math.sqrt(min(near, far))
            total += math.sqrt(square) + w_rot * 4.0 * math.asin(min(0.5 * chord, 1.0))
        return total

    @numba.njit(cache=False)
    def distance(a: Array, b: Array, w_rot: float, w_grip: float) -> float:
        n, m = a.shape[0], b.shape[0]
        sums = np.full((n + 1, m + 1), np.inf)
        sums[0, 0] = 0.0
        for i in range(n):
            for j in range(m):
                best = min(sums[i, j], sums[i, j + 1], sums[i + 1, j])
                sums[i + 1, j + 1] = cost(a[i], b[j], w_rot) + best
        i, j, steps, grip = n, m, 0, 0.0
        while i > 0 and j > 0:
            steps += 1
            grip += abs(a[i - 1, 7] - b[j - 1, 7]) + abs(a[i - 1, 15] - b[j - 1, 15])
            both, up, left = sums[i - 1, j - 1], sums[i - 1, j], sums[i, j - 1]
            if both <= up and both <= left:
                i, j = i - 1, j - 1
            elif up <= left:
                i -= 1
            else:
                j -= 1
        return sums[n, m] / steps + w_grip * grip / steps

    @numba.njit(parallel=True, cache=False)
    def matrix(
        values: Array, starts: NDArray[np.int64], lengths: NDArray[np.int64], w_rot: float, w_grip: float
    ) -> Array:
        n = len(starts)
        out = np.zeros((n, n))
        for i in numba.prange(n):
            for j in range(i + 1, n):
                one = values[starts[i] : starts[i] + lengths[i]]
                other = values[starts[j] : starts[j] + lengths[j]]
                # The longer one first, as our ties are broken.
                if lengths[i] >= lengths[j]:
                    out[i, j] = distance(one, other, w_rot, w_grip)
                else:
                    out[i, j] = distance(other, one, w_rot, w_grip)
        return out

    compiled: Callable[[Array, NDArray[np.int64], NDArray[np.int64], float, float], Array] = matrix
    return compiled
