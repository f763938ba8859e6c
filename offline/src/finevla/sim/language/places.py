"""Where things are, in words: on the table, on or in something, left or right, near or far.

Left is y+, seen from the robot; near is towards the robot (x-). The annotation guideline of the paper
calls the near side "front", common use the far one, so neither text nor parser relies on that word.
"""

from __future__ import annotations

import numpy as np

from finevla.contract import ARM_SIDES
from finevla.sim.props import rest_height
from finevla.sim.scene import BOWL_RADIUS_M, Kind, ObjectSpec, SceneSpec
from finevla.sim.truth import FloatArray, Truth, axis_of

SIDE_M, CENTER_M = 0.040, 0.012
"""Farther than the first from the middle line is left or right, nearer than the second the center."""
NEAR_X_M, FAR_X_M = 0.195, 0.305
APART_M = 0.045
ON_TABLE_M = 0.008


def noun(item: ObjectSpec) -> str:
    """What a thing is called: the red cube, the block, the cup."""
    words = {Kind.BAR: "block", Kind.PILLAR: "obstacle", Kind.PAD: "mark"}
    if item.name == "coaster":
        return "the coaster"
    if item.kind in {Kind.BOWL, Kind.PAD}:
        side = item.name.split("_")[0]
        name = words.get(item.kind, "bowl")
        return f"the {side} {name}" if side in ARM_SIDES else f"the {name}"
    name = words.get(item.kind, str(item.kind))
    return f"the {item.color} {name}" if item.color else f"the {name}"


def support_of(truth: Truth, item: ObjectSpec, spec: SceneSpec) -> str:
    """Relation and noun of what an object rests in or on, such as `in the left bowl`; empty: not plain."""
    pose = truth.objects[item.name]
    for other in spec.objects:
        place = truth.place(other.name)
        off = np.abs(pose[:2] - place[:2])
        inside = {
            Kind.BOWL: float(np.hypot(*off)) < BOWL_RADIUS_M and float(pose[2] - place[2]) < 0.032,
            Kind.TRAY: other.kind is Kind.TRAY
            and bool((off < np.array(other.size)).all())
            and float(pose[2] - place[2]) < 0.032,
        }
        if inside.get(other.kind):
            return f"in {noun(other)}"
        if other.kind is Kind.PAD and float(np.hypot(*off)) < other.size[0] and _low(truth, item, spec):
            return f"on {noun(other)}"
        if other.kind is Kind.CUBE and other.name != item.name and _on(pose, truth, item, other):
            return f"on {noun(other)}"
    return "on the table" if _low(truth, item, spec) else ""


def _low(truth: Truth, item: ObjectSpec, spec: SceneSpec) -> bool:
    heights = [rest_height(item)]
    if item.kind is Kind.BOTTLE:
        heights.append(item.size[1] / 2)
    above = float(truth.place(item.name)[2]) - spec.look.table_z_m
    return any(abs(above - height) < ON_TABLE_M for height in heights)


def _on(pose: FloatArray, truth: Truth, item: ObjectSpec, other: ObjectSpec) -> bool:
    rel = pose[:3] - truth.place(other.name)
    height = rest_height(item) + rest_height(other)
    return abs(float(rel[2]) - height) < 0.006 and float(np.abs(rel[:2]).max()) < 0.025


def lateral(place: FloatArray) -> str:
    """left, right or center; empty in between."""
    if abs(float(place[1])) <= CENTER_M:
        return "center"
    if abs(float(place[1])) < SIDE_M:
        return ""
    return "left" if place[1] > 0 else "right"


def depth(place: FloatArray) -> str:
    """Near or far as seen from the robot; empty in between."""
    if place[0] <= NEAR_X_M:
        return "near"
    return "far" if place[0] >= FAR_X_M else ""


def beside(place: FloatArray, other: FloatArray) -> str:
    """Left or right of another thing; empty where it is neither plainly."""
    across, along = float(place[1] - other[1]), abs(float(place[0] - other[0]))
    if abs(across) < APART_M or along > 0.7 * abs(across):
        return ""
    return "left" if across > 0 else "right"


def pose_word(item: ObjectSpec, pose: FloatArray) -> str:
    """Upright or lying, for bottles; empty for other things, and where it is neither plainly."""
    if item.kind is not Kind.BOTTLE:
        return ""
    rise = float(axis_of(pose, 0)[2])
    if rise > 0.95:
        return "upright"
    return "lying" if abs(rise) < 0.25 else ""
