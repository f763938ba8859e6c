"""Bringing several objects to their places, one after the other: the skill of stacking and tidying.

Stateless, as all skills: it looks at what is where, and at what the hand is around.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from finevla.sim.tasks.base import Hand, View, Waypoint
from finevla.sim.tasks.skills import (
    CLOSED_M,
    FUNNEL,
    HOLD_M,
    HOVER_M,
    OPEN_M,
    PADS_Z_M,
    TILTED_RAD,
    TURNED_RAD,
    Grip,
    apart,
    at,
    face_yaw,
    held,
    least_tilt,
    let_go,
    roll_for,
    take,
)
from finevla.sim.truth import FloatArray, Truth

CARRY_Z_M = 0.100
"""Height above the table at which `bring` carries things."""
CLEAR_M = 0.030
"""The pads are clear of an object that lies below them when they are this far above its top."""

STEADY_M = 0.004
"""A hand this near to where it is commanded to be is at rest."""
IN_WAY_M = 0.055
TOUCHDOWN_M = 0.014
"""At this height of the pads the fingers' ends touch the table, nearly."""
HIGHEST_M = 0.200
"""No hand rises higher above the table, even if an object has come to lie on the arm."""
STEP_M = 0.050
"""Length of the steps in which a hand comes down and draws back."""


@dataclass(frozen=True, slots=True)
class Move:
    """One object, and where it shall be.

    Attributes:
        name: Of the object: a cube, or something else that is as wide wherever its faces are gripped.
        width: What the fingers hold, m.
        to: Where its center shall be (world, m); may follow another object from call to call.
        yaw: Heading along which the fingers open there, rad; along x or y, whichever is nearer, when None.
        near: Horizontal deviation at which it is let go, m.
        slack: Deviation up to which it may stay where it lies, m.
    """

    name: str
    width: float
    to: FloatArray
    yaw: float | None = None
    near: float = 0.005
    slack: float = 0.012


def bring(
    view: View, moves: Sequence[Move], *, side: str = "", carry_z: float = CARRY_Z_M
) -> Waypoint | None:
    """The next step of one hand towards having all objects at their places, in the order of `moves`.

    Each is taken by its faces, raised, carried over its place, lowered through a funnel (corrected for
    how it sits in the hand) and let go once it stands there and the hand is at rest. The hand then
    rises straight. What is held but is not next goes back to where it was at the beginning.

    Args:
        view: What is there now.
        moves: What shall be where; the first that is not at its place is next.
        side: Which hand; the goal's arm when empty.
        carry_z: Height of the pads on the way, m above the table: 5 cm over the highest place at least.

    Returns:
        None when everything is at its place and the hand has left it.
    """
    hand = view.hands[side or view.goal.arm]
    following = _next(view, moves)
    current = _at_hand(view.truth, hand, moves)
    wanted = following if current and following and current.name == following.name else None
    if current is not None and _holds(view.truth, hand, current):
        if wanted is None and not at_place(view.truth, current):
            current = _back(view, current)
        return _set_down(view, hand, wanted or current, view.table_z + carry_z)
    if current is not None and wanted is None:
        return _let_go(view, hand, current)
    return None if following is None else _fetch(view, hand, following)


def at_place(truth: Truth, move: Move) -> bool:
    """Whether an object is where it shall be, in a hand or not."""
    place = truth.place(move.name)
    return apart(place, move.to) < move.slack and abs(float(place[2] - move.to[2])) < 0.008


def _next(view: View, moves: Sequence[Move]) -> Move | None:
    """The first that is not at its place; before it, what is in its way or on it goes back to its start."""
    following = next((move for move in moves if not at_place(view.truth, move)), None)
    if following is None:
        return None
    in_way = [move for move in moves if move is not following and _in_way(view.truth, move, following.to)]
    first = _uppermost(view.truth, moves, in_way[0] if in_way else following)
    return following if first is following else _back(view, first)


def _in_way(truth: Truth, move: Move, to: FloatArray) -> bool:
    return apart(truth.place(move.name), to) < IN_WAY_M and not at_place(truth, move)


def _uppermost(truth: Truth, moves: Sequence[Move], below: Move) -> Move:
    """What lies on top of something, at the very top; the thing itself where it is free."""
    lowest = truth.place(below.name)
    over = [(float(truth.place(move.name)[2]), move) for move in moves if move is not below]
    tower = [
        (z, move)
        for z, move in over
        if apart(truth.place(move.name), lowest) < below.width * 0.75
        and lowest[2] + 0.02 < z < lowest[2] + 0.09
    ]
    return max(tower, key=lambda pair: pair[0])[1] if tower else below


def _back(view: View, move: Move) -> Move:
    """The object's way back to where it was at the beginning."""
    start = at(np.array(view.spec.object(move.name).xy), view.table_z + move.width / 2)
    return replace(move, to=start, yaw=None)


def _at_hand(truth: Truth, hand: Hand, moves: Sequence[Move]) -> Move | None:
    """What the fingers are around, or above which they have not risen far enough yet."""
    around = [move for move in moves if _over(truth.place(move.name), hand, move.width)]
    return min(around, key=lambda m: float(np.linalg.norm(truth.place(m.name) - hand.tip)), default=None)


def _over(place: FloatArray, hand: Hand, width: float) -> bool:
    height = float(hand.tip[2] - place[2])
    return apart(place, hand.tip) < HOLD_M and -HOLD_M < height < width / 2 + CLEAR_M


def _holds(truth: Truth, hand: Hand, move: Move) -> bool:
    return held(hand, Grip(truth.place(move.name), thin=0.6 * move.width))


def _fetch(view: View, hand: Hand, move: Move) -> Waypoint:
    """Straight up first if the hand is low and elsewhere, then as `take` does, by the faces."""
    pose = view.truth.objects[move.name]
    z = min(max(float(pose[2]), view.table_z + PADS_Z_M), view.table_z + HIGHEST_M - HOVER_M)
    roll = _face_roll(view, hand, move)
    step = take(hand, Grip(at(pose, z), roll, thin=0.6 * move.width))
    if apart(hand.tip, pose) > 0.035 and hand.tip[2] < z + 0.6 * HOVER_M:
        step = Waypoint(at(hand.commanded_tip, z + HOVER_M), OPEN_M, roll=hand.roll)
    hover = Waypoint(at(pose, z + HOVER_M), OPEN_M, roll=roll)
    swings = abs(hand.tilt - _tilt(view, hand, move, hover)) > TILTED_RAD
    if swings and step.tip[2] < hover.tip[2] - 0.01 and hand.tip[2] > z + 0.6 * HOVER_M:
        # The way to the hover may cross the object while the hand still swings: it comes to rest first.
        step = hover
    return replace(step, tilt=_tilt(view, hand, move, step))


def _face_roll(view: View, hand: Hand, move: Move) -> float:
    """The roll that grips two faces of an object and leaves room for the fingers between it and others."""
    pose = view.truth.objects[move.name]
    others = [view.truth.place(o.name) for o in view.spec.movable if o.name != move.name]
    yaw = face_yaw(pose)
    free = [y for y in (yaw, yaw + np.pi / 2) if not any(_in_fingers(pose, o, y) for o in others)]
    if len(free) == 1:
        return roll_for(hand, pose, free[0])
    return roll_for(hand, pose, yaw, np.pi / 2)


def _in_fingers(place: FloatArray, other: FloatArray, yaw: float) -> bool:
    """Whether fingers that open along `yaw` around one thing come down on another of about its size."""
    away, axis = other[:2] - place[:2], np.array([np.cos(yaw), np.sin(yaw)])
    along, across = abs(float(away @ axis)), abs(float(away[0] * axis[1] - away[1] * axis[0]))
    return along < 0.070 and across < 0.035


def _set_down(view: View, hand: Hand, move: Move, carry_z: float) -> Waypoint:
    """Up, over the place, down, open; distances are those of the object, not of the pads."""
    place = view.truth.place(move.name)
    tip = move.to + hand.tip - place
    off, height = apart(place, move.to), float(place[2] - move.to[2])
    yaw, period = (0.0, np.pi / 2) if move.yaw is None else (move.yaw, np.pi)
    roll = roll_for(hand, move.to, yaw, period)
    steady = float(np.linalg.norm(hand.tip - hand.commanded_tip)) < STEADY_M
    # Fingers that touch the table cannot bring it lower: it has slipped, and is better taken anew.
    slipped = off < move.slack and height < 0.015 and hand.tip[2] < view.table_z + TOUCHDOWN_M
    if slipped or (off < move.near and height < 0.003 and steady):
        return _let_go(view, hand, move)
    turned = abs(hand.roll - roll) < TURNED_RAD
    if turned and off < move.near + 0.6 * FUNNEL * max(height, 0.0):
        # In short steps, so that it comes down straight; straight in joint space is not.
        step = Waypoint(at(tip, max(float(tip[2]), float(hand.tip[2]) - STEP_M)), CLOSED_M, roll=roll)
    elif float(hand.tip[2]) < carry_z - 0.030 and (off > 0.03 or not turned):
        step = Waypoint(at(hand.commanded_tip, carry_z), CLOSED_M, roll=hand.roll)
    else:
        # Nearly over the place it is centered at about the height where it is, or it would swing.
        z = carry_z if off > 0.03 or not turned else min(carry_z, float(hand.tip[2]) + 0.02)
        step = Waypoint(at(tip, z), CLOSED_M, roll=roll)
    return replace(step, tilt=_tilt(view, hand, move, step))


def _let_go(view: View, hand: Hand, move: Move) -> Waypoint:
    """Opens where the hand is, and rises in short steps, so that it rises straight."""
    place = view.truth.place(move.name)
    clear = min(float(place[2]) + move.width / 2 + CLEAR_M + 0.01, view.table_z + HIGHEST_M)
    step = let_go(hand, move.width, clear)
    short = np.minimum(step.tip, [*step.tip[:2], float(hand.tip[2]) + STEP_M])
    return replace(step, tip=short, tilt=_tilt(view, hand, move, replace(step, tip=short)))


def _tilt(view: View, hand: Hand, move: Move, step: Waypoint) -> float:
    """As upright as can be, but at least as tilted as both where the object lay and where it goes need.

    Taken and put down at the same tilt, it stands as it stood.
    """
    start = at(np.array(view.spec.object(move.name).xy), view.table_z + PADS_Z_M)
    goal = at(move.to, float(move.to[2]) + 0.003)
    least = max(least_tilt(view.contract, hand.side, point) for point in (start, goal))
    return max(least, least_tilt(view.contract, hand.side, step.tip))
