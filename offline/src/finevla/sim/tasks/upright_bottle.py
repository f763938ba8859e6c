"""Put a lying bottle on a pad, upright or lying."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from finevla.contract import ARM_SIDES
from finevla.errors import SimulationError
from finevla.sim.goal import Goal
from finevla.sim.kinematics import solve_planar
from finevla.sim.props import PAD_HEIGHT_M
from finevla.sim.scene import Kind, ObjectSpec, SceneSpec
from finevla.sim.tasks.base import Hand, Plan, Task, View, Waypoint
from finevla.sim.tasks.plumb import ROLL_LIMIT_RAD, firm, hands_off, lower, plumb, wrapped
from finevla.sim.tasks.skills import CLOSED_M, LIFT_Z_M, OPEN_M, PADS_Z_M, Grip, apart, at, let_go, take
from finevla.sim.truth import FloatArray, Truth, axis_of

BOTTLE, PAD = "bottle", "pad"
SIZE_M = (0.019, 0.105)
PAD_M = 0.045
POSES = ("upright", "lying")
OFF_M = 0.040
"""How far from the middle of the pad it may stand or lie."""
_X_M, _Y_M = (0.165, 0.215), (-0.07, 0.07)
_SPREAD_RAD = float(np.deg2rad(45.0))
_PAD_X_M, _PAD_Y_M = (0.355, 0.375), (-0.020, 0.020)
_GRIP_M = 0.012
"""How far ahead of its middle, towards the neck, the bottle is taken."""
_THIN_M = 0.025
_STEEP_RAD, _SPARE_RAD = 1.50, 0.02
_CARRY_Z_M = 0.085
_STAGE_Z_M = 0.125
_SAG = 0.04
_STANDS = 0.85
"""A bottle over its pad whose axis rises by more than this (sine) is let go of: it sets itself upright."""
_BACK_M = 0.085


class UprightBottle(Task):
    """Put the bottle on the pad in the named pose, let go and draw back."""

    name = "upright_bottle"
    summary = "put the lying bottle on the pad, upright or lying"
    factors = ("arm", "pose")
    max_frames = 160

    def load(self, rng: np.random.Generator, variant: str) -> tuple[ObjectSpec, ...]:
        """A lying bottle whose neck points more or less forward, and a pad further back."""
        del variant
        x, y = float(rng.uniform(*_X_M)), float(rng.uniform(*_Y_M))
        yaw = float(rng.uniform(-_SPREAD_RAD, _SPREAD_RAD))
        px, py = float(rng.uniform(*_PAD_X_M)), float(rng.uniform(*_PAD_Y_M))
        return (
            ObjectSpec(BOTTLE, Kind.BOTTLE, x, y, yaw, SIZE_M, rgb=(0.02, 0.30, 0.20)),
            ObjectSpec(PAD, Kind.PAD, px, py, 0.0, (PAD_M,), rgb=(0.25, 0.08, 0.10)),
        )

    def goals(self, spec: SceneSpec) -> tuple[Goal, ...]:
        """Each arm with each pose."""
        return tuple(Goal(spec.task, arm, pose=pose) for arm in ARM_SIDES for pose in POSES)

    def expert(self, view: View) -> Plan:
        """Grip across, lift; upright: point forward so that the neck rises; lower, open, draw back, rise."""
        upright = view.goal.pose != "lying"
        return {view.goal.arm: _stand(view) if upright else _lay(view)}

    def success(self, truth: Truth, goal: Goal, spec: SceneSpec) -> bool:
        """It rests on the pad in the named pose, and both hands are off."""
        del spec
        pose, pad = truth.objects[BOTTLE], truth.place(PAD)
        rise = float(axis_of(pose, 0)[2])
        stands, lies = rise > 0.99, abs(rise) < 0.10
        as_asked = {"upright": stands, "lying": lies}.get(goal.pose, stands or lies)
        rests = abs(float(_lowest(pose)[2] - pad[2]) - PAD_HEIGHT_M) < 0.002
        place = _bottom(pose) if stands else pose
        return as_asked and rests and apart(place, pad) < OFF_M and hands_off(truth, pose[:3])


def _bottom(pose: FloatArray) -> FloatArray:
    """Middle of the bottle's bottom, shape (3,), m."""
    return np.asarray(pose[:3] - 0.5 * SIZE_M[1] * axis_of(pose, 0))


def _lowest(pose: FloatArray) -> FloatArray:
    """The middle of the bottom at the height of the bottle's lowest point, shape (3,), m."""
    rise = float(np.clip(axis_of(pose, 0)[2], -1.0, 1.0))
    bottom = _bottom(pose)
    return at(bottom, float(bottom[2]) - SIZE_M[0] * float(np.sqrt(1.0 - rise**2)))


def _grip(hand: Hand, pose: FloatArray, table_z: float) -> Grip:
    """Across the axis, so that with joint 6 at zero the neck points away from the arm's base."""
    axis = axis_of(pose, 0)
    middle = pose[:3] + _GRIP_M * axis
    roll = wrapped(hand.heading(middle) - float(np.arctan2(axis[1], axis[0])))
    if abs(roll) > ROLL_LIMIT_RAD:
        roll = wrapped(roll + np.pi)
    z = max(float(middle[2]), table_z + PADS_Z_M)
    return Grip(at(middle, z), roll=roll, thin=_THIN_M)


def _lay(view: View) -> Waypoint:
    """Over to the pad as it is held."""
    hand, pose, pad = view.hand, view.truth.objects[BOTTLE], view.truth.place(PAD)
    way = at(pad, float(pad[2]) + PAD_HEIGHT_M + SIZE_M[0]) - pose[:3]
    grip = _grip(hand, pose, view.table_z)
    held = firm(hand, grip, 2 * SIZE_M[0])
    step = lower(hand, way, _CARRY_Z_M + view.table_z, hand.roll) if held else None
    if step is None and (held or (apart(pose, pad) < 0.5 * OFF_M and abs(way[2]) < 0.006)):
        step = let_go(hand, 2 * SIZE_M[0], LIFT_Z_M + view.table_z)
    return plumb(view, hand.side, step or take(hand, grip))


def _stand(view: View) -> Waypoint:
    """Up, forward with the neck rising, down until the bottom touches, open, back, up."""
    hand, pose, pad = view.hand, view.truth.objects[BOTTLE], view.truth.place(PAD)
    bottom = at(pad, float(pad[2]) + PAD_HEIGHT_M)
    if firm(hand, Grip(pose[:3] + _GRIP_M * axis_of(pose, 0), thin=_THIN_M), 2 * SIZE_M[0]):
        return _raise(view, bottom)
    if axis_of(pose, 0)[2] > _STANDS and apart(_bottom(pose), pad) < PAD_M:
        return _withdraw(view, pose)
    return plumb(view, hand.side, take(hand, _grip(hand, pose, view.table_z)))


def _raise(view: View, bottom: FloatArray) -> Waypoint:
    """What a hand that holds the bottle does until it opens."""
    hand, pose = view.hand, view.truth.objects[BOTTLE]
    way = bottom - _lowest(pose)
    stage = view.table_z + _STAGE_Z_M
    tilt = _steepest(view, at(bottom, view.table_z + 0.5 * SIZE_M[1] + _GRIP_M))
    if hand.tilt < tilt - 0.10 or abs(hand.roll) > 0.15:
        low = float(hand.tip[2]) < view.table_z + 0.065
        if low and apart(hand.tip, bottom) > 0.05:
            return plumb(view, hand.side, Waypoint(at(hand.commanded_tip, stage), CLOSED_M, roll=hand.roll))
        # Higher while there is much to tilt: the way, straight for the joints, sags in between.
        return Waypoint(at(bottom, stage + _SAG * max(tilt - hand.tilt, 0.0)), CLOSED_M, tilt)
    step = lower(hand, way, stage, 0.0, low=0.002)
    if step is None:
        return Waypoint(hand.commanded_tip, OPEN_M, hand.tilt, hand.roll)
    return replace(step, tilt=_steepest(view, step.tip, tilt))


def _withdraw(view: View, pose: FloatArray) -> Waypoint:
    """Opens around the standing bottle, goes straight back and rises there."""
    hand = view.hand
    heading = hand.heading(pose)
    out = np.array([np.cos(heading), np.sin(heading)])
    behind = float((pose[:2] - hand.tip[:2]) @ out)
    spot, up = pose[:2] - _BACK_M * out, view.table_z + LIFT_Z_M
    low = float(hand.tip[2]) < up - 0.02
    if low and apart(hand.tip, pose) < 0.04 and hand.opening < 2 * SIZE_M[0] + 0.020:
        return Waypoint(hand.commanded_tip, OPEN_M, hand.tilt, hand.roll)
    if low and behind < _BACK_M - 0.015:
        point = at(spot, float(pose[2]) + _GRIP_M + 0.015)
    else:
        point = at(spot, up)
    return Waypoint(point, OPEN_M, _steepest(view, point, max(hand.tilt, 0.8)))


def _steepest(view: View, tip: FloatArray, most: float = _STEEP_RAD) -> float:
    """The largest outward tilt up to `most` of which the arm is capable at a point, rad."""
    for tilt in np.arange(most, 0.0, -0.01):
        try:
            solve_planar(view.contract, view.hand.side, tip, tilt=float(tilt))
        except SimulationError:
            continue
        return float(tilt) if tilt > most - 1e-9 else float(tilt) - _SPARE_RAD
    return 0.0
