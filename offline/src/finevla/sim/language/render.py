"""Goals into sentences. All are lower case without punctuation: splitting at spaces gives the words.

With the same number of the sentence, goals that differ in one factor give sentences that differ in
exactly the words of that factor.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from string import Formatter

from finevla.contract import ARM_SIDES
from finevla.errors import SimulationError
from finevla.sim.goal import Goal
from finevla.sim.language.sentences import (
    ACTIONS,
    FAMILIES,
    FRAMES,
    HELD_OUT_FAMILIES,
    HELD_OUT_FRAMES,
    HELD_OUT_WORDS,
    PARTS,
    RAW,
    SWAPPED_FRAMES,
)
from finevla.sim.scene import COLORS

APPROACH_WORDS: Mapping[str, str] = {"above": "top", "left": "left", "right": "right"}
"""How an approach is said: from the top, from the left, from the right."""
VALUE_WORDS: Mapping[str, tuple[str, ...]] = {
    "arm": ARM_SIDES,
    "color": tuple(COLORS),
    "approach": ("from", "the", *APPROACH_WORDS.values()),
    "contact": ("body", "handle"),
    "side": ("left", "right"),
    "rotation": ("clockwise", "counterclockwise"),
    "pose": ("upright", "lying"),
    "bowl": ("left", "right"),
    "order": (*COLORS, "object", "then"),
}
"""Words that the values of the factors bring into sentences."""

_LONGEST_FIRST = sorted(HELD_OUT_WORDS, key=len, reverse=True)
_USUAL = re.compile(r"\b(" + "|".join(_LONGEST_FIRST) + r")\b")
_NTH = ("first", "second", "third")


def templates(task: str) -> tuple[str, ...]:
    """The fine-grained sentences of a task, one per training family, with fields to be filled in.

    Raises:
        SimulationError: No such task.
    """
    actions = _of(ACTIONS, task)
    return tuple(
        frame.replace("{action}", action) for frame, action in zip(FRAMES.values(), actions, strict=True)
    )


def family(template: int) -> str:
    """Name of the training family of a sentence's number."""
    return FAMILIES[template % len(FAMILIES)]


def render(goal: Goal, template: int = 0) -> str:
    """The fine-grained sentence for a goal; `template` counts round through those of its task.

    Raises:
        SimulationError: No such task, or the goal leaves open what its sentences name.
    """
    choices = templates(goal.task)
    return _fill(choices[template % len(choices)], goal)


def swapped(goal: Goal, template: int = 0) -> str:
    """The clauses of `render(goal, template)`, who acts and what is done, in the other order.

    Raises:
        SimulationError: As in `render`.
    """
    action = _of(ACTIONS, goal.task)[template % len(FAMILIES)]
    return _fill(SWAPPED_FRAMES[family(template)].replace("{action}", action), goal)


def held_out(goal: Goal, index: int = 0) -> str:
    """The sentence for a goal in one of `HELD_OUT_FAMILIES`, for evaluation only; counts round.

    Raises:
        SimulationError: As in `render`.
    """
    verb, thing, rest = _of(PARTS, goal.task)
    frame = HELD_OUT_FRAMES[HELD_OUT_FAMILIES[index % len(HELD_OUT_FAMILIES)]]
    for name, text in (("{verb}", verb), ("{object}", thing), ("{rest}", rest)):
        frame = frame.replace(name, text)
    return _fill(frame, goal)


def synonym(text: str) -> str:
    """A sentence with every word that has a held-out choice replaced by it; for evaluation only."""
    return _USUAL.sub(lambda found: HELD_OUT_WORDS[found[0]], text)


def raw(task: str) -> str:
    """The sentence that names the task only: neither arm nor manner.

    Raises:
        SimulationError: No such task.
    """
    return _of(RAW, task)


def words() -> tuple[str, ...]:
    """Every word that training sentences can hold, sorted; the vocabulary of what is trained on them."""
    found = {word for values in VALUE_WORDS.values() for word in values}
    for sentence in (*RAW.values(), *(text for task in ACTIONS for text in templates(task))):
        found |= set(re.sub(r"\{\w+\}", " ", sentence).split())
    return tuple(sorted(found))


def _fill(template: str, goal: Goal) -> str:
    fields = {name for _, name, _, _ in Formatter().parse(template) if name}
    values = {
        **{name: getattr(goal, name) for name in ("arm", "color", "contact", "side", "rotation", "pose")},
        **dict(zip(_NTH, goal.order, strict=False)),
        "objects": " then ".join(f"the {color} object" for color in goal.order),
    }
    missing = sorted(name for name in fields - {"approach", "bowl"} if not values.get(name))
    if missing:
        raise SimulationError(
            "the sentence names what the goal leaves open",
            where=goal.task,
            expected=f"a goal with {', '.join(missing)}",
            found=goal,
            remedy="take one of the goals of the scene",
        )
    values["approach"] = f" from the {APPROACH_WORDS[goal.approach]}" if goal.approach else ""
    values["bowl"] = f"{goal.bowl} " if goal.bowl else ""
    return " ".join(template.format_map(values).split())


def _of[T](table: Mapping[str, T], task: str) -> T:
    try:
        return table[task]
    except KeyError as err:
        raise SimulationError(
            "there is no such task",
            where=task,
            expected=f"one of {sorted(ACTIONS)}",
            found=task,
            remedy="choose one of the tasks listed",
        ) from err
