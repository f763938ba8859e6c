"""What experts are made of: taking something, carrying it, putting it down. Stateless, all of it.

Each function looks at the hand and the object as they are now and says where the hand goes next.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from finevla.contract import RobotContract
from finevla.errors import SimulationError
from finevla.sim.kinematics import solve_planar
from finevla.sim.tasks.base import Hand, Waypoint
from finevla.sim.truth import FloatArray, axis_of

OPEN_M = 0.070
CLOSED_M = 0.0
PADS_Z_M = 0.021
"""Height above the table of the finger pads' middle when they close; the fingers clear it by 5 mm."""
HOVER_M = 0.074
"""How far above the grip the hand opens and centers itself."""
LIFT_Z_M = 0.120
"""Usual height above the table at which things are carried."""
LIFTED_M = 0.030
"""An object counts as lifted when its center has risen by this much."""
HOLD_M = 0.030
"""Something is in a hand when it is nearer than this to the middle of the finger pads."""

CENTERED_M = 0.010
FUNNEL = 0.12
SHUT_M = 0.012
TURNED_RAD = 0.12
TILTED_RAD = 0.04
"""A hand whose tilt is further than this from the one it needs does not go down yet."""


@dataclass(frozen=True, slots=True)
class Grip:
    """How a hand takes something.

    Attributes:
        at: Where the middle of the pads is when they close (world, m); follows the object.
        roll: Angle of joint 6, rad.
        tilt: Outward tilt, rad; the default of the distance when None.
        thin: The gripper holds something as long as it is further open than this, m.
        hover: How far above `at` the hand gets ready, m.
        entry: Horizontal unit vector from the object to the side that the hand comes from; None: above.
    """

    at: FloatArray
    roll: float = 0.0
    tilt: float | None = None
    thin: float = 0.020
    hover: float = HOVER_M
    entry: FloatArray | None = None


ENTRY_M = 0.085
"""How far beside the object a hand comes down that takes it from the side."""


def apart(a: FloatArray, b: FloatArray) -> float:
    """Horizontal distance, m."""
    return float(np.hypot(a[0] - b[0], a[1] - b[1]))


def at(xy: FloatArray, z: float) -> FloatArray:
    """A point over another, shape (3,)."""
    return np.array([xy[0], xy[1], z])


def held(hand: Hand, grip: Grip) -> bool:
    """Whether what the grip is for is between closed fingers."""
    near = float(np.linalg.norm(hand.tip - grip.at)) < HOLD_M
    return near and hand.grip <= SHUT_M and hand.opening > grip.thin


def take(hand: Hand, grip: Grip) -> Waypoint:
    """The next step towards holding the object, from wherever the hand is.

    The hand comes down through a funnel: the lower it is, the better it must be centered over the
    grip, else it rises again. Once it has begun to close it goes on, even if the object moves a bit.
    """
    off, height = apart(hand.tip, grip.at), max(float(hand.tip[2] - grip.at[2]), 0.0)
    z = float(grip.at[2])
    closing = hand.closing(OPEN_M)
    if closing and off < 2 * CENTERED_M and height < 0.020 and hand.opening > grip.thin - 0.002:
        return _with(grip, at(hand.commanded_tip, z), CLOSED_M)
    if grip.entry is not None and not (off <= CENTERED_M and height <= 0.006):
        return _from_the_side(hand, grip, grip.entry, closing)
    turned = abs(hand.roll - grip.roll) < TURNED_RAD or height < 0.5 * HOVER_M
    if closing or off > CENTERED_M + FUNNEL * height or hand.opening < OPEN_M - 0.012 or not turned:
        return _with(grip, at(grip.at, z + grip.hover), OPEN_M)
    if height > 0.006 or off > CENTERED_M:
        return _with(grip, grip.at, OPEN_M)
    return _with(grip, at(hand.commanded_tip, z), CLOSED_M)


def _from_the_side(hand: Hand, grip: Grip, side: FloatArray, closing: bool) -> Waypoint:
    """Down beside the object, then level towards it."""
    rel = hand.tip[:2] - grip.at[:2]
    along = float(rel @ side[:2])
    across = abs(float(rel[0] * side[1] - rel[1] * side[0]))
    height, z = float(hand.tip[2] - grip.at[2]), float(grip.at[2])
    entry = grip.at[:2] + ENTRY_M * side[:2]
    ready = not closing and hand.opening > OPEN_M - 0.012
    if ready and height < 0.012 and across < 0.014 and -CENTERED_M < along < ENTRY_M + 0.03:
        return _with(grip, grip.at, OPEN_M)
    beside = float(np.hypot(*(hand.tip[:2] - entry)))
    turned = abs(hand.roll - grip.roll) < TURNED_RAD or height < 0.02
    if ready and turned and beside < CENTERED_M + FUNNEL * max(height, 0.0):
        return _with(grip, at(entry, z), OPEN_M)
    return _with(grip, at(entry, z + grip.hover), OPEN_M)


@dataclass(frozen=True, slots=True)
class Put:
    """How a hand puts down what it holds.

    Attributes:
        tip: Where the middle of the pads is when they open (world, m).
        roll: Angle of joint 6 there, rad.
        tilt: Outward tilt there, rad; the default of the distance when None.
        carry_z: Height of the pads on the way, m (world).
        near: Horizontal deviation at which the hand lets go, m.
    """

    tip: FloatArray
    roll: float = 0.0
    tilt: float | None = None
    carry_z: float = LIFT_Z_M
    near: float = 0.006


def lift(hand: Hand, grip: Grip, z: float) -> Waypoint:
    """Straight up with what is held, to height `z` of the pads (world, m)."""
    return Waypoint(at(hand.commanded_tip, z), CLOSED_M, grip.tilt, grip.roll)


def carry(hand: Hand, put: Put) -> Waypoint:
    """The next step of a hand that holds something, until it lets go.

    Up to the height of carrying, over the place, down through a funnel, open. While rising and
    far from the place it keeps roll and tilt; over the place it takes those of the place.
    """
    off, height = apart(hand.tip, put.tip), float(hand.tip[2] - put.tip[2])
    if off < put.near and height < 0.005:
        return Waypoint(at(hand.commanded_tip, float(put.tip[2])), OPEN_M, put.tilt, put.roll)
    turned = abs(hand.roll - put.roll) < TURNED_RAD
    high = height > 0.6 * (put.carry_z - float(put.tip[2]))
    # A hand that still swings may cross the place: up there it comes to rest first.
    swings = high and put.tilt is not None and abs(hand.tilt - put.tilt) > TILTED_RAD
    if turned and not swings and off < put.near + FUNNEL * max(height, 0.0) * 0.6:
        return Waypoint(put.tip, CLOSED_M, put.tilt, put.roll)
    low = float(hand.tip[2]) < put.carry_z - 0.030
    if low and off > 0.03:
        return Waypoint(at(hand.commanded_tip, put.carry_z), CLOSED_M, None, hand.roll)
    return Waypoint(at(put.tip, put.carry_z), CLOSED_M, put.tilt, put.roll)


def let_go(hand: Hand, width: float, z: float) -> Waypoint:
    """Opens where the hand is, and rises to height `z` once `width` fits between the fingers.

    It also rises where something keeps the fingers from opening.
    """
    opens = hand.grip < OPEN_M - 0.002
    if opens and hand.opening < min(width + 0.012, OPEN_M - 0.008):
        return Waypoint(hand.commanded_tip, OPEN_M, hand.tilt, hand.roll)
    return Waypoint(at(hand.commanded_tip, z), OPEN_M, None, hand.roll)


def least_tilt(contract: RobotContract, side: str, tip: FloatArray) -> float:
    """The smallest outward tilt from straight down that brings the pads to a point, rad.

    Raises:
        SimulationError: The point is out of reach.
    """
    for tilt in np.arange(0.0, 1.2, 0.02):
        try:
            solve_planar(contract, side, tip, tilt=float(tilt))
        except SimulationError:
            continue
        return float(tilt)
    solve_planar(contract, side, tip, tilt=1.2)
    return 1.2


def face_yaw(pose: FloatArray) -> float:
    """Heading of a face of a cube, whichever side it lies on, rad; the others follow at right angles."""
    level = min((axis_of(pose, i) for i in range(3)), key=lambda axis: abs(float(axis[2])))
    return float(np.arctan2(level[1], level[0]))


def roll_for(hand: Hand, xy: FloatArray, yaw: float, period: float = np.pi, *, limit: float = 2.0) -> float:
    """Angle of joint 6 with which the fingers open along heading `yaw` at a point on the table, rad.

    Exact for a gripper that points straight down. Of the angles that serve as well (they differ by
    `period`) the one nearest to the present roll is taken, if joint 6 allows it.
    """
    # At roll 0 the fingers open across the arm's heading; joint 6 turns about the axis pointing down.
    raw = hand.heading(xy) + np.pi / 2 - yaw
    base = float(np.remainder(raw, period))
    choices = [base + k * period for k in range(-8, 9) if abs(base + k * period) <= limit]
    return min(choices, key=lambda angle: abs(angle - hand.roll)) if choices else base


def _with(grip: Grip, tip: FloatArray, opening: float) -> Waypoint:
    return Waypoint(tip, opening, grip.tilt, grip.roll)
