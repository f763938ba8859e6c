"""Small helpers of tasks in which a hand turns things or holds them off-center."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from finevla.sim.tasks.base import Hand, View, Waypoint
from finevla.sim.tasks.skills import CLOSED_M, OPEN_M, TURNED_RAD, Grip, at, held, least_tilt
from finevla.sim.truth import FloatArray, Truth

ROLL_LIMIT_RAD = 2.06
"""Joint 6 is not planned beyond this; its own limit lies a little further."""
AWAY_M = 0.05
NEAR_M = 0.006
"""Horizontal deviation at which something is let go."""
LOW_M = 0.004
"""Height above its place at which something is let go."""
_FIRM_M = 0.004
_STEADY_M = 0.008
_BELOW_M = 0.012
_STEP_M = 0.030
_GATE_M = 0.010
_RECOVER_M = 0.025


def plumb(view: View, side: str, point: Waypoint) -> Waypoint:
    """The waypoint with the smallest outward tilt of which the arm is capable there.

    What is held stays level while a hand that points straight down turns joint 6.

    Raises:
        SimulationError: The point is out of reach.
    """
    return replace(point, tilt=least_tilt(view.contract, side, point.tip))


def firm(hand: Hand, grip: Grip, width: float) -> bool:
    """Whether the fingers hold something `width` wide and have arrived at it, not just been told to close."""
    return held(hand, grip) and hand.opening < width + _FIRM_M


def lower(hand: Hand, way: FloatArray, carry_z: float, roll: float, *, low: float = LOW_M) -> Waypoint | None:
    """The next step of a hand that brings what it holds to its place; None once it is there.

    Up to the height of carrying, over the place; once it is near and at rest down, the lower the
    nearer. A small deviation is put right on the way down, a large one from above.

    Args:
        hand: The hand that holds it.
        way: From where it is to where it shall be, shape (3,), m.
        carry_z: Height of the pads on the way, m (world).
        roll: Angle of joint 6 over the place, rad.
        low: Height above the place at which it is there, m.
    """
    off, height = float(np.hypot(way[0], way[1])), float(-way[2])
    place = hand.tip + way
    turned = abs(hand.roll - roll) < TURNED_RAD
    if turned and off < NEAR_M and height < low:
        return None
    steady = float(np.linalg.norm(hand.tip - hand.commanded_tip)) < _STEADY_M
    above = float(hand.tip[2]) > carry_z - _BELOW_M
    if turned and off < (_GATE_M if above else _RECOVER_M) and (steady or not above):
        # In short steps, because long ones are straight for the joints only, and with room to correct.
        z = max(float(place[2]) + 2.0 * max(off - NEAR_M, 0.0), float(hand.commanded_tip[2]) - _STEP_M)
        return Waypoint(at(place, z), CLOSED_M, roll=roll)
    if float(hand.tip[2]) < carry_z - 0.030 and (off > 0.03 or not turned):
        return Waypoint(at(hand.commanded_tip, carry_z), CLOSED_M, roll=hand.roll)
    return Waypoint(at(place, carry_z), CLOSED_M, roll=roll)


def hands_off(truth: Truth, place: FloatArray, least: float = AWAY_M) -> bool:
    """Whether every hand is open and at least that far from a place (world, m)."""
    return all(
        truth.openings[side] > OPEN_M - 0.020 and float(np.linalg.norm(tip - place)) > least
        for side, tip in truth.tips.items()
    )


def wrapped(angle: float) -> float:
    """The same direction in [-pi, pi), rad."""
    return float(np.remainder(angle + np.pi, 2 * np.pi) - np.pi)
