"""The factors: what an instruction can change about an execution, and how each is read from truth.

Every rule looks at what happened, never at what was meant. A factor is complied with when the
behaviour showed the value that was asked for. Where the behaviour shows nothing of a factor (nothing
was moved, say) the observed value is None, which complies with no value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from finevla.contract import ARM_SIDES
from finevla.errors import SimulationError
from finevla.sim.goal import Goal
from finevla.sim.log import EpisodeLog
from finevla.sim.scene import Kind, SceneSpec
from finevla.sim.tasks import task_named
from finevla.sim.tasks.pick_lift import APPROACHES, PickLift
from finevla.sim.tasks.place_in_bowl import BOWLS, TWO_BOWLS, in_bowl
from finevla.sim.truth import axis_of

Rule = Callable[[EpisodeLog, Goal], Any]

APPROACH_M = 0.08
"""Length of the way before the first touch that tells the direction of approach."""
STEEP = float(np.sin(np.deg2rad(55.0)))
TURNED_RAD = float(np.deg2rad(20.0))
UPRIGHT = float(np.cos(np.deg2rad(25.0)))
LYING = float(np.sin(np.deg2rad(25.0)))


@dataclass(frozen=True, slots=True)
class Factor:
    """One controllable element of an instruction.

    Attributes:
        name: Field of `Goal`.
        title: As in tables.
        tasks: Tasks in which pairs vary it.
        rule: What the behaviour showed; its docstring is the rule.
        variant: Version of the scene in which pairs vary it.
    """

    name: str
    title: str
    tasks: tuple[str, ...]
    rule: Rule
    variant: str = ""

    def obeyed(self, asked: Any, observed: Any) -> bool:
        """Whether the observed value is the one asked for."""
        return observed is not None and bool(asked == observed)


def _arm(log: EpisodeLog, goal: Goal) -> str | None:
    """The only arm that acted; `both` where both did.

    An arm acted if its finger pads moved by 5 cm or more and came within 8 cm of an object that can be
    moved or pressed, whether or not anything was lifted. (Judging by lifts alone would call an idle
    policy obedient; judging by motion alone, one that waves its arms.) In tasks of two arms: the arm
    whose fingers first touched the object.
    """
    acting = log.acting()
    if not task_named(goal.task).two_arms:
        return (acting[0] if len(acting) == 1 else "both") if acting else None
    touches = _first_touches(log)
    return min(touches)[1] if touches else None


def _first_touches(log: EpisodeLog) -> list[tuple[int, str]]:
    """When each arm's fingers first touched each thing that can be acted on: index of the instant, arm."""
    return [
        (index, side)
        for side in ARM_SIDES
        for item in log.targets
        if (index := log.first_touch(side, item.name)) is not None
    ]


def _color(log: EpisodeLog, _: Goal) -> str | None:
    """The colour of the only object that was lifted by 3 cm or pressed by half its travel; `several` if more.

    Where none was: the colour of the only object that any pads came within 3 cm of.
    """
    colors = list(log.acted_colors())
    if not colors:
        colors = [
            item.color
            for item in log.targets
            if item.color and min(float(log.distances(side, item).min()) for side in ARM_SIDES) < 0.03
        ]
    return (colors[0] if len(colors) == 1 else "several") if colors else None


def _approach(log: EpisodeLog, _: Goal) -> str | None:
    """From where the hand came to the first object that it touched: above, left or right.

    The direction is that from the object to the pads over the last 8 cm of the pads' way before the
    fingers first touched it, whichever object it was: steeper than 55 degrees is above; else the side of
    the larger horizontal part, of which only left (y+) and right (y-) are named.
    """
    touches = _first_touches(log)
    if not touches:
        return None
    index, side = min(touches)
    tips = np.array([t.tips[side] for t in log.truths[: index + 1]])
    way = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(tips[::-1], axis=0), axis=1))])
    start = tips[::-1][int(np.searchsorted(way, APPROACH_M).clip(max=len(way) - 1))]
    came = start - tips[-1]
    length = float(np.linalg.norm(came))
    if length < 0.02:
        return None
    if came[2] / length > STEEP:
        return "above"
    if abs(came[1]) >= abs(came[0]):
        return "left" if came[1] > 0 else "right"
    return "front" if came[0] < 0 else "back"


def _contact(log: EpisodeLog, _: Goal) -> str | None:
    """The part of the object that the fingers held when it was first lifted by 3 cm.

    Of the parts that any fingers touched in the half second around that moment (a quarter before, a
    quarter after) the one that was touched at the most instants.
    """
    parts: dict[str, int] = {}
    times = log.lift_times()
    for item in log.spec.movable:
        if item.name not in times:
            continue
        for truth in log.truths:
            if times[item.name] - 0.25 <= truth.time_s <= times[item.name] + 0.25:
                for side in ARM_SIDES:
                    for touched in truth.touching.get(side, ()):
                        if touched.startswith(f"{item.name}:"):
                            parts[touched.split(":")[1]] = parts.get(touched.split(":")[1], 0) + 1
    return max(sorted(parts), key=lambda part: parts[part]) if parts else None


def _side(log: EpisodeLog, _: Goal) -> str | None:
    """The side of the obstacle on which the lifted object passed: left (y+) or right (y-).

    Its signed distance in y from the obstacle at the moment at which it passed the obstacle's depth (x).
    """
    pillars, lifted = log.spec.of(Kind.PILLAR), log.lift_times()
    for item in log.spec.movable:
        if not pillars or item.name not in lifted:
            continue
        for before, after in zip(log.truths, log.truths[1:], strict=False):
            if before.place(item.name)[0] < pillars[0].x <= after.place(item.name)[0]:
                return "left" if after.place(item.name)[1] > pillars[0].y else "right"
    return None


def _rotation(log: EpisodeLog, _: Goal) -> str | None:
    """The sense of the object's whole turn about the vertical, seen from above, if 20 degrees or more."""
    turns = [log.yaw_turned(item.name) for item in log.spec.movable]
    turn = max(turns, key=abs, default=0.0)
    if abs(turn) < TURNED_RAD:
        return None
    return "counterclockwise" if turn > 0 else "clockwise"


def _pose(log: EpisodeLog, _: Goal) -> str | None:
    """How the object stands in the end: upright (axis within 25 degrees of the vertical) or lying.

    Only where it was lifted by 3 cm or is upright: an object that was not touched shows no pose.
    """
    for item in log.spec.of(Kind.BOTTLE):
        rise = float(axis_of(log.last.objects[item.name], 0)[2])
        if rise > UPRIGHT:
            return "upright"
        if item.name in log.lift_times():
            return "lying" if abs(rise) < LYING else "tilted"
    return None


def _bowl(log: EpisodeLog, _: Goal) -> str | None:
    """The bowl that a cube lies in at the end."""
    for side in BOWLS:
        target = log.last.objects.get(f"{side}_bowl")
        cubes = log.last.cubes.values()
        if target is not None and any(in_bowl(pose[:3], target[:3]) for pose in cubes):
            return side
    return None


def _order(log: EpisodeLog, goal: Goal) -> tuple[str, ...] | None:
    """The colours in the order in which their objects first rose by 3 cm; only those that did.

    As many as the goal names are compared, so a second lift of the same object does not count.
    """
    return log.acted_colors()[: len(goal.order) or None] or None


FACTORS: Mapping[str, Factor] = {
    factor.name: factor
    for factor in (
        Factor("arm", "execution arm", ("pick_lift", "place_in_bowl"), _arm),
        Factor("color", "colour", ("pick_lift", "place_in_bowl"), _color),
        Factor("pose", "final pose", ("upright_bottle",), _pose),
        Factor("approach", "approach direction", ("pick_lift",), _approach),
        Factor("rotation", "rotation direction", ("rotate_block",), _rotation),
        Factor("contact", "contact part", ("place_cup_on_coaster",), _contact),
        Factor("side", "trajectory side", ("move_around_obstacle",), _side),
        Factor("order", "order", ("clean_table", "stack_blocks_two"), _order),
        Factor("bowl", "bowl (left or right)", ("place_in_bowl",), _bowl, TWO_BOWLS),
    )
}
"""By field of `Goal`."""

ALIASES: Mapping[str, str] = {"colour": "color", "trajectory": "side", "direction": "approach"}
"""Other names under which a factor may be asked for."""

IN_DISTRIBUTION = ("arm", "color", "pose", "approach", "rotation", "contact", "side", "order")
"""The eight factors of the evaluation."""
OOD = "ood"
"""The combination of left arm and right bowl, which never occurs in training data."""
OOD_VALUES: Mapping[str, str] = {"arm": "left", "bowl": "right"}


def is_ood(goal: Goal) -> bool:
    """Whether a goal is of the combination that is kept out of all training data."""
    return all(getattr(goal, name) == value for name, value in OOD_VALUES.items())


def factor_named(name: str) -> Factor:
    """The factor of that name or alias.

    Raises:
        SimulationError: There is none.
    """
    try:
        return FACTORS[ALIASES.get(name, name)]
    except KeyError as err:
        raise SimulationError(
            "there is no such factor",
            where=name,
            expected=f"one of {sorted({*FACTORS, *ALIASES})}",
            found=name,
            remedy="name factors as in --factors arm,color",
        ) from err


def observe(name: str, log: EpisodeLog, goal: Goal) -> Any:
    """What the behaviour showed of a factor; None where it showed nothing."""
    return FACTORS[name].rule(log, goal)


def values(name: str, goal: Goal, spec: SceneSpec) -> tuple[Any, ...]:
    """All values that a factor can take in a scene, all other factors as in the goal."""
    field = ALIASES.get(name, name)
    task = task_named(goal.task)
    if field == "approach" and isinstance(task, PickLift):
        return tuple(a for a in APPROACHES if a in task.approaches(spec, goal.color))
    found: list[Any] = []
    for candidate in task.goals(spec):
        value = getattr(candidate, field)
        if replace(candidate, **{field: getattr(goal, field)}) == goal and value not in found:
            found.append(value)
    return tuple(found)


def variations(spec: SceneSpec) -> tuple[Goal, ...]:
    """Every goal that a scene allows, those included that fix an optional factor of the task."""
    task = task_named(spec.task)
    found = list(task.goals(spec))
    for name in task.optional:
        if FACTORS[name].variant or any(getattr(goal, name) for goal in found):
            continue
        found += [
            replace(goal, **{name: value})
            for goal in tuple(found)
            for value in values(name, goal, spec)
            if value
        ]
    return tuple(found)


def other(goal: Goal, factor: str, spec: SceneSpec) -> Goal:
    """The goal that differs from `goal` in one factor only, and is possible in the same scene.

    Where a factor has several other values, the next one in their order is taken.

    Raises:
        SimulationError: The factor is unknown, or has no other value in this scene.
    """
    field = factor_named(factor).name
    choices = values(field, goal, spec)
    if len(choices) < 2 or getattr(goal, field) not in choices:
        raise SimulationError(
            f"the factor {field} has no other value in this scene",
            where=f"{spec.task}, seed {spec.seed}",
            expected="two or more",
            found=choices,
            remedy="take a task that varies it, or another seed",
        )
    at = choices.index(getattr(goal, field))
    return replace(goal, **{field: choices[(at + 1) % len(choices)]})
