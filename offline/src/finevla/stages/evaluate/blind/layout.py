"""A scene in words, for the person who lays it out on a real table. Pure."""

from __future__ import annotations

import math

from finevla.sim.scene import Kind, ObjectSpec, SceneSpec

FRAME = (
    "ahead: from the line through both arm bases to the middle of the object; left and right: from the "
    "robot's middle line, as the robot sees it; turns: seen from above"
)
"""What the distances are measured from."""

_TURN_SHOWN_DEG = 2.0
_SAME_AFTER_DEG = {Kind.CUBE: 90.0, Kind.BAR: 180.0, Kind.CLUTTER_BOX: 180.0, Kind.TRAY: 180.0}
"""After this turn an object looks as before; kinds that are neither here nor in `_FACING` are round."""
_FACING = {Kind.CUP: "handle", Kind.BOTTLE: "neck"}
"""Kinds that point somewhere, and what points."""


def layout(spec: SceneSpec) -> list[str]:
    """One line per object: what it is and where its middle lies, in cm."""
    return [f"{_thing(item)}: {_place(item)}{_turn(item)}" for item in spec.objects]


def _cm(*values: float) -> str:
    return " x ".join(f"{100 * value:.1f}" for value in values) + " cm"


def _thing(item: ObjectSpec) -> str:
    first, *rest = item.size or (0.0,)
    last = rest[-1] if rest else 0.0
    words = {
        Kind.CUBE: f"cube, edge {_cm(first)}",
        Kind.BAR: f"bar, {_cm(*item.size)}",
        Kind.BOWL: f"{item.name.replace('_', ' ')}, inner radius {_cm(first)}",
        Kind.CUP: f"cup with a handle, radius {_cm(first)}, height {_cm(last)}",
        Kind.PAD: f"flat round pad, radius {_cm(first)}",
        Kind.BOTTLE: f"bottle, lying, radius {_cm(first)}, length {_cm(last)}",
        Kind.PILLAR: f"upright pillar, radius {_cm(first)}, height {_cm(last)}",
        Kind.BUTTON: f"button, radius {_cm(first)}",
        Kind.TRAY: f"tray, {_cm(2 * first, 2 * last)} inside",
        Kind.CLUTTER_BOX: f"box that is not asked for, {_cm(*item.size)}",
        Kind.CLUTTER_CAN: f"can that is not asked for, radius {_cm(first)}",
    }
    return f"{item.color} {words[item.kind]}".strip()


def _place(item: ObjectSpec) -> str:
    side = "left" if item.y > 0 else "right"
    across = f"{_cm(abs(item.y))} to the {side}" if abs(item.y) >= 0.0005 else "on the middle line"
    return f"{_cm(item.x)} ahead, {across}"


def _turn(item: ObjectSpec) -> str:
    degrees = math.degrees(item.yaw)
    if item.kind in _FACING:
        degrees = (degrees + 180.0) % 360.0 - 180.0
        way = "left" if degrees > 0 else "right"
        return f", {_FACING[item.kind]} pointing {abs(degrees):.0f} degrees to the {way} of straight ahead"
    if item.kind not in _SAME_AFTER_DEG:
        return ""
    period = _SAME_AFTER_DEG[item.kind]
    degrees = (degrees + period / 2) % period - period / 2
    if abs(degrees) < _TURN_SHOWN_DEG:
        return ", straight"
    return f", turned {abs(degrees):.0f} degrees {'counterclockwise' if degrees > 0 else 'clockwise'}"
