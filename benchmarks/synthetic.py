"""Trajectories that nobody recorded: smooth ways through a few places, warped in time, with noise."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

Array = NDArray[np.float64]
KNOTS = 6


def lengths(rng: np.random.Generator, n: int) -> NDArray[np.int64]:
    """80 to 400 frames, 3 % of them 1,000, as the issue wants them."""
    found: NDArray[np.int64] = np.where(rng.random(n) < 0.03, 1000, rng.integers(80, 401, n))
    return found


def _warped(rng: np.random.Generator, frames: int) -> Array:
    """Times from 0 to 1 that go by at an uneven pace, shape (frames,)."""
    pace = np.convolve(rng.gamma(4.0, 1.0, frames + 8), np.ones(9) / 9.0, "valid")
    times = np.cumsum(pace)
    warped: Array = (times - times[0]) / (times[-1] - times[0])
    return warped


def each_joints(rng: np.random.Generator, n: int, strategies: int, width: int = 14) -> Iterator[Array]:
    """Joints of both arms of n demonstrations, shape (T, 14) each: from home on along one of several ways.

    The numbers are those that float32 can hold, so that contestants see the same.
    """
    home = rng.normal(0.0, 0.3, width)
    ways = [np.vstack([home, home + rng.normal(0.0, 0.7, (KNOTS - 1, width))]) for _ in range(strategies)]
    for k, frames in enumerate(lengths(rng, n)):
        knots = ways[k % strategies] + rng.normal(0.0, 0.05, (KNOTS, width))
        knots[0] = home + rng.normal(0.0, 0.01, width)
        curve = CubicSpline(np.linspace(0.0, 1.0, KNOTS), knots)(_warped(rng, int(frames)))
        yield (curve + rng.normal(0.0, 0.005, curve.shape)).astype(np.float32).astype(np.float64)


def joints(rng: np.random.Generator, n: int, strategies: int, width: int = 14) -> list[Array]:
    """All of them."""
    return list(each_joints(rng, n, strategies, width))


def poses(rng: np.random.Generator, n: int, strategies: int) -> list[Array]:
    """Poses of both hands, shape (T, 16) each: x, y, z, unit quaternion, gripper for each arm."""
    found = []
    for walk in joints(rng, n, strategies, 16):
        for s in (3, 11):
            turn = 0.5 * walk[:, s : s + 4] + np.array([0.0, 0.0, 0.0, 1.5])
            walk[:, s : s + 4] = turn / np.linalg.norm(turn, axis=1, keepdims=True)
        found.append(walk.astype(np.float32).astype(np.float64))
    return found


def group_sizes(rng: np.random.Generator, groups: int, episodes: int) -> NDArray[np.int64]:
    """Sizes of many groups, few of them large (log-normal), that add up to a number of episodes."""
    shares = rng.lognormal(0.0, 1.0, groups)
    sizes = np.maximum(1, np.floor(shares / shares.sum() * episodes)).astype(np.int64)
    order = np.argsort(-sizes)
    for k in range(abs(int(episodes - sizes.sum()))):
        sizes[order[k % groups]] += 1 if sizes.sum() < episodes else -1
    return sizes


def pool(rng: np.random.Generator, groups: int, episodes: int) -> Iterator[tuple[int, Array]]:
    """Number of the task and poses of every trajectory of a pool of tasks, each done in up to five ways."""
    for number, size in enumerate(group_sizes(rng, groups, episodes)):
        for trajectory in poses(rng, int(size), int(rng.integers(1, 6))):
            yield number, trajectory
