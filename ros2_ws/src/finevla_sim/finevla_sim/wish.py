"""What a sentence asks for in a given scene: its task, and the factors that it fixes. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from finevla.contract.instruction import Parsed, asked, parse
from finevla.contract.robot import ARM_SIDES
from finevla.errors import InstructionError, SimulationError
from finevla.sim.goal import Goal
from finevla.sim.language.understand import goal_of
from finevla.sim.scene import Kind, SceneSpec
from finevla.sim.tasks import DEMO_TASKS, goals, task_named

_NEEDED: Mapping[str, frozenset[Kind]] = {
    "pick_lift": frozenset({Kind.CUBE}),
    "place_in_bowl": frozenset({Kind.CUBE, Kind.BOWL}),
}
"""What a scene of another task must hold for the tasks that a sentence can name by itself."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a sentence asks for.

    Attributes:
        text: The sentence.
        spec: The scene, as one of the task that the sentence asks for.
        values: Values of the factors that it fixes, by field of `Goal`; what it leaves open is absent.
    """

    text: str
    spec: SceneSpec
    values: Mapping[str, Any]

    @property
    def task(self) -> str:
        """The task."""
        return self.spec.task

    def matching(self) -> tuple[Goal, ...]:
        """The goals of the scene that agree with the sentence, its optional factors filled in."""
        own = {name: value for name, value in self.values.items() if name in task_named(self.task).factors}
        rest = {name: value for name, value in self.values.items() if name not in own}
        return tuple(
            goal.with_values(rest)
            for goal in goals(self.spec)
            if all(getattr(goal, name) == value for name, value in own.items())
            and all(getattr(goal, name) in {"", value} for name, value in rest.items())
        )


def wish_of(text: str, spec: SceneSpec) -> Wish:
    """Understands a sentence in a scene.

    The task is the scene's own one, unless the sentence says nothing of that but the arm, and names
    picking up or the bowl: then it is `pick_lift` or `place_in_bowl`.

    Raises:
        InstructionError: The text is no instruction.
        SimulationError: It asks for what this scene cannot show.
    """
    parsed = parse(text)
    scene = _as_task(parsed, spec)
    values = goal_of(parsed, scene.task)
    arm, _, _ = asked(parsed)
    _check("arm", text, arm, ARM_SIDES)  # both arms, which no goal can have
    _check("colour", text, values.get("color"), scene.colors)
    for color in values.get("order", ()):
        _check("colour", text, color, scene.colors)
    bowls = [goal.bowl for goal in goals(scene) if goal.bowl]
    _check("bowl", text, values.get("bowl"), list(dict.fromkeys(bowls)) or ["the only one"])
    return Wish(text, scene, values)


def whole_goal(wish: Wish) -> Goal:
    """The one goal of the scene that a sentence asks for.

    Raises:
        InstructionError: It leaves open what the task needs.
    """
    found = wish.matching()
    if len(found) == 1:
        return found[0]
    missing = sorted({name for goal in found for name in found[0].differing(goal)})
    raise InstructionError(
        f"the sentence does not say all that {wish.task} needs",
        where=wish.text,
        expected=f"{', '.join(found[0].values()) if found else 'values that go together'}",
        found=f"missing: {', '.join(missing)}" if found else dict(wish.values),
        remedy=f"say it as well: {', '.join(missing)}" if found else "ask for something that is there",
    )


def _as_task(parsed: Parsed, spec: SceneSpec) -> SceneSpec:
    named = asked(parsed)[2]
    if named is None or named == spec.task:
        return spec
    own = set(goal_of(parsed, spec.task)) - {"arm"}
    if spec.task not in DEMO_TASKS and own:
        return spec
    kinds = {item.kind for item in spec.objects}
    if not _NEEDED[named] <= kinds:
        raise SimulationError(
            "the scene cannot show the task that the instruction asks for",
            where=parsed.text,
            expected=f"{spec.task}, which the scene was laid out for",
            found=named,
            remedy=f"reset the scene to one of {named}",
        )
    return replace(spec, task=named)


def _check(name: str, text: str, value: Any, known: Any) -> None:
    if value is not None and value not in known:
        raise SimulationError(
            f"the scene cannot show the {name} that the instruction asks for",
            where=text,
            expected=f"one of {list(known)}",
            found=value,
            remedy="ask for something that is there, or reset the scene",
        )
