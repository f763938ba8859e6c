"""The things of a sentence and their roles: what is acted on, in which order, and where it ends.

Which thing is acted on and which relation is the goal is decided only when the whole sentence was
read, so that clauses may stand in any order. Used by `grammar.Sentence`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from finevla.contract.dimensions import SLOTS, Dimension, DimensionValue
from finevla.contract.tokens import RejectedInstructionError, contradiction
from finevla.contract.vocabulary import COLORS, ENDS, PICK_VERBS, PLACE_VERBS

_SEVERAL = frozenset({
    *("primitive_action", "gripper_state", "initial_relation", "translation_direction"),
    *("material", "shape_or_size"),
})  # fmt: skip
"""Slots that can hold several values."""
_SLOT_DIMENSION: Mapping[str, Dimension] = {slot: dim for dim, slots in SLOTS.items() for slot in slots}
_COLOR_OF = re.compile(rf"_({'|'.join(COLORS)})(?:_|$)")
_ROW_PARTS = ("by_size", "by_color", "left_to_right", "largest_to_smallest")


@dataclass(slots=True)
class Thing:
    """A noun phrase with its modifiers, the verb it follows, and whether "then" stands before it."""

    colors: list[str] = field(default_factory=list)
    modifiers: list[tuple[str, str]] = field(default_factory=list)
    category: str = ""
    location: str = ""
    verb: str = ""
    after: bool = False

    @property
    def said(self) -> bool:
        """Whether anything at all was said of it."""
        return bool(self.colors or self.modifiers or self.category or self.location)

    def phrase(self, before: str) -> str:
        """A verb or relation with the thing it belongs to, as one value."""
        parts = (before, *(value for _, value in self.modifiers), *self.colors[:1], self.category)
        return "_".join(part for part in parts if part)


class Values:
    """The values of a sentence: one per slot, but for those of `_SEVERAL`."""

    def __init__(self) -> None:
        self._values: list[tuple[str, str]] = []

    def get(self, slot: str) -> list[str]:
        """All values of a slot."""
        return [value for name, value in self._values if name == slot]

    def set(self, slot: str, value: str) -> None:
        """Adds a value, if there is one.

        Raises:
            RejectedInstructionError: The slot holds another value.
        """
        known = self.get(slot)
        if not value or value in known:
            return
        if known and slot not in _SEVERAL:
            raise contradiction(slot.replace("_", " "), [*known, value])
        self._values.append((slot, value))

    def ordered(self) -> tuple[DimensionValue, ...]:
        """All values in the order of the dimensions."""
        order = list(_SLOT_DIMENSION)
        ranked = sorted(self._values, key=lambda entry: order.index(entry[0]))
        return tuple(DimensionValue(_SLOT_DIMENSION[slot], slot, value) for slot, value in ranked)


@dataclass(slots=True)
class Roles:
    """All that a sentence says of things, collected by the grammar.

    Attributes:
        targets: Things without a relation, in the order of the sentence.
        relations: Relation, verb and thing of all others.
        row: Parts of what is said of a row; None where no row is spoken of.
        location: Side that was said of a thing after it.
        location_is_final: Whether that thing had a relation.
    """

    targets: list[Thing] = field(default_factory=list)
    relations: list[tuple[str, str, Thing]] = field(default_factory=list)
    row: set[str] | None = None
    location: str = ""
    location_is_final: bool = False

    def place(self, values: Values) -> None:
        """Decides the roles and files them as values.

        Raises:
            RejectedInstructionError: There are several objects to act on, in no order.
        """
        placing = any(verb in PLACE_VERBS for verb in values.get("primitive_action"))
        end = self._end(placing)
        for relation in self.relations:
            name, _, thing = relation
            if relation is end:
                name = {"into": "in", "onto": "on", "toward": "at"}.get(name, name)
                values.set("final_relation", thing.phrase(name))
                values.set("final_workspace_location", thing.location)
            elif name != "toward":
                values.set("initial_relation", thing.phrase({"into": "in", "off": "on"}.get(name, name)))
        self._place_targets(values)
        final = placing and (self.location_is_final or end is None)
        slot = "final_workspace_location" if final else "initial_workspace_location"
        values.set(slot, self.location)

    def _end(self, placing: bool) -> tuple[str, str, Thing] | None:
        """The relation that says where the object ends."""
        if self.row is not None:
            return None
        ends = [r for r in self.relations if r[0] in ENDS]
        if not ends and placing:
            ends = [r for r in self.relations if r[1] not in PICK_VERBS and r[0] not in {"from", "off"}]
        return ends[0] if ends else None

    def _place_targets(self, values: Values) -> None:
        sequence = self._sequence()
        if self.row is not None:
            said = [part for part in _ROW_PARTS if part in self.row]
            values.set("final_relation", "_".join(["row", *said, *(thing.colors[0] for thing in sequence)]))
        else:
            for thing in sequence:
                values.set("primitive_action", thing.phrase(thing.verb or "then"))
        mixed = len({thing.category for thing in self.targets if thing.category}) > 1
        for thing in self.targets:
            if not sequence:
                _set_target(values, "color", "".join(thing.colors[:1]))
            if not (sequence and mixed):
                _set_target(values, "category", thing.category)
            values.set("initial_workspace_location", thing.location)
            for modifier, value in thing.modifiers:
                values.set(modifier, value)

    def _sequence(self) -> list[Thing]:
        """Things of several colours, if "then" says in which order they come."""
        things = [thing for thing in self.targets if thing.colors]
        colors = {thing.colors[0] for thing in things}
        in_order = all(thing.after for thing in things[1:])
        return things if len(colors) == len(things) > 1 and in_order else []


def color_in(action: str) -> str:
    """The colour in a value such as `place_red_cube`; empty where there is none."""
    found = _COLOR_OF.search(action)
    return found[1] if found else ""


def _set_target(values: Values, slot: str, value: str) -> None:
    known = values.get(slot)
    if value and known and known[0] != value:
        raise RejectedInstructionError(
            "several_targets",
            "the instruction names more than one object to act on",
            found=f"{known[0]} and {value}",
            remedy="give one instruction per object, or say which comes first: the red one then the blue one",
        )
    values.set(slot, value)
