"""Put three cubes in a row from left to right: by colour, or by size."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from finevla.contract import ARM_SIDES
from finevla.sim.goal import Goal
from finevla.sim.scene import COLORS, CUBE_EDGE_M, ObjectSpec, SceneSpec, cube
from finevla.sim.tasks.base import Plan, Task, View, Waypoint
from finevla.sim.tasks.bring import Move, bring
from finevla.sim.tasks.place import YAW_RAD, Array, draw, scatter
from finevla.sim.tasks.skills import LIFT_Z_M, OPEN_M, at
from finevla.sim.tasks.stack_blocks import OPENED_M
from finevla.sim.truth import FloatArray, Truth

RGB_ORDER = ("red", "green", "blue")
EDGES_M = (0.044, 0.036, 0.028)
"""Large, medium, small."""
DEPTH_M = 0.030
"""Cubes of a row differ by less than this in x."""
WIDTH_M = 0.130
"""Neighbours of a row are at most this far apart in y."""
ROW_X_M = 0.315
ROW_STEP_M = 0.085
ROW_YAW_RAD = 0.0
"""Fingers open fore and aft in the row, so that they do not touch its neighbours."""
_X_M = (0.165, 0.235)
_LOW_M = 0.010


class BlocksRankingRgb(Task):
    """Put a red, a green and a blue cube in a row from left to right."""

    name = "blocks_ranking_rgb"
    summary = "put three cubes in a row from left to right: red, green, blue"
    factors = ("arm",)
    max_frames = 380

    def load(self, rng: np.random.Generator, variant: str) -> tuple[ObjectSpec, ...]:
        """Three cubes in front of where the row shall be, not yet in a row."""
        del variant
        colors, edges = self.palette(rng)

        def sample(rng: np.random.Generator) -> Array | None:
            spots = scatter(rng, len(colors), x=_X_M)
            ranked = [(x, y) for _, (x, y) in sorted(zip(self.ranks(colors, edges), spots, strict=True))]
            return None if in_row(ranked) else spots

        spots = draw(rng, sample, "three cubes that are not in a row")
        yaws = rng.uniform(-YAW_RAD, YAW_RAD, len(colors))
        return tuple(
            cube(color, float(x), float(y), float(yaw), edge)
            for color, edge, (x, y), yaw in zip(colors, edges, spots, yaws, strict=True)
        )

    def palette(self, rng: np.random.Generator) -> tuple[tuple[str, ...], tuple[float, ...]]:
        """Colours and edges of the cubes, m, in any order."""
        colors = tuple(str(word) for word in rng.permutation(list(RGB_ORDER)))
        return colors, (CUBE_EDGE_M,) * len(colors)

    def ranks(self, colors: Sequence[str], edges: Sequence[float]) -> list[int]:
        """Place of each cube in the row, 0 on the left."""
        del edges
        return [RGB_ORDER.index(color) for color in colors]

    def row(self, spec: SceneSpec) -> list[ObjectSpec]:
        """The cubes from left to right as they shall be in the end."""
        cubes = spec.movable
        ranks = self.ranks([item.color for item in cubes], [item.size[0] for item in cubes])
        return [cubes[ranks.index(place)] for place in range(len(cubes))]

    def goals(self, spec: SceneSpec) -> tuple[Goal, ...]:
        """Each arm."""
        return tuple(Goal(spec.task, arm) for arm in ARM_SIDES)

    def expert(self, view: View) -> Plan:
        """One cube after the other, from the left end of the row to the right."""
        cubes = self.row(view.spec)
        moves = [
            Move(item.name, item.size[0], _place(item, rank, view.table_z), yaw=ROW_YAW_RAD)
            for rank, item in enumerate(cubes)
        ]
        away = Waypoint(at(moves[-1].to, view.table_z + LIFT_Z_M), OPEN_M)
        return {view.goal.arm: bring(view, moves) or away}

    def success(self, truth: Truth, goal: Goal, spec: SceneSpec) -> bool:
        """The cubes stand on the table in the right order and in one row; grippers are open.

        In one row: any two differ by less than 3 cm in x, and each is to the left (y+) of the next by
        13 cm at most.
        """
        del goal
        cubes = self.row(spec)
        places = [truth.place(item.name) for item in cubes]
        floor = spec.look.table_z_m
        low = all(
            abs(float(place[2]) - floor - item.size[0] / 2) < _LOW_M
            for place, item in zip(places, cubes, strict=True)
        )
        row = in_row([(float(place[0]), float(place[1])) for place in places])
        return low and row and min(truth.openings.values()) > OPENED_M


class BlocksRankingSize(BlocksRankingRgb):
    """Put a large, a medium and a small cube in a row from left to right."""

    name = "blocks_ranking_size"
    summary = "put three cubes in a row from left to right: large, medium, small"

    def palette(self, rng: np.random.Generator) -> tuple[tuple[str, ...], tuple[float, ...]]:
        """Three of the colours; the three edges in any order."""
        colors = tuple(str(word) for word in rng.permutation(list(COLORS))[: len(EDGES_M)])
        return colors, tuple(float(edge) for edge in rng.permutation(EDGES_M))

    def ranks(self, colors: Sequence[str], edges: Sequence[float]) -> list[int]:
        """The largest is the first."""
        del colors
        return [sorted(edges, reverse=True).index(edge) for edge in edges]


def in_row(places: Sequence[tuple[float, float]]) -> bool:
    """Whether places (x, y), m, are in one row from left to right, as `success` wants it."""
    xs = [x for x, _ in places]
    gaps = [left[1] - right[1] for left, right in pairwise(places)]
    return max(xs) - min(xs) < DEPTH_M and all(0.0 < gap <= WIDTH_M for gap in gaps)


def _place(item: ObjectSpec, rank: int, table_z: float) -> FloatArray:
    return np.array([ROW_X_M, (1 - rank) * ROW_STEP_M, table_z + item.size[0] / 2])
