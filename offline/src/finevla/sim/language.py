"""Goals and the sentences that ask for them.

Fine-grained sentences name the arm and the colour; the raw sentence of a task names neither. All
sentences are lower case without punctuation, so that splitting at spaces gives the words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from finevla.contract import ARM_SIDES
from finevla.errors import SimulationError
from finevla.sim.scene import COLORS, SceneSpec, seeded


@dataclass(frozen=True, slots=True, order=True)
class Goal:
    """What an episode shall do: the task, the arm that acts and the colour of the cube."""

    task: str
    arm: str
    color: str


_TEMPLATES: Mapping[str, tuple[str, ...]] = {
    "pick_lift": (
        "use the {arm} arm to pick up the {color} cube",
        "lift the {color} cube with the {arm} arm",
        "with your {arm} arm grasp the {color} cube and raise it",
        "pick up the {color} block using the {arm} gripper",
        "the {arm} arm should take the {color} block and lift it off the table",
    ),
    "place_in_bowl": (
        "use the {arm} arm to put the {color} cube into the bowl",
        "place the {color} cube in the bowl with the {arm} arm",
        "with your {arm} arm drop the {color} cube into the bowl",
        "put the {color} block in the bowl using the {arm} gripper",
        "the {arm} arm should move the {color} block into the bowl",
    ),
}

_RAW: Mapping[str, str] = {
    "pick_lift": "pick up a cube",
    "place_in_bowl": "put a cube into the bowl",
}

FACTORS: Mapping[str, str] = {"arm": "arm", "color": "color", "colour": "color"}
"""Names under which a factor may be asked for, and the field of `Goal` that it is."""


def templates(task: str) -> tuple[str, ...]:
    """The fine-grained sentences of a task, with `{arm}` and `{color}` to be filled in.

    Raises:
        SimulationError: No such task.
    """
    try:
        return _TEMPLATES[task]
    except KeyError as err:
        raise _unknown_task(task) from err


def render(goal: Goal, template: int = 0) -> str:
    """The fine-grained sentence for a goal; `template` counts round through those of its task."""
    choices = templates(goal.task)
    return choices[template % len(choices)].format(arm=goal.arm, color=goal.color)


def raw(task: str) -> str:
    """The sentence that names the task only: neither arm nor colour.

    Raises:
        SimulationError: No such task.
    """
    try:
        return _RAW[task]
    except KeyError as err:
        raise _unknown_task(task) from err


def words() -> tuple[str, ...]:
    """Every word that the sentences of this module can hold, sorted."""
    found: set[str] = {*ARM_SIDES, *COLORS}
    for sentence in (*_RAW.values(), *(text for group in _TEMPLATES.values() for text in group)):
        found |= {word for word in sentence.split() if not word.startswith("{")}
    return tuple(sorted(found))


def goals(spec: SceneSpec) -> tuple[Goal, ...]:
    """Every goal that a scene allows for its own task: each arm with each colour present."""
    return tuple(Goal(spec.task, arm, color) for arm in ARM_SIDES for color in spec.colors)


def sample_goal(spec: SceneSpec) -> Goal:
    """One of the goals of a scene, the same each time, spread evenly over scenes."""
    choices = goals(spec)
    return choices[int(seeded("goal", spec.task, spec.seed).integers(len(choices)))]


def other(goal: Goal, factor: str, spec: SceneSpec) -> Goal:
    """The goal that differs from `goal` in one factor only, and is possible in the same scene.

    Raises:
        SimulationError: The factor is unknown.
    """
    match FACTORS.get(factor):
        case "arm":
            return replace(goal, arm=next(side for side in ARM_SIDES if side != goal.arm))
        case "color":
            return replace(goal, color=next(word for word in spec.colors if word != goal.color))
        case _:
            raise SimulationError(
                "this factor cannot be varied",
                where=factor,
                expected=f"one of {sorted(FACTORS)}",
                found=factor,
                remedy="name factors as in --factors arm,color",
            )


def _unknown_task(task: str) -> SimulationError:
    return SimulationError(
        "there is no such task",
        where=task,
        expected=f"one of {sorted(_TEMPLATES)}",
        found=task,
        remedy="choose one of the tasks listed",
    )
