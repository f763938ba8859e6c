"""One hand takes a long block and gives it to the other, which puts it on the pad on its own side."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from finevla.contract import ARM_SIDES
from finevla.sim.goal import Goal
from finevla.sim.props import PAD_HEIGHT_M, rest_height
from finevla.sim.scene import Kind, ObjectSpec, SceneSpec
from finevla.sim.tasks.base import Hand, Plan, Task, View, Waypoint
from finevla.sim.tasks.plumb import firm, hands_off, lower, plumb
from finevla.sim.tasks.skills import CLOSED_M, LIFT_Z_M, OPEN_M, Grip, apart, at, let_go, roll_for, take
from finevla.sim.truth import FloatArray, Truth, axis_of

BLOCK = "block"
PADS: Mapping[str, str] = {"left": "left_pad", "right": "right_pad"}
"""The pad on each arm's side."""
SIZE_M = (0.160, 0.026, 0.026)
PAD_M = 0.035
OFF_M, HIGH_M = 0.030, 0.010
"""Tolerances of RoboTwin's handover_block: horizontal and vertical deviation, m."""
TOWARDS: Mapping[str, float] = {"left": 1.0, "right": -1.0}
"""Sign of y on each arm's side."""
_X_M, _Y_M = (0.190, 0.240), (-0.025, 0.025)
_SPREAD_RAD = float(np.deg2rad(15.0))
_PAD_X_M, _PAD_Y_M = (0.300, 0.320), (0.095, 0.105)
_END_M = 0.055
"""Distance of a hand's grip from the middle of the block."""
_UP_M = 0.005
_MEET = (0.225, 0.0, 0.090)
"""Where the middle of the block is handed over; the height is that of the pads above the table."""
_MET_M = 0.010
_CARRY_Z_M = 0.085
_HOVER_M = 0.060
_AWAY_M = 0.045


class HandoverBlock(Task):
    """Take the block with the named arm, give it to the other one, put it on the pad on that side."""

    name = "handover_block"
    summary = "give the long block from the named arm to the other one, which puts it on its pad"
    factors = ("arm",)
    two_arms = True
    max_frames = 200

    def load(self, rng: np.random.Generator, variant: str) -> tuple[ObjectSpec, ...]:
        """A long block across the middle of the table, and a pad on either side."""
        del variant
        x, y = float(rng.uniform(*_X_M)), float(rng.uniform(*_Y_M))
        yaw = np.pi / 2 + float(rng.uniform(-_SPREAD_RAD, _SPREAD_RAD))
        pads = tuple(
            ObjectSpec(
                PADS[side],
                Kind.PAD,
                float(rng.uniform(*_PAD_X_M)),
                TOWARDS[side] * float(rng.uniform(*_PAD_Y_M)),
                0.0,
                (PAD_M,),
                rgb=(0.06, 0.16, 0.30),
            )
            for side in ARM_SIDES
        )
        return (ObjectSpec(BLOCK, Kind.BAR, x, y, yaw, SIZE_M, rgb=(0.55, 0.20, 0.02)), *pads)

    def goals(self, spec: SceneSpec) -> tuple[Goal, ...]:
        """Each arm gives."""
        return tuple(Goal(spec.task, arm) for arm in ARM_SIDES)

    def expert(self, view: View) -> Plan:
        """One hand brings the block to the middle, the other takes its other end and puts it down."""
        plan = _plan(view, view.goal.arm, _other(view.goal.arm))
        return {side: plumb(view, side, point) for side, point in plan.items()}

    def success(self, truth: Truth, goal: Goal, spec: SceneSpec) -> bool:
        """The block lies on the pad of the receiving side, and both hands are off."""
        pose, want = truth.objects[BLOCK], _resting(truth, spec, _other(goal.arm))
        there = apart(pose, want) < OFF_M and abs(float(pose[2] - want[2])) < HIGH_M
        flat = abs(float(axis_of(pose, 0)[2])) < 0.05
        free = all(_apart_from(pose, truth.tips[side]) > _AWAY_M for side in ARM_SIDES)
        return there and flat and free and hands_off(truth, pose[:3], 0.0)


def _other(side: str) -> str:
    return next(s for s in ARM_SIDES if s != side)


def _resting(truth: Truth, spec: SceneSpec, side: str) -> FloatArray:
    """Where the middle of the block is when it lies on the pad of one side, shape (3,)."""
    pad = truth.place(PADS[side])
    return at(pad, float(pad[2]) + PAD_HEIGHT_M + rest_height(spec.object(BLOCK)))


def _apart_from(pose: FloatArray, tip: FloatArray) -> float:
    """Distance of a point from the block's long axis, m."""
    axis = axis_of(pose, 0)
    along = float(np.clip((tip - pose[:3]) @ axis, -SIZE_M[0] / 2, SIZE_M[0] / 2))
    return float(np.linalg.norm(tip - pose[:3] - along * axis))


def _leftward(pose: FloatArray) -> FloatArray:
    """The block's long axis, pointing to the left (y+), shape (3,)."""
    axis = axis_of(pose, 0)
    return axis if axis[1] >= 0 else -axis


def _grip(hand: Hand, pose: FloatArray, hover: float = _HOVER_M) -> Grip:
    """Across the block near its end on the hand's own side."""
    axis = _leftward(pose)
    middle = pose[:3] + TOWARDS[hand.side] * _END_M * axis + [0.0, 0.0, _UP_M]
    return Grip(middle, roll=_across(hand, middle, axis), thin=0.016, hover=hover)


def _across(hand: Hand, middle: FloatArray, axis: FloatArray) -> float:
    return roll_for(hand, middle, float(np.arctan2(axis[1], axis[0])) + np.pi / 2)


def _plan(view: View, giver: str, receiver: str) -> Plan:
    """Who does what next, from what the fingers hold."""
    give, get, pose = view.hands[giver], view.hands[receiver], view.truth.objects[BLOCK]
    rest = _resting(view.truth, view.spec, receiver)
    if firm(get, _grip(get, pose), SIZE_M[1]):
        if _apart_from(pose, give.tip) < _AWAY_M:
            return {giver: _leave(view, give), receiver: _still(get)}
        return {receiver: _deliver(view, get, rest - pose[:3])}
    if apart(pose, rest) < OFF_M and pose[2] - rest[2] < 0.006:
        return {receiver: _leave(view, get)}
    ready = Waypoint(_meeting(view, get, _HOVER_M), OPEN_M, roll=_meeting_roll(view, get))
    if not firm(give, _grip(give, pose), SIZE_M[1]):
        return {giver: take(give, _grip(give, pose)), receiver: ready}
    there = _meeting(view, give)
    met = float(np.linalg.norm(give.tip - there)) < _MET_M
    low = float(pose[2]) - view.table_z < 0.035
    roll = give.roll if low else _meeting_roll(view, give)
    bring = Waypoint(at(give.commanded_tip, float(there[2])) if low else there, CLOSED_M, roll=roll)
    return {giver: bring, receiver: take(get, _grip(get, pose)) if met else ready}


def _meeting(view: View, hand: Hand, above: float = 0.0) -> FloatArray:
    """Where a hand is when the block is handed over, or somewhat above it, shape (3,)."""
    x, y, z = _MEET
    return np.array([x, y + TOWARDS[hand.side] * _END_M, view.table_z + z + above])


def _meeting_roll(view: View, hand: Hand) -> float:
    """Fingers fore and aft: the block then lies straight across."""
    return _across(hand, _meeting(view, hand), np.array([0.0, 1.0, 0.0]))


def _still(hand: Hand) -> Waypoint:
    return Waypoint(hand.commanded_tip, CLOSED_M, roll=hand.roll)


def _leave(view: View, hand: Hand) -> Waypoint:
    """Opens and rises, as high above the block as it needs."""
    up = max(float(view.truth.place(BLOCK)[2]) + 0.080, view.table_z + LIFT_Z_M)
    return let_go(hand, SIZE_M[1], up)


def _deliver(view: View, hand: Hand, way: FloatArray) -> Waypoint:
    """Over the pad with the middle of the block, down, open."""
    pose = view.truth.objects[BLOCK]
    roll = _across(hand, hand.tip + way, np.array([0.0, 1.0, 0.0]))
    step = lower(hand, way, view.table_z + _CARRY_Z_M, roll)
    return step or let_go(hand, SIZE_M[1], float(pose[2]) + LIFT_Z_M)
