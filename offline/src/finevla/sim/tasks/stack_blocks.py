"""Stack two or three cubes on the marked spot, in the named order."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import numpy as np

from finevla.contract import ARM_SIDES
from finevla.sim.goal import Goal
from finevla.sim.props import PAD_HEIGHT_M
from finevla.sim.scene import COLORS, CUBE_EDGE_M, Kind, ObjectSpec, SceneSpec, cube
from finevla.sim.tasks.base import Plan, Task, View, Waypoint
from finevla.sim.tasks.bring import CARRY_Z_M, Move, bring
from finevla.sim.tasks.place import YAW_RAD, scatter
from finevla.sim.tasks.skills import OPEN_M, at
from finevla.sim.truth import CUBE, FloatArray, Truth

PAD = "target"
PAD_RADIUS_M = 0.032
EPS_M = np.array([0.025, 0.025, 0.012])
"""How far a cube may be from its place in x, y and z."""
OPENED_M = 0.050
"""A gripper that is further open than this holds nothing."""
_PAD_X_M = (0.295, 0.310)
_PAD_Y_M = (-0.03, 0.03)
_X_M = (0.165, 0.225)
_KEEP_OUT_M = 0.085
_SLACK_M = 0.018
_UP = np.array([0.0, 0.0, 1.0])


class StackBlocksTwo(Task):
    """Put the first cube on the mark and the second on top of it."""

    name = "stack_blocks_two"
    summary = "stack two cubes on the mark, the first of the named order at the bottom"
    factors = ("arm", "order")
    max_frames = 260
    count = 2

    def load(self, rng: np.random.Generator, variant: str) -> tuple[ObjectSpec, ...]:
        """The cubes, and a mark further back."""
        del variant
        pad = (float(rng.uniform(*_PAD_X_M)), float(rng.uniform(*_PAD_Y_M)))
        spots = scatter(rng, self.count, x=_X_M, keep_out=[(*pad, _KEEP_OUT_M)])
        yaws = rng.uniform(-YAW_RAD, YAW_RAD, self.count)
        cubes = tuple(
            cube(color, float(x), float(y), float(yaw))
            for color, (x, y), yaw in zip(self.palette(rng), spots, yaws, strict=True)
        )
        return (*cubes, ObjectSpec(PAD, Kind.PAD, *pad, 0.0, (PAD_RADIUS_M,), rgb=(0.16, 0.15, 0.17)))

    def palette(self, rng: np.random.Generator) -> tuple[str, ...]:
        """Colours of the cubes."""
        return tuple(str(word) for word in rng.permutation(list(COLORS))[: self.count])

    def goals(self, spec: SceneSpec) -> tuple[Goal, ...]:
        """Each arm with each order, from the bottom to the top."""
        return tuple(
            Goal(spec.task, arm, order=order) for arm in ARM_SIDES for order in permutations(spec.colors)
        )

    def expert(self, view: View) -> Plan:
        """One cube after the other: take, carry, set down, draw back."""
        order = view.goal.order or view.spec.colors
        places = _places(view.truth, order)
        moves = [
            Move(color + CUBE, CUBE_EDGE_M, place, slack=_SLACK_M)
            for color, place in zip(order, places, strict=True)
        ]
        top = CUBE_EDGE_M * self.count
        carry = max(CARRY_Z_M, top + 0.035)
        away = Waypoint(at(places[0], view.table_z + top + 0.09), OPEN_M)
        return {view.goal.arm: bring(view, moves, carry_z=carry) or away}

    def success(self, truth: Truth, goal: Goal, spec: SceneSpec) -> bool:
        """Each cube is on what is below it, within 25 mm in x and y and 12 mm in z; grippers are open.

        A goal without an order is content with any.
        """
        orders = [goal.order] if goal.order else list(permutations(spec.colors))
        return any(_stacked(truth, order) for order in orders) and min(truth.openings.values()) > OPENED_M


class StackBlocksThree(StackBlocksTwo):
    """Put the first cube on the mark, the second on top of it and the third on top of that."""

    name = "stack_blocks_three"
    summary = "stack three cubes on the mark, the first of the named order at the bottom"
    max_frames = 380
    count = 3

    def palette(self, rng: np.random.Generator) -> tuple[str, ...]:
        """Red, green and blue, in any order."""
        return tuple(str(word) for word in rng.permutation(["red", "green", "blue"]))


def _stacked(truth: Truth, order: Sequence[str]) -> bool:
    places = zip(order, _places(truth, order), strict=True)
    return all(bool((np.abs(truth.place(color + CUBE) - place) < EPS_M).all()) for color, place in places)


def _places(truth: Truth, order: Sequence[str]) -> list[FloatArray]:
    """Where the center of each cube shall be: over the mark, then over the cube below, where that is."""
    below, up = truth.place(PAD) + _UP * (PAD_HEIGHT_M - CUBE_EDGE_M / 2), _UP * CUBE_EDGE_M
    found = []
    for color in order:
        found.append(below + up)
        below = truth.place(color + CUBE)
    return found
