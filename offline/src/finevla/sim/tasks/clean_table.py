"""Put two or three cubes into the tray, in the named order."""

from __future__ import annotations

from itertools import permutations

import numpy as np

from finevla.contract import ARM_SIDES
from finevla.sim.goal import Goal
from finevla.sim.scene import COLORS, CUBE_EDGE_M, Kind, ObjectSpec, SceneSpec, cube
from finevla.sim.tasks.base import Plan, Task, View, Waypoint
from finevla.sim.tasks.bring import Move, bring
from finevla.sim.tasks.place import YAW_RAD, scatter
from finevla.sim.tasks.skills import LIFT_Z_M, OPEN_M, at
from finevla.sim.tasks.stack_blocks import OPENED_M
from finevla.sim.truth import CUBE, FloatArray, Truth

TRAY = "tray"
TRAY_M = (0.056, 0.095)
"""Half the length (x) and half the width (y) of the tray inside."""
LOW_M = 0.030
"""The center of a cube in the tray is at most this high above the table."""
STEP_M = 0.060
"""Distance of neighbours in the tray."""
_TRAY_X_M = (0.320, 0.330)
_TRAY_Y_M = (-0.012, 0.012)
_X_M = (0.165, 0.215)
_RGB = (0.20, 0.17, 0.14)
_SLACK_M = 0.024
"""A cube this near to its place in the tray stays: beside a wall or another cube fingers find no room."""


class CleanTable(Task):
    """Put all cubes into the tray, one after the other in the named order."""

    name = "clean_table"
    summary = "put two or three cubes into the tray, in the named order"
    factors = ("arm", "order")
    max_frames = 380

    def load(self, rng: np.random.Generator, variant: str) -> tuple[ObjectSpec, ...]:
        """Two or three cubes of different colours, and a tray further back."""
        del variant
        count = int(rng.integers(2, 4))
        colors = [str(word) for word in rng.permutation(list(COLORS))][:count]
        tray = (float(rng.uniform(*_TRAY_X_M)), float(rng.uniform(*_TRAY_Y_M)))
        spots = scatter(rng, count, x=_X_M)
        yaws = rng.uniform(-YAW_RAD, YAW_RAD, count)
        cubes = tuple(
            cube(color, float(x), float(y), float(yaw))
            for color, (x, y), yaw in zip(colors, spots, yaws, strict=True)
        )
        return (*cubes, ObjectSpec(TRAY, Kind.TRAY, *tray, 0.0, TRAY_M, rgb=_RGB))

    def goals(self, spec: SceneSpec) -> tuple[Goal, ...]:
        """Each arm with each order."""
        return tuple(
            Goal(spec.task, arm, order=order) for arm in ARM_SIDES for order in permutations(spec.colors)
        )

    def expert(self, view: View) -> Plan:
        """One cube after the other to its place in the tray, from the far side to that of the arm."""
        tray = view.truth.place(TRAY)
        order = view.goal.order or view.spec.colors
        places = _places(tray, len(order), far=1.0 if view.goal.arm == "right" else -1.0)
        moves = [
            Move(color + CUBE, CUBE_EDGE_M, place, yaw=0.0, slack=_SLACK_M)
            for color, place in zip(order, places, strict=True)
        ]
        away = Waypoint(at(places[-1], view.table_z + LIFT_Z_M), OPEN_M)
        return {view.goal.arm: bring(view, moves) or away}

    def success(self, truth: Truth, goal: Goal, spec: SceneSpec) -> bool:
        """Every cube lies inside the tray, its center less than 3 cm high; grippers are open."""
        del goal
        tray, floor = truth.place(TRAY), spec.look.table_z_m
        places = [truth.place(item.name) for item in spec.movable]
        inside = all(
            bool((np.abs(place[:2] - tray[:2]) < TRAY_M).all()) and float(place[2]) - floor < LOW_M
            for place in places
        )
        return inside and min(truth.openings.values()) > OPENED_M


def _places(tray: FloatArray, count: int, *, far: float) -> list[FloatArray]:
    """Where the center of each cube shall be: in a row across, the first on the far side."""
    ys = [far * STEP_M * ((count - 1) / 2 - i) for i in range(count)]
    return [tray + np.array([0.0, y, CUBE_EDGE_M / 2]) for y in ys]
