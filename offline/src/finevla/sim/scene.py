"""What lies on the table: the specification of a scene and the random choice of one.

A scene always holds two cubes of different colours and a bowl, all within reach of both arms.
So every combination of task, arm and colour is possible in it, and one scene gives pairs of
instructions that differ in a single word.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from finevla.errors import SimulationError

COLORS: Mapping[str, tuple[float, float, float]] = {
    "red": (0.85, 0.06, 0.06),
    "blue": (0.06, 0.16, 0.85),
    "green": (0.05, 0.55, 0.12),
    "yellow": (0.95, 0.80, 0.05),
}
"""Colours of the cubes: the word and the linear RGB value."""

CUBE_EDGE_M = 0.036
BOWL_RADIUS_M = 0.052
"""Inner radius of the bowl's ring."""
BOWL_HEIGHT_M = 0.034

CUBE_X_M = (0.165, 0.275)
CUBE_Y_M = (-0.11, 0.11)
CUBE_YAW_RAD = np.pi / 4
BOWL_X_M = (0.335, 0.350)
BOWL_Y_M = (-0.06, 0.06)

_CUBE_GAP_M = 0.075
_BOWL_GAP_M = 0.105
_MAX_TRIES = 1000


@dataclass(frozen=True, slots=True)
class CubeSpec:
    """One cube lying on the table: colour word, center x and y (m), turn about z (rad)."""

    color: str
    x: float
    y: float
    yaw: float


@dataclass(frozen=True, slots=True)
class SceneSpec:
    """A scene: its cubes and the center of its bowl on the table (m)."""

    task: str
    seed: int
    cubes: tuple[CubeSpec, ...]
    bowl_xy: tuple[float, float]

    @property
    def colors(self) -> tuple[str, ...]:
        """Colours of the cubes, in the order of the cubes."""
        return tuple(cube.color for cube in self.cubes)


def seeded(*parts: object) -> np.random.Generator:
    """A generator that depends on all parts alike, the same on every machine and process."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))


def sample_scene(task: str, seed: int, *, cubes: int = 2) -> SceneSpec:
    """Draws a scene. The same task and seed always give the same scene.

    Args:
        task: Name of a task (see `finevla.sim.tasks`); scenes of different tasks differ.
        seed: Any integer.
        cubes: Number of cubes, at most one per colour.

    Raises:
        SimulationError: That many cubes do not fit.
    """
    rng = seeded("scene", task, seed)
    colors = [str(word) for word in rng.permutation(list(COLORS))][:cubes]
    if not 1 <= cubes <= len(COLORS):
        raise SimulationError(
            "a scene cannot hold that many cubes",
            where="sample_scene",
            expected=f"1 to {len(COLORS)}, one per colour",
            found=cubes,
            remedy="ask for fewer cubes",
        )
    for _ in range(_MAX_TRIES):
        bowl = (float(rng.uniform(*BOWL_X_M)), float(rng.uniform(*BOWL_Y_M)))
        spots = np.stack([rng.uniform(*CUBE_X_M, cubes), rng.uniform(*CUBE_Y_M, cubes)], axis=1)
        yaws = rng.uniform(-CUBE_YAW_RAD, CUBE_YAW_RAD, cubes)
        if _spread(spots, bowl):
            placed = tuple(
                CubeSpec(color, float(x), float(y), float(yaw))
                for color, (x, y), yaw in zip(colors, spots, yaws, strict=True)
            )
            return SceneSpec(task, seed, placed, bowl)
    raise SimulationError(
        f"{cubes} cubes do not fit on the table without touching",
        where=f"sample_scene, seed {seed}",
        remedy="ask for fewer cubes",
    )


def _spread(spots: NDArray[np.float64], bowl: tuple[float, float]) -> bool:
    """Whether an open gripper fits around every cube: far apart in one axis, clear of the bowl."""
    gaps = np.abs(spots[:, None] - spots[None]).max(axis=2) + np.eye(len(spots))
    clear = np.linalg.norm(spots - np.array(bowl), axis=1)
    return bool(gaps.min() > _CUBE_GAP_M and clear.min() > _BOWL_GAP_M)
