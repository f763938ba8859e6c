"""From a parsed sentence to the fields of a goal: the way back from `render`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from string import Formatter
from typing import Any

from finevla.contract.instruction import Parsed
from finevla.contract.things import color_in
from finevla.errors import SimulationError
from finevla.sim.language.render import APPROACH_WORDS, templates

_APPROACH_OF: Mapping[str, str] = {word: value for value, word in APPROACH_WORDS.items()}
_FIELD_OF: Mapping[str, str] = dict.fromkeys(("first", "second", "third", "objects"), "order")
_AROUND = re.compile(r"^around_(left|right)$")


def fields_of(task: str) -> frozenset[str]:
    """Fields of `Goal` that the sentences of a task can name.

    Raises:
        SimulationError: No such task.
    """
    names = {name for text in templates(task) for _, name, _, _ in Formatter().parse(text) if name}
    return frozenset(_FIELD_OF.get(name, name) for name in names)


def goal_of(parsed: Parsed, task: str) -> dict[str, Any]:
    """The fields of a goal of `task` that a sentence fixes, with their values.

    What the sentence leaves open is absent. What it says beyond the fields of the task is not
    reported; neither is a value that no goal can have, such as both arms.

    Raises:
        SimulationError: No such task.
    """
    found: dict[str, Any] = {
        "arm": _known(_one(parsed, "actor").removesuffix("_arm"), "left", "right"),
        "color": _one(parsed, "color"),
        "approach": _APPROACH_OF.get(_one(parsed, "approach_direction"), ""),
        "contact": _known(_one(parsed, "contact_region"), "body", "handle"),
        "side": _side(_one(parsed, "path_shape")),
        "rotation": _one(parsed, "rotation_direction"),
        "pose": _known(_one(parsed, "final_pose"), "upright", "lying"),
        "bowl": _known(_one(parsed, "final_workspace_location"), "left", "right"),
        "order": _order(parsed),
    }
    fields = fields_of(task)
    return {name: value for name, value in found.items() if value and name in fields}


def require(parsed: Parsed, task: str) -> dict[str, Any]:
    """Like `goal_of`, for a sentence that must fix all that the sentences of the task always say.

    Raises:
        SimulationError: It leaves something open, or has a word that nobody knows; or no such task.
    """
    values = goal_of(parsed, task)
    missing = sorted(fields_of(task) - {"approach", "bowl"} - set(values))
    if missing or parsed.unknown_words:
        raise SimulationError(
            f"the sentence does not say what {task} needs",
            where=parsed.text,
            expected=f"{', '.join(sorted(fields_of(task)))}, in known words",
            found=f"missing {missing}, unknown words {list(parsed.unknown_words)}",
            remedy="say it as one of the sentences of the task",
        )
    return values


def _one(parsed: Parsed, slot: str) -> str:
    return next(iter(parsed.get(slot)), "")


def _known(value: str, *values: str) -> str:
    return value if value in values else ""


def _side(path: str) -> str:
    found = _AROUND.match(path)
    return found[1] if found else ""


def _order(parsed: Parsed) -> tuple[str, ...]:
    """Colours in their order; of "X on Y", Y comes first."""
    if parsed.order:
        return parsed.order
    below, above = color_in(_one(parsed, "final_relation")), _one(parsed, "color")
    return (below, above) if below and above else ()
