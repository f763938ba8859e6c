"""Turn a block on the table, clockwise or counterclockwise as seen from above."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from finevla.contract import ARM_SIDES
from finevla.sim.goal import Goal
from finevla.sim.props import rest_height
from finevla.sim.scene import Kind, ObjectSpec, SceneSpec
from finevla.sim.tasks.base import Hand, Plan, Task, View, Waypoint
from finevla.sim.tasks.plumb import ROLL_LIMIT_RAD, firm, hands_off, plumb, wrapped
from finevla.sim.tasks.skills import CLOSED_M, LIFT_Z_M, PADS_Z_M, Grip, at, let_go, take
from finevla.sim.truth import FloatArray, Truth, axis_of, yaw_of

BLOCK = "block"
SIZE_M = (0.060, 0.032, 0.032)
TURNS: Mapping[str, float] = {"clockwise": -1.0, "counterclockwise": 1.0}
"""Directions as seen from above, and the sign of their yaw."""
TURN_RAD = float(np.deg2rad(70.0))
"""How far the expert turns it; a few degrees less where joint 6 would leave its limits."""
LEAST_RAD = float(np.deg2rad(45.0))
"""How far it must be turned."""
_X_M, _Y_M = (0.165, 0.250), (-0.07, 0.07)
_NOMINAL_RAD, _SPREAD_RAD = np.pi / 2, float(np.deg2rad(40.0))
_RISE_M = 0.040
_FREE_M = 0.022
_ENOUGH_RAD = float(np.deg2rad(52.0))
_ROLL_RAD = 0.04


class RotateBlock(Task):
    """Turn the block the named way by 45 degrees or more, let go and draw back."""

    name = "rotate_block"
    summary = "turn the block clockwise or counterclockwise, seen from above"
    factors = ("arm", "rotation")

    def load(self, rng: np.random.Generator, variant: str) -> tuple[ObjectSpec, ...]:
        """One block with a light end, more or less across the table."""
        del variant
        x, y = float(rng.uniform(*_X_M)), float(rng.uniform(*_Y_M))
        yaw = _NOMINAL_RAD + float(rng.uniform(-_SPREAD_RAD, _SPREAD_RAD))
        return (ObjectSpec(BLOCK, Kind.BAR, x, y, yaw, SIZE_M, rgb=(0.30, 0.08, 0.45)),)

    def goals(self, spec: SceneSpec) -> tuple[Goal, ...]:
        """Each arm with each direction."""
        return tuple(Goal(spec.task, arm, rotation=way) for arm in ARM_SIDES for way in TURNS)

    def expert(self, view: View) -> Plan:
        """Grasp across the short side, lift a little, turn joint 6, lower, open, rise."""
        return {view.goal.arm: plumb(view, view.goal.arm, _waypoint(view))}

    def success(self, truth: Truth, goal: Goal, spec: SceneSpec) -> bool:
        """It lies flat on the table, turned far enough the named way, and both hands are off."""
        pose, item = truth.objects[BLOCK], spec.object(BLOCK)
        height = float(pose[2]) - spec.look.table_z_m - rest_height(item)
        flat = height < 0.004 and float(axis_of(pose, 2)[2]) > 0.98
        turn = turned(truth, spec)
        far = TURNS.get(goal.rotation, float(np.sign(turn))) * turn >= LEAST_RAD
        return flat and far and hands_off(truth, pose[:3])


def turned(truth: Truth, spec: SceneSpec) -> float:
    """How far the block is turned from where it lay first, rad, counterclockwise positive."""
    return wrapped(yaw_of(truth.objects[BLOCK]) - spec.object(BLOCK).yaw)


def _waypoint(view: View) -> Waypoint:
    hand, place = view.hand, view.truth.place(BLOCK)
    sense = TURNS.get(view.goal.rotation, 1.0)
    turn = turned(view.truth, view.spec)
    left = sense * TURN_RAD - turn
    if abs(left) > np.pi:
        left = wrapped(left)
    grip = _grip(hand, place, yaw_of(view.truth.objects[BLOCK]), left, view.table_z)
    if firm(hand, grip, SIZE_M[1]):
        return _turn(hand, place, view, left)
    if sense * turn > _ENOUGH_RAD:
        return let_go(hand, SIZE_M[1], LIFT_Z_M + view.table_z)
    return take(hand, grip)


def _turn(hand: Hand, place: FloatArray, view: View, left: float) -> Waypoint:
    """What a hand that holds the block does: up, turn, down, open."""
    roll = _final_roll(hand, view, left)
    height = float(place[2]) - view.table_z - SIZE_M[2] / 2
    over = at(hand.commanded_tip, view.table_z + PADS_Z_M + _RISE_M)
    if abs(hand.roll - roll) > _ROLL_RAD:
        return Waypoint(over, CLOSED_M, roll=roll if height > _FREE_M else hand.roll)
    if height > 0.003:
        return Waypoint(at(hand.commanded_tip, view.table_z + PADS_Z_M), CLOSED_M, roll=roll)
    return replace(let_go(hand, SIZE_M[1], LIFT_Z_M + view.table_z), roll=roll)


def _final_roll(hand: Hand, view: View, left: float) -> float:
    """Angle of joint 6 at which the block, as it is held across its short side, is turned far enough."""
    final = yaw_of(view.truth.objects[BLOCK]) + left
    raw, near = hand.heading(hand.commanded_tip) - final, hand.roll - left
    roll = raw + np.pi * round((near - raw) / np.pi)
    return float(np.clip(roll, -ROLL_LIMIT_RAD, ROLL_LIMIT_RAD))


def _grip(hand: Hand, place: FloatArray, yaw: float, left: float, table_z: float) -> Grip:
    """Across the short side; of the two equivalent rolls the one from which the turn still fits."""
    z = max(float(place[2]) - SIZE_M[2] / 2, table_z) + PADS_Z_M
    raw = hand.heading(place) - yaw
    rolls = [raw + k * np.pi for k in range(-3, 4) if abs(raw + k * np.pi) <= ROLL_LIMIT_RAD]
    roll = min(rolls, key=lambda r: (max(abs(r - left) - ROLL_LIMIT_RAD, 0.0), abs(r - hand.roll)))
    return Grip(at(place, z), roll=roll)
