"""A sentence into the ten dimensions: an offline rule parser without a language model.

It recognises who acts, what is done to which object, from where to where, and keeps every word
that it does not know. What it could misread it refuses: an empty sentence, a negation (nothing in
the ten dimensions says "not"), two arms or two colours where there can be one. Several objects are
understood where the sentence says in which order they come ("the red cube then the blue cube"). Words
are in `vocabulary`, the rules in `grammar` and `things`; clauses may stand in any order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from finevla.contract.dimensions import Dimension, DimensionValue
from finevla.contract.grammar import Sentence
from finevla.contract.things import color_in
from finevla.contract.tokens import RejectedInstructionError, split
from finevla.contract.vocabulary import PICK_VERBS, Kind

__all__ = ["Level", "Parsed", "RejectedInstructionError", "asked", "parse"]

MAX_LENGTH = 1000
"""Longest sentence in characters; an instruction is one sentence, not a document."""


class Level(StrEnum):
    """How much a sentence fixes."""

    RAW = "raw"
    """Names only the goal: what to do with which object."""
    FINE = "fine"
    """Fixes at least one element of the execution, such as the arm."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """A sentence understood: `values` in the order of the dimensions, `text` as it was said."""

    text: str
    values: tuple[DimensionValue, ...]
    unknown_words: tuple[str, ...]
    level: Level

    def get(self, slot: str) -> tuple[str, ...]:
        """All values of a slot, in the order of the sentence."""
        return tuple(value.value for value in self.values if value.slot == slot)

    @property
    def order(self) -> tuple[str, ...]:
        """Colours of the objects that the sentence acts on one after the other; empty for one object."""
        return tuple(color for action in self.get("primitive_action") if (color := color_in(action)))


_RAW_DIMENSIONS = frozenset(
    {Dimension.TARGET_OBJECT, Dimension.INITIAL_CONFIGURATION, Dimension.FINAL_CONFIGURATION}
)


def parse(text: str) -> Parsed:
    """Understands one sentence along the ten dimensions.

    Raises:
        RejectedInstructionError: It is no text, empty, too long, negated or contradicts itself.
    """
    if not isinstance(text, str):
        raise RejectedInstructionError(
            "not_text", "the instruction is not text", found=type(text).__name__, remedy="send a sentence"
        )
    if len(text) > MAX_LENGTH:
        raise RejectedInstructionError(
            "too_long",
            "the instruction is too long",
            found=f"{len(text)} characters",
            remedy=f"say it in at most {MAX_LENGTH} characters",
        )
    tokens = split(text)
    if all(token.kind in {Kind.FUNCTION, Kind.JOIN} for token in tokens):
        raise RejectedInstructionError(
            "empty",
            "the instruction says nothing to do",
            found=repr(text),
            remedy="name an action and an object, such as: pick up the red cube with the left arm",
        )
    values, unknown = Sentence(text, tokens).read()
    # A raw sentence may say what to do and what the scene is, but not how the robot does it.
    fine = any(v.dimension not in _RAW_DIMENSIONS and v.slot != "primitive_action" for v in values)
    return Parsed(text, values, unknown, Level.FINE if fine else Level.RAW)


def asked(parsed: Parsed) -> tuple[str | None, str | None, str | None]:
    """Arm (left, right or both), colour of the object and task; None where the sentence leaves it open.

    Tasks are `pick_lift` and `place_in_bowl`; a sentence about several objects asks for neither.
    """
    actor = parsed.get("actor")
    color = parsed.get("color")
    return (
        actor[0].split("_")[0] if actor else None,
        color[0] if color else None,
        None if parsed.order else _task(parsed.get("primitive_action"), parsed.get("final_relation")),
    )


def _task(actions: Sequence[str], final: Sequence[str]) -> str | None:
    if final:
        inside = final[0].startswith("in_") and final[0].endswith("bowl")
        return "place_in_bowl" if inside else None
    if actions and set(actions) <= set(PICK_VERBS):
        return "pick_lift"
    return None
