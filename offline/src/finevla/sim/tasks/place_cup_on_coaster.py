"""Put a cup on a coaster, taking it by its body or by its handle."""

from __future__ import annotations

import numpy as np

from finevla.contract import ARM_SIDES
from finevla.sim.goal import Goal
from finevla.sim.props import HANDLE_M, PAD_HEIGHT_M, rest_height
from finevla.sim.scene import Kind, ObjectSpec, SceneSpec
from finevla.sim.tasks.base import Hand, Plan, Task, View, Waypoint
from finevla.sim.tasks.place import draw
from finevla.sim.tasks.plumb import firm, hands_off, lower, plumb
from finevla.sim.tasks.skills import LIFT_Z_M, Grip, apart, at, let_go, roll_for, take
from finevla.sim.truth import FloatArray, Truth, axis_of, yaw_of

CUP, COASTER = "cup", "coaster"
SIZE_M = (0.024, 0.044)
COASTER_M = 0.040
CONTACTS = ("body", "handle")
OFF_M, HIGH_M = 0.035, 0.015
"""Tolerances of RoboTwin's place_empty_cup: horizontal and vertical deviation, m."""
_CUP_X_M, _CUP_Y_M = (0.170, 0.235), (-0.09, 0.09)
_COASTER_X_M, _COASTER_Y_M = (0.285, 0.315), (-0.06, 0.06)
_GAP_M = 0.095
_TOWARDS_ROBOT_RAD, _SPREAD_RAD = np.pi, float(np.deg2rad(45.0))
_OUT_M = SIZE_M[0] + 0.014
"""Distance of the pads from the cup's axis when they pinch the handle."""
_UP_M = 0.002
_CARRY_Z_M = 0.085


class PlaceCupOnCoaster(Task):
    """Put the cup on the coaster, held as told, let go and draw back."""

    name = "place_cup_on_coaster"
    summary = "put the cup on the coaster, taking it by its body or by its handle"
    factors = ("arm", "contact")

    def load(self, rng: np.random.Generator, variant: str) -> tuple[ObjectSpec, ...]:
        """A cup whose handle points more or less to the robot, and a coaster further back."""
        del variant

        def sample(rng: np.random.Generator) -> FloatArray | None:
            lows, highs = np.array([_CUP_X_M, _CUP_Y_M, _COASTER_X_M, _COASTER_Y_M]).T
            found: FloatArray = rng.uniform(lows, highs)
            return found if np.hypot(*(found[:2] - found[2:])) > _GAP_M else None

        x, y, cx, cy = (float(v) for v in draw(rng, sample, "a cup and a coaster"))
        yaw = _TOWARDS_ROBOT_RAD + float(rng.uniform(-_SPREAD_RAD, _SPREAD_RAD))
        return (
            ObjectSpec(CUP, Kind.CUP, x, y, yaw, SIZE_M, rgb=(0.85, 0.30, 0.05)),
            ObjectSpec(COASTER, Kind.PAD, cx, cy, 0.0, (COASTER_M,), rgb=(0.08, 0.20, 0.22)),
        )

    def goals(self, spec: SceneSpec) -> tuple[Goal, ...]:
        """Each arm with each part."""
        return tuple(Goal(spec.task, arm, contact=part) for arm in ARM_SIDES for part in CONTACTS)

    def expert(self, view: View) -> Plan:
        """Grip the part, lift, carry until the cup is over the coaster, lower, open, rise."""
        return {view.goal.arm: plumb(view, view.goal.arm, _waypoint(view))}

    def success(self, truth: Truth, goal: Goal, spec: SceneSpec) -> bool:
        """The cup stands on the coaster, and both hands are off."""
        del goal
        pose, want = truth.objects[CUP], _standing(truth, spec)
        near = apart(pose, want) < OFF_M and abs(float(pose[2] - want[2])) < HIGH_M
        stands = float(axis_of(pose, 2)[2]) > 0.97
        return near and stands and hands_off(truth, pose[:3])


def _standing(truth: Truth, spec: SceneSpec) -> FloatArray:
    """Where the cup's center is when it stands in the middle of the coaster, shape (3,)."""
    coaster = truth.place(COASTER)
    return at(coaster, float(coaster[2]) + PAD_HEIGHT_M + rest_height(spec.object(CUP)))


def _waypoint(view: View) -> Waypoint:
    hand, pose = view.hand, view.truth.objects[CUP]
    # The cup hangs off-center in the hand: what must go over the coaster is the cup.
    way = _standing(view.truth, view.spec) - pose[:3]
    there = float(np.hypot(way[0], way[1])) < 0.5 * OFF_M and way[2] > -0.008
    handle = view.goal.contact == "handle"
    grip = _grip(hand, pose, handle)
    width = HANDLE_M[1] if handle else 2 * SIZE_M[0]
    held_fast = firm(hand, grip, width)
    step = lower(hand, way, _CARRY_Z_M + view.table_z, hand.roll) if held_fast else None
    if step is not None:
        return step
    if held_fast or there:
        return let_go(hand, width, LIFT_Z_M + view.table_z)
    return take(hand, grip)


def _grip(hand: Hand, pose: FloatArray, handle: bool) -> Grip:
    """Fingers to both sides of the handle's plane: around the body, or around the handle."""
    if not handle:
        middle = at(pose, float(pose[2]) + _UP_M)
        return Grip(middle, roll=_roll(hand, pose), thin=0.030)
    middle = pose[:3] + _OUT_M * axis_of(pose, 0)
    return Grip(middle, roll=_roll(hand, pose), thin=0.010)


def _roll(hand: Hand, pose: FloatArray) -> float:
    return roll_for(hand, pose, yaw_of(pose) + np.pi / 2)
