"""Dynamic time warping written down as plainly as it can be: the reference for the kernels."""

from __future__ import annotations

import math

import numpy as np

from finevla.stages.curate.dtw.metric import Scaling


def band_of_dtaidistance(window, n, m):
    """Cells of dtaidistance's band: |i - j| < window, wider by the difference of the lengths."""
    return lambda i, j: i - max(0, n - m) - window + 1 <= j < i + max(0, m - n) + window


def band_of_the_paper(window, n, m):
    return lambda i, j: abs(i - j) <= max(window, abs(n - m))


def everywhere(_i, _j):
    return True


def table(n, m, cost, inside=everywhere):
    """Cumulated costs, shape (n + 1, m + 1)."""
    total = np.full((n + 1, m + 1), np.inf)
    total[0, 0] = 0.0
    for i in range(n):
        for j in range(m):
            if inside(i, j):
                total[i + 1, j + 1] = cost(i, j) + min(total[i, j], total[i, j + 1], total[i + 1, j])
    return total


def path(total):
    """Pairs of the cheapest path, backwards; ties: both, then the first, then the second trajectory."""
    i, j = total.shape[0] - 1, total.shape[1] - 1
    pairs = []
    while i > 0 and j > 0:
        pairs.append((i - 1, j - 1))
        both, first, second = total[i - 1, j - 1], total[i - 1, j], total[i, j - 1]
        if both <= min(first, second):
            i, j = i - 1, j - 1
        elif first <= second:
            i -= 1
        else:
            j -= 1
    return pairs


def squared(a, b, window=None):
    inside = everywhere if window is None else band_of_dtaidistance(window, len(a), len(b))
    return math.sqrt(table(len(a), len(b), lambda i, j: float(((a[i] - b[j]) ** 2).sum()), inside)[-1, -1])


def along_the_path(a, b, cost, grip, *, two_stage=True, w_grip=0.5, window=None):
    """The paper's distance: mean cost of the path's pairs plus the mean gripper difference on it."""
    inside = everywhere if window is None else band_of_the_paper(window, len(a), len(b))

    def of_pair(i, j):
        return cost(a[i], b[j]) + (0.0 if two_stage else w_grip * grip(a[i], b[j]))

    total = table(len(a), len(b), of_pair, inside)
    pairs = path(total)
    distance = total[-1, -1] / len(pairs)
    if two_stage:
        distance += w_grip * sum(grip(a[i], b[j]) for i, j in pairs) / len(pairs)
    return distance


def eef_cost(w_rot):
    """Position and angle of both arms; frames of two times x, y, z, quaternion, gripper."""

    def cost(p, q):
        total = 0.0
        for s in range(0, len(p), 8):
            dot = min(abs(float(p[s + 3 : s + 7] @ q[s + 3 : s + 7])), 1.0)
            total += float(np.linalg.norm(p[s : s + 3] - q[s : s + 3])) + w_rot * 2.0 * math.acos(dot)
        return total

    return cost


def eef_grip(p, q):
    return sum(abs(float(p[s + 7] - q[s + 7])) for s in range(0, len(p), 8))


def prepared(metric, trajectories):
    """All trajectories of a small group as the kernels want them, shape (T, D) each."""
    scaling = Scaling.of(metric, trajectories)
    return [scaling.apply(trajectory) for trajectory in trajectories]
