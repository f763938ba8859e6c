"""The course of an episode as facts: what the text says, each with its values of the ten dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from finevla.contract import ARM_SIDES, RobotContract
from finevla.contract.dimensions import SLOTS, DimensionValue
from finevla.sim.language.course import Course, Hold, Press, attempts
from finevla.sim.language.places import beside, depth, lateral, noun, pose_word, support_of
from finevla.sim.scene import Kind, ObjectSpec
from finevla.sim.truth import FloatArray, Truth

LIFT_M, CARRY_M, RETREAT_M = 0.020, 0.040, 0.040
OPEN_M, CLOSED_M = 0.045, 0.012
STILL_M, PUSHED_M = 0.006, 0.016
RESTING_RAD = 0.02
ROW_M = 0.045
_DIMENSION = {slot: dimension for dimension, slots in SLOTS.items() for slot in slots}
_APPROACH: Mapping[str, str] = {"above": "top"}


@dataclass(frozen=True, slots=True)
class Fact:
    """One sentence to be: what happened, what fills its fields, and its values."""

    kind: str
    fields: Mapping[str, str] = field(default_factory=dict)
    values: tuple[DimensionValue, ...] = ()


def fact(kind: str, fields: Mapping[str, str], **values: str) -> Fact:
    """A fact; `values` are slots and their values, empty ones left out."""
    said = tuple(DimensionValue(_DIMENSION[slot], slot, value) for slot, value in values.items() if value)
    return Fact(kind, fields, said)


def step_facts(course: Course) -> tuple[Fact, ...]:
    """What the hands did, one movement per fact, in the order of time."""
    timed: list[tuple[int, int, Fact]] = []
    for hold in course.holds:
        timed += _hold_steps(course, hold)
    for press in course.presses:
        timed += _press_steps(course, press)
    for miss in course.misses:
        fields = {"side": miss.side, "object": noun(miss.item)}
        timed.append((miss.start, 0, fact("miss", fields, failure="missed_grasp")))
    timed += _retreats(course)
    return tuple(entry for _, _, entry in sorted(timed, key=lambda row: row[:2]))


def _hold_steps(course: Course, hold: Hold) -> list[tuple[int, int, Fact]]:
    side, thing = hold.side, noun(hold.item)
    base = {"side": side, "object": thing}
    giver = f" while the {hold.given_by} gripper still holds it" if hold.given_by else ""
    part = f"the {hold.part} of " if hold.part else ""
    rows = [
        (hold.touch, 0, _reach(course, side, hold.item, hold.touch, hold.approach)),
        (
            hold.start,
            1,
            fact(
                "grasp",
                {**base, "part": part, "giver": giver},
                primitive_action="grasp",
                gripper_state="closed",
                contact_region=hold.part,
                category=_category(hold.item),
                color=hold.item.color,
            ),
        ),
        *((hold.start, 2, entry) for entry in _moves(course, hold, base)),
    ]
    if hold.end >= len(course.log.truths):
        rows.append((hold.end, 2, fact("keep", base, gripper_state="closed", final_state="held")))
        return rows
    taken_over = any(h.given_by == side and h.item == hold.item for h in course.holds if h.start < hold.end)
    if hold.place and not taken_over:
        where = hold.place.replace("in ", "into ", 1).replace("on ", "onto ", 1)
        rows.append((hold.end, 0, fact("place", {**base, "where": where}, primitive_action="place")))
    rows.append((hold.end, 1, fact("release", base, primitive_action="release", gripper_state="open")))
    return rows


def _moves(course: Course, hold: Hold, base: Mapping[str, str]) -> list[Fact]:
    """Lift, turn and way of what is held."""
    truths, name = course.log.truths, hold.item.name
    begin, end = truths[hold.start].objects[name], truths[min(hold.end, len(truths)) - 1].objects[name]
    found = []
    if hold.rise_m >= LIFT_M and hold.calm_start:
        cm = str(round(100 * hold.rise_m))
        found.append(fact("lift", {**base, "cm": cm}, primitive_action="lift"))
    before, after = pose_word(hold.item, begin), pose_word(hold.item, end)
    if before and after and before != after:
        found.append(fact("tip", {**base, "pose": after}, primitive_action="rotate"))
    if hold.turn_rad and hold.calm_start:
        rotation = "counterclockwise" if hold.turn_rad > 0 else "clockwise"
        degrees = str(5 * round(float(np.rad2deg(abs(hold.turn_rad))) / 5))
        angle = {"rotation_direction": rotation, "rotation_angle": f"{degrees}_deg"}
        fields = {**base, "rotation": rotation, "degrees": degrees}
        found.append(fact("turn", fields, primitive_action="rotate", **angle))
    way = end[:2] - begin[:2]
    length = float(np.hypot(*way))
    if (length >= CARRY_M or hold.passed) and hold.calm_start and hold.calm_end:
        found.append(_carry(base, way, length, hold.passed))
    return found


def _carry(base: Mapping[str, str], way: FloatArray, length: float, passed: str) -> Fact:
    direction = ""
    if abs(float(way[1])) > 1.5 * abs(float(way[0])):
        direction = "left" if way[1] > 0 else "right"
    elif abs(float(way[0])) > 1.5 * abs(float(way[1])):
        direction = "forward" if way[0] > 0 else "backward"
    cm = str(round(100 * length))
    return fact(
        "carry",
        {
            **base,
            "cm": cm,
            "direction": direction,
            "past": f" past the {passed} side of the obstacle" if passed else "",
        },
        primitive_action="move",
        translation_direction=direction,
        translation_extent=f"{cm}_cm",
        path_shape=f"around_{passed}" if passed else "",
    )


def _reach(course: Course, side: str, item: ObjectSpec, touch: int, approach: str) -> Fact:
    truths = course.log.truths
    opening = truths[max(touch - 1, 0)].openings[side]
    grip = "open" if opening > OPEN_M else "closed" if opening < CLOSED_M else ""
    return fact(
        "reach",
        {"side": side, "object": noun(item), "origin": approach, "grip": grip},
        primitive_action="reach",
        gripper_state=grip,
        approach_direction=_APPROACH.get(approach, approach),
    )


def _press_steps(course: Course, press: Press) -> list[tuple[int, int, Fact]]:
    fields = {"side": press.side, "object": noun(press.item)}
    rows = [(press.touch, 0, _reach(course, press.side, press.item, press.touch, press.approach))]
    if course.log.truths[press.start].openings[press.side] < CLOSED_M:
        pressed = {"primitive_action": "press", "gripper_state": "closed", "translation_direction": "down"}
        target = {"category": _category(press.item), "color": press.item.color}
        rows.append((press.start, 1, fact("press", fields, **pressed, **target)))
    return rows


def _retreats(course: Course) -> list[tuple[int, int, Fact]]:
    """Arms that drew back after their last hold or press."""
    truths, rows = course.log.truths, []
    for side in ARM_SIDES:
        ends = [h.end for h in course.holds if h.side == side] + [
            p.start for p in course.presses if p.side == side
        ]
        if not ends or max(ends) >= len(truths):
            continue
        way = course.log.last.tips[side] - truths[max(ends)].tips[side]
        if float(np.linalg.norm(way)) >= RETREAT_M:
            rows.append((len(truths), 3, fact("retreat", {"side": side}, primitive_action="retreat")))
    return rows


def scene_facts(course: Course, contract: RobotContract, joints: FloatArray) -> tuple[Fact, ...]:
    """Who acts, and what is where at the start."""
    found = []
    arms = course.arms
    if len(arms) == 1:
        found.append(fact("one_arm", {"side": arms[0]}, actor=f"{arms[0]}_arm"))
    elif arms:
        found.append(fact("two_arms", {}, actor="both_arms"))
    for side in ARM_SIDES:
        moved = float(np.ptp(joints[:, contract.arm_slice(side)][:, :-1], axis=0).max())
        if side not in arms and moved < RESTING_RAD:
            found.append(fact("rest", {"side": side}))
    found += [f for item in course.items if (f := _start(course, item))]
    return (*found, *_sizes(course))


def _start(course: Course, item: ObjectSpec) -> Fact | None:
    truth = course.log.first
    place, pose = truth.place(item.name), pose_word(item, truth.objects[item.name])
    side, far = lateral(place), depth(place)
    others = [o for o in course.log.targets if o.name != item.name]
    relations = [(beside(place, truth.place(o.name)), noun(o)) for o in others]
    relation = next((f"{way}_of {name}" for way, name in relations if way), "")
    if not (pose or side or far or relation):
        return None
    fields = {"object": noun(item), "pose": pose, "lateral": side, "depth": far, "relation": relation}
    return fact(
        "start",
        fields,
        initial_pose=pose,
        initial_workspace_location="_".join(word for word in (side, far) if word),
        initial_relation=relation.replace(" the ", "_").replace(" ", "_"),
    )


def _category(item: ObjectSpec) -> str:
    return "cube" if item.kind is Kind.BAR else str(item.kind)


def _sizes(course: Course) -> list[Fact]:
    cubes = sorted(course.log.spec.of(Kind.CUBE), key=lambda cube: cube.size[0])
    if len(cubes) < 2 or any(b.size[0] - a.size[0] < 0.004 for a, b in pairwise(cubes)):
        return []
    fields = {"largest": noun(cubes[-1]), "smallest": noun(cubes[0])}
    return [fact("sizes", fields, shape_or_size=f"largest_{cubes[-1].color}")]


def end_facts(course: Course) -> tuple[Fact, ...]:
    """What is where in the end, side effects, attempts, and the base."""
    truth, found = course.log.last, []
    for item in course.items:
        held = [h.side for h in course.holds if h.item == item and h.end >= len(course.log.truths)]
        where = "" if held else support_of(truth, item, course.log.spec)
        if where and item.kind is not Kind.BUTTON:
            found.append(_end(truth, item, where))
    found += _row(course)
    grasped = {hold.item.name: hold.item for hold in course.holds}.values()
    counts = {noun(item): attempts(course, item) for item in grasped}
    again = {name: count for name, count in counts.items() if count is not None and count > 1}
    if counts and set(counts.values()) == {1}:
        found.append(fact("first_try", {}, attempt_count="1"))
    for name, count in again.items():
        found.append(fact("tries", {"object": name, "count": str(count)}, attempt_count=str(count)))
    found += _side_effects(course)
    if not course.items:
        found.append(fact("nothing", {}))
    return (*found, fact("base", {}, base_motion="stationary"))


def _end(truth: Truth, item: ObjectSpec, where: str) -> Fact:
    place, pose = truth.place(item.name), pose_word(item, truth.objects[item.name])
    on_table = where == "on the table"
    side, far = (lateral(place), depth(place)) if on_table else ("", "")
    return fact(
        "end",
        {"object": noun(item), "pose": pose, "where": where, "lateral": side, "depth": far},
        final_pose=pose,
        final_workspace_location="_".join(word for word in (side, far) if word),
        final_relation=where.replace(" the ", "_").replace(" ", "_"),
    )


def _row(course: Course) -> list[Fact]:
    cubes = [item for item in course.items if item.kind is Kind.CUBE and item.color]
    places = {item.color: course.log.last.place(item.name) for item in cubes}
    rests = [support_of(course.log.last, item, course.log.spec) for item in cubes]
    if len(cubes) < 3 or set(rests) != {"on the table"}:
        return []
    if float(np.ptp([place[0] for place in places.values()])) > ROW_M:
        return []
    colors = sorted(places, key=lambda color: -float(places[color][1]))
    text = f"{', '.join(colors[:-1])} and {colors[-1]}"
    return [fact("row", {"colors": text}, final_relation=f"row_left_to_right_{'_'.join(colors)}")]


def _side_effects(course: Course) -> list[Fact]:
    first, last = course.log.first, course.log.last
    acted = {item.name for item in course.items}
    others = [item for item in course.log.spec.objects if item.name not in acted]
    ways = {
        o.name: max(float(np.linalg.norm(t.place(o.name) - first.place(o.name))) for t in course.log.truths)
        for o in others
    }
    if not acted or not others:
        return []
    if max(ways.values()) < STILL_M:
        return [fact("undisturbed", {}, interaction_type="none")]
    found = []
    for item in course.log.targets:
        way = float(np.linalg.norm(last.place(item.name) - first.place(item.name)))
        if item.name in ways and way >= PUSHED_M:
            fields = {"object": noun(item), "cm": str(round(100 * way))}
            name = noun(item).removeprefix("the ").replace(" ", "_")
            found.append(fact("pushed", fields, interaction_type="push", affected_object=name))
    return found
