"""Put the named cube into the bowl; where there are two bowls, into the named one."""

from __future__ import annotations

import numpy as np

from finevla.contract import ARM_SIDES
from finevla.sim.goal import Goal
from finevla.sim.scene import BOWL_HEIGHT_M, BOWL_RADIUS_M, COLORS, ObjectSpec, SceneSpec, bowl, cube
from finevla.sim.tasks.base import Plan, Task, View, Waypoint
from finevla.sim.tasks.pick_lift import cube_grip, cubes_and_bowl
from finevla.sim.tasks.place import YAW_RAD, scatter
from finevla.sim.tasks.skills import (
    CLOSED_M,
    FUNNEL,
    LIFT_Z_M,
    OPEN_M,
    SHUT_M,
    apart,
    at,
    held,
    take,
)
from finevla.sim.truth import CUBE, FloatArray, Truth

DROP_Z_M = 0.068
TWO_BOWLS = "two_bowls"
BOWLS = ("left", "right")
_TWO_BOWLS_X_M = (0.330, 0.345)
_TWO_BOWLS_Y_M = (0.070, 0.085)
_BOWL_GAP_M = 0.105


class PlaceInBowl(Task):
    """Put the named cube into the bowl, let go and draw back."""

    name = "place_in_bowl"
    summary = "put the named cube into the bowl, or into the left or right one of two"
    factors = ("arm", "color")
    optional = ("bowl",)
    variants = (TWO_BOWLS,)

    def load(self, rng: np.random.Generator, variant: str) -> tuple[ObjectSpec, ...]:
        """Two cubes with a bowl further back, or a left and a right one."""
        return _two_bowls(rng) if variant == TWO_BOWLS else cubes_and_bowl(rng)

    def goals(self, spec: SceneSpec) -> tuple[Goal, ...]:
        """Each arm with each cube and, where there are two, each bowl."""
        bowls = BOWLS if spec.variant == TWO_BOWLS else ("",)
        return tuple(
            Goal(spec.task, arm, color, bowl=side)
            for arm in ARM_SIDES
            for color in spec.colors
            for side in bowls
        )

    def expert(self, view: View) -> Plan:
        """Grasp, lift, carry over the bowl, lower, open, rise."""
        return {view.goal.arm: _waypoint(view)}

    def success(self, truth: Truth, goal: Goal, spec: SceneSpec) -> bool:
        """The cube lies in the bowl and the named hand is open and above it."""
        del spec
        place, target = truth.place(goal.color + CUBE), truth.place(bowl_name(goal))
        clear = float(truth.tips[goal.arm][2] - place[2]) > 0.05
        return in_bowl(place, target) and truth.openings[goal.arm] > 0.05 and clear


def bowl_name(goal: Goal) -> str:
    """Name of the bowl that a goal means."""
    return f"{goal.bowl}_bowl" if goal.bowl else "bowl"


def in_bowl(place: FloatArray, target: FloatArray) -> bool:
    """Whether something lies inside the ring of a bowl, below its rim."""
    return apart(place, target) < BOWL_RADIUS_M and float(place[2] - target[2]) < BOWL_HEIGHT_M


def _waypoint(view: View) -> Waypoint:
    hand, place = view.hand, view.truth.place(view.goal.color + CUBE)
    target = view.truth.place(bowl_name(view.goal))
    drop, carry = DROP_Z_M + view.table_z, LIFT_Z_M + view.table_z
    if in_bowl(place, target):
        return Waypoint(at(target, carry), OPEN_M)
    off, height = apart(hand.tip, target), float(hand.tip[2]) - drop
    over = off < 0.015 and height < 0.012
    cube_over = apart(place, target) < BOWL_RADIUS_M - 0.02 and float(place[2]) - view.table_z > 0.03
    if cube_over and (over or (hand.grip > SHUT_M and off < 0.03 and height < 0.04)):
        return Waypoint(at(target, drop), OPEN_M)
    grip = cube_grip(hand, place, view.table_z)
    if not held(hand, grip):
        return take(hand, grip)
    if off < 0.012 + FUNNEL * max(height, 0.0):
        return Waypoint(at(target, drop), CLOSED_M)
    if height < 0.0:
        return Waypoint(at(hand.commanded_tip, carry), CLOSED_M)
    return Waypoint(at(target, carry), CLOSED_M)


def _two_bowls(rng: np.random.Generator) -> tuple[ObjectSpec, ...]:
    colors = [str(word) for word in rng.permutation(list(COLORS))][:2]
    sides = {"left": 1.0, "right": -1.0}
    places = {
        side: (float(rng.uniform(*_TWO_BOWLS_X_M)), sign * float(rng.uniform(*_TWO_BOWLS_Y_M)))
        for side, sign in sides.items()
    }
    spots = scatter(rng, 2, keep_out=[(*place, _BOWL_GAP_M) for place in places.values()])
    yaws = rng.uniform(-YAW_RAD, YAW_RAD, 2)
    cubes = tuple(
        cube(color, float(x), float(y), float(yaw))
        for color, (x, y), yaw in zip(colors, spots, yaws, strict=True)
    )
    return (*cubes, *(bowl(*place, name=f"{side}_bowl") for side, place in places.items()))
