"""Carry the cube round a pillar, on the named side, and put it on the pad behind."""

from __future__ import annotations

import numpy as np

from finevla.contract import ARM_SIDES
from finevla.sim.goal import Goal
from finevla.sim.props import PAD_HEIGHT_M
from finevla.sim.scene import COLORS, CUBE_EDGE_M, Kind, ObjectSpec, SceneSpec, cube
from finevla.sim.tasks.base import Hand, Plan, Task, View, Waypoint
from finevla.sim.tasks.pick_lift import cube_grip
from finevla.sim.tasks.place import YAW_RAD
from finevla.sim.tasks.skills import (
    CLOSED_M,
    PADS_Z_M,
    SHUT_M,
    Grip,
    Put,
    apart,
    at,
    carry,
    held,
    let_go,
    roll_for,
    take,
)
from finevla.sim.truth import FloatArray, Truth, yaw_of

SIDES = ("left", "right")
OBSTACLE, TARGET = "obstacle", "target"
PILLAR_M = (0.020, 0.100)
"""Radius and height of the pillar; what is carried passes below its top."""
PAD_RADIUS_M = 0.032
ON_PAD_M = 0.030
"""How far from the middle of the pad the cube may come to rest."""

_CUBE_X_M, _CUBE_Y_M = (0.160, 0.170), (-0.06, 0.06)
_PILLAR_X_M, _PILLAR_Y_M = (0.256, 0.264), (-0.025, 0.025)
_PAD_X_M, _PAD_Y_M = (0.368, 0.378), (-0.05, 0.05)
_TILT_RAD = 0.35
"""Outward tilt of the gripper: within reach on the whole way, so that what is held stays level."""
_CARRY_Z_M = 0.074
_NEAR_M = 0.012
"""A cube that rests on the pad as near to its middle as this is let go of."""
_STEP_M = 0.04
_LANE_M = 0.088
"""Distance at which the hand passes the middle of the pillar: 2 cm and more of air on its side."""
_CLEAR_M = 0.074
"""Nearer than this beside the pillar the hand moves outwards before it goes on."""
_BEFORE_M, _PAST_M = 0.072, 0.060
"""The pillar's depth less the first to its depth plus the second is where the hand must be beside it."""


class MoveAroundObstacle(Task):
    """Put the cube on the pad, passing the pillar on the named side."""

    name = "move_around_obstacle"
    summary = "carry the cube past the pillar on the named side and put it on the pad"
    factors = ("arm", "side")
    max_frames = 200

    def load(self, rng: np.random.Generator, variant: str) -> tuple[ObjectSpec, ...]:
        """A cube of any colour near the robot, a pillar behind it, a pad behind that."""
        del variant
        color = str(rng.choice(list(COLORS)))
        ranges = (_CUBE_X_M, _CUBE_Y_M, _PILLAR_X_M, _PILLAR_Y_M, _PAD_X_M, _PAD_Y_M)
        cx, cy, px, py, tx, ty = (float(rng.uniform(*limits)) for limits in ranges)
        return (
            cube(color, cx, cy, float(rng.uniform(-YAW_RAD, YAW_RAD))),
            ObjectSpec(OBSTACLE, Kind.PILLAR, px, py, size=PILLAR_M, rgb=(0.16, 0.10, 0.20)),
            ObjectSpec(TARGET, Kind.PAD, tx, ty, size=(PAD_RADIUS_M,), rgb=(0.25, 0.22, 0.20)),
        )

    def goals(self, spec: SceneSpec) -> tuple[Goal, ...]:
        """Each arm on each side of the pillar."""
        return tuple(Goal(spec.task, arm, side=side) for arm in ARM_SIDES for side in SIDES)

    def expert(self, view: View) -> Plan:
        """Take the cube, go beside the pillar, past it, over the pad, down, open, rise."""
        return {view.goal.arm: _waypoint(view)}

    def success(self, truth: Truth, goal: Goal, spec: SceneSpec) -> bool:
        """The cube rests on the pad and the named hand is open and above it."""
        place = truth.place(spec.of(Kind.CUBE)[0].name)
        clear = float(truth.tips[goal.arm][2] - place[2]) > 0.025
        return _on_pad(place, truth.place(TARGET)) and truth.openings[goal.arm] > 0.05 and clear


def _on_pad(place: FloatArray, pad: FloatArray) -> bool:
    height = float(place[2] - pad[2]) - PAD_HEIGHT_M - CUBE_EDGE_M / 2
    return apart(place, pad) < ON_PAD_M and height < 0.004


def _waypoint(view: View) -> Waypoint:
    hand, pad, pose = view.hand, view.truth.place(TARGET), _cube_pose(view)
    carry_z = view.table_z + _CARRY_Z_M
    if _on_pad(pose[:3], pad) and (hand.grip > SHUT_M or apart(pose, pad) < _NEAR_M):
        return let_go(hand, CUBE_EDGE_M, carry_z)
    roll = roll_for(hand, pose, yaw_of(pose), np.pi / 2)
    grip = Grip(cube_grip(hand, pose[:3], view.table_z).at, roll, _TILT_RAD)
    if not held(hand, grip):
        return take(hand, grip)
    via = _beside(hand, view.truth.place(OBSTACLE), 1.0 if view.goal.side == "left" else -1.0)
    if via is None:
        tip = at(pad, float(pad[2]) + PAD_HEIGHT_M + PADS_Z_M)
        return carry(hand, Put(tip, hand.roll, _TILT_RAD, carry_z))
    if float(hand.tip[2]) < carry_z - 0.020:
        return Waypoint(at(hand.commanded_tip, carry_z), CLOSED_M, _TILT_RAD, hand.roll)
    return Waypoint(at(_ahead(hand, via), carry_z), CLOSED_M, _TILT_RAD, hand.roll)


def _cube_pose(view: View) -> FloatArray:
    return view.truth.objects[view.spec.of(Kind.CUBE)[0].name]


def _ahead(hand: Hand, xy: FloatArray) -> FloatArray:
    """The next bit of the way to a point on the table: near ends keep a way in joint space straight."""
    way = xy - hand.commanded_tip[:2]
    return hand.commanded_tip[:2] + way * min(1.0, _STEP_M / max(float(np.hypot(*way)), 1e-9))


def _beside(hand: Hand, pillar: FloatArray, sign: float) -> FloatArray | None:
    """Where the hand goes next, shape (2,), to pass the pillar on the side of `sign`; None: it has."""
    depth = float(hand.tip[0] - pillar[0])
    aside = sign * float(hand.tip[1] - pillar[1])
    lane = float(pillar[1]) + sign * _LANE_M
    if depth > _PAST_M:
        return None
    if aside > _CLEAR_M:
        return np.array([pillar[0] + _PAST_M + 0.015, lane])
    if depth < -_BEFORE_M:
        return np.array([min(float(hand.tip[0]), float(pillar[0]) - _BEFORE_M - 0.030), lane])
    if aside > 0.0:
        return np.array([hand.tip[0], lane])
    return np.array([pillar[0] - _BEFORE_M - 0.015, hand.tip[1]])
