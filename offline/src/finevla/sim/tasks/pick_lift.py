"""Lift the named cube; optionally coming to it from a named side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from finevla.contract import ARM_SIDES
from finevla.sim.goal import Goal
from finevla.sim.scene import COLORS, CUBE_EDGE_M, ObjectSpec, SceneSpec, bowl, cube
from finevla.sim.tasks.base import Hand, Plan, Task, View, Waypoint
from finevla.sim.tasks.place import GAP_M, X_M, Y_M, YAW_RAD, draw
from finevla.sim.tasks.skills import (
    ENTRY_M,
    HOLD_M,
    LIFT_Z_M,
    OPEN_M,
    PADS_Z_M,
    Grip,
    held,
    lift,
    roll_for,
    take,
)
from finevla.sim.truth import CUBE, FloatArray, Truth

BOWL_X_M = (0.335, 0.350)
BOWL_Y_M = (-0.06, 0.06)
_BOWL_GAP_M = 0.105
ENTRIES: Mapping[str, tuple[float, float, float]] = {"left": (0.0, 1.0, 0.0), "right": (0.0, -1.0, 0.0)}
"""Sides from which a hand can come, and where they lie as seen from the object."""
APPROACHES = ("above", *ENTRIES)
_AIR_M = 0.009
"""Air between the fingers and the table on the way in from a side."""
_STEP_M, _FAR_M = 0.03, 0.10
_LANE_M = 0.055
"""Half the width of the lane that a hand needs which comes from the side."""


class PickLift(Task):
    """Lift the named cube and keep holding it."""

    name = "pick_lift"
    summary = "lift the named cube with the named arm and keep holding it"
    factors = ("arm", "color")
    optional = ("approach",)

    def load(self, rng: np.random.Generator, variant: str) -> tuple[ObjectSpec, ...]:
        """Two cubes, and the bowl of `place_in_bowl` further back."""
        del variant
        return cubes_and_bowl(rng)

    def goals(self, spec: SceneSpec) -> tuple[Goal, ...]:
        """Each arm with each cube."""
        return tuple(Goal(spec.task, arm, color) for arm in ARM_SIDES for color in spec.colors)

    def expert(self, view: View) -> Plan:
        """Over the cube (or beside it), to it, close, up."""
        grip = cube_grip(
            view.hand, view.truth.place(view.goal.color + CUBE), view.table_z, view.goal.approach
        )
        if held(view.hand, grip):
            return {view.goal.arm: lift(view.hand, grip, LIFT_Z_M + view.table_z)}
        step = take(view.hand, grip)
        return {view.goal.arm: step if grip.entry is None else _gently(view.hand, grip, step)}

    def success(self, truth: Truth, goal: Goal, spec: SceneSpec) -> bool:
        """The cube is 5 cm above the table, in the named hand."""
        place = truth.place(goal.color + CUBE)
        in_hand = float(np.linalg.norm(place - truth.tips[goal.arm])) < HOLD_M
        return bool(place[2] - spec.look.table_z_m > CUBE_EDGE_M / 2 + 0.05 and in_hand)

    def approaches(self, spec: SceneSpec, color: str) -> tuple[str, ...]:
        """From where a cube can be approached without touching anything else."""
        target = spec.object(color + CUBE)
        others = [o for o in spec.objects if o.name != target.name]
        return tuple(side for side in APPROACHES if _free(target, side, others))

    def variations(self, spec: SceneSpec, goal: Goal) -> tuple[Goal, ...]:
        """The goal with every approach that its cube allows."""
        return tuple(replace(goal, approach=side) for side in self.approaches(spec, goal.color))


def cube_grip(hand: Hand, place: FloatArray, table_z: float, approach: str = "") -> Grip:
    """How to take a small cube: from above across the arm, or from a side with fingers fore and aft."""
    target = np.array([place[0], place[1], table_z + PADS_Z_M])
    if float(place[2]) > table_z + 0.5 * CUBE_EDGE_M + 0.008:
        target[2] = float(place[2])  # it is in the air, or on something
    if approach not in ENTRIES:
        return Grip(target)
    entry = np.array(ENTRIES[approach])
    far = max(float(np.hypot(*(spot - hand.base)[:2])) for spot in (target, target + ENTRY_M * entry))
    # The least tilt that reaches from the entry to the lift: tilted and rolled, one finger hangs low.
    tilt, roll = 0.12 + 1.4 * max(far - 0.34, 0.0), roll_for(hand, target, 0.0)
    target[2] = max(float(target[2]), table_z + _hang(tilt, roll) + _AIR_M)
    return Grip(target, roll, tilt, entry=entry)


def _gently(hand: Hand, grip: Grip, step: Waypoint) -> Waypoint:
    """The next bit of a way near the object: who aims near neither swings round corners nor dips."""
    way = step.tip - hand.commanded_tip
    length = max(float(np.linalg.norm(way)), 1e-9)
    if length > _FAR_M or float(hand.commanded_tip[2]) > float(grip.at[2]) + grip.hover + 0.02:
        return step
    return replace(step, tip=hand.commanded_tip + way * min(1.0, _STEP_M / length))


def _hang(tilt: float, roll: float) -> float:
    """How far the lowest corner of the open fingers is below the middle of the pads, m."""
    end, half_width, half_span = 0.010, 0.010, OPEN_M / 2 + 0.010
    low = half_width * abs(float(np.cos(roll))) + half_span * abs(float(np.sin(roll)))
    return end * float(np.cos(tilt)) + low * float(np.sin(tilt))


def cubes_and_bowl(rng: np.random.Generator) -> tuple[ObjectSpec, ...]:
    """Two cubes of different colours in reach of both arms, and a bowl further back."""
    colors = [str(word) for word in rng.permutation(list(COLORS))][:2]

    def sample(rng: np.random.Generator) -> FloatArray | None:
        place = (float(rng.uniform(*BOWL_X_M)), float(rng.uniform(*BOWL_Y_M)))
        spots = np.stack([rng.uniform(*X_M, 2), rng.uniform(*Y_M, 2)], axis=1)
        yaws = rng.uniform(-YAW_RAD, YAW_RAD, 2)
        gap = float(np.abs(spots[0] - spots[1]).max())
        clear = float(np.linalg.norm(spots - np.array(place), axis=1).min())
        if gap <= GAP_M or clear <= _BOWL_GAP_M:
            return None
        return np.array([*place, *spots[:, 0], *spots[:, 1], *yaws])

    bx, by, x1, x2, y1, y2, yaw1, yaw2 = (float(v) for v in draw(rng, sample, "two cubes and a bowl"))
    return (cube(colors[0], x1, y1, yaw1), cube(colors[1], x2, y2, yaw2), bowl(bx, by))


def _free(target: ObjectSpec, side: str, others: list[ObjectSpec]) -> bool:
    """Whether the lane that the hand comes through is empty."""
    if side not in ENTRIES:
        return True
    toward = ENTRIES[side][1]
    for other in others:
        along, across = (other.y - target.y) * toward, abs(other.x - target.x)
        if -0.03 < along < ENTRY_M + 0.07 and across < _LANE_M + max(other.size[0], 0.02):
            return False
    return True
