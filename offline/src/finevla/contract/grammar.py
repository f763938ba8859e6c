"""The grammar of instructions: tokens of a sentence into values of the ten dimensions.

One pass from left to right that collects noun phrases with their modifiers and the relation
(in, on, from, ...) that introduces them; only at the end is it decided which thing is acted on and
which relation is the goal, so that clauses may stand in any order. Used by `instruction.parse`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from finevla.contract.dimensions import SLOTS, Dimension, DimensionValue
from finevla.contract.vocabulary import ENDS, LONGEST, PHRASES, PICK_VERBS, PLACE_VERBS, Kind
from finevla.errors import InstructionError

_WORD = re.compile(r"\d+(?:[.,]\d+)?|[^\W\d_]+(?:'[^\W\d_]+)*")


class RejectedInstructionError(InstructionError):
    """A sentence that cannot be followed; `reason_code` names why in lower_snake_case.

    Codes: `not_text`, `empty`, `too_long`, `negation`, `contradiction`, `several_targets`, `ambiguous_side`.
    """

    def __init__(self, reason_code: str, what: str, *, found: object = "", remedy: str = "") -> None:
        super().__init__(what, where="instruction", found=found, remedy=remedy)
        self.reason_code = reason_code


@dataclass(frozen=True, slots=True)
class Token:
    """A phrase of the vocabulary, or one word that is in none of its tables (kind None)."""

    kind: Kind | None
    value: str
    words: tuple[str, ...]


@dataclass(slots=True)
class _Thing:
    """A noun phrase with its modifiers."""

    colors: list[str] = field(default_factory=list)
    modifiers: list[tuple[str, str]] = field(default_factory=list)
    category: str = ""
    location: str = ""


_SEVERAL = frozenset(
    {
        "primitive_action",
        "gripper_state",
        "initial_relation",
        "translation_direction",
        *("material", "shape_or_size"),
    }
)
_SLOT_DIMENSION: Mapping[str, Dimension] = {slot: dim for dim, slots in SLOTS.items() for slot in slots}
_SIMPLE_SLOTS: Mapping[Kind, str] = {
    Kind.ROTATION: "rotation_direction",
    Kind.PATH: "path_shape",
    Kind.GRIPPER_STATE: "gripper_state",
    Kind.RETRY: "retry",
}
_MODIFIER_SLOTS: Mapping[Kind, str] = {
    Kind.MATERIAL: "material",
    Kind.SIZE: "shape_or_size",
    Kind.STATE: "initial_state",
}
_NOUN_FOLLOWS = frozenset({Kind.OBJECT, Kind.COLOR, Kind.SIZE, Kind.MATERIAL, Kind.STATE, Kind.PRONOUN})


def split(text: str) -> list[Token]:
    """Cuts a sentence into the longest known phrases; case, punctuation and width do not count."""
    plain = unicodedata.normalize("NFKC", text).casefold().replace("\u2019", "'")
    words = _WORD.findall(plain)
    tokens: list[Token] = []
    at = 0
    while at < len(words):
        for length in range(min(LONGEST, len(words) - at), 0, -1):
            phrase = tuple(words[at : at + length])
            if phrase in PHRASES:
                tokens.append(Token(*PHRASES[phrase], phrase))
                at += length
                break
        else:
            tokens.append(Token(None, words[at], (words[at],)))
            at += 1
    return tokens


class Sentence:
    """One pass over the tokens of a sentence."""

    def __init__(self, text: str, tokens: list[Token]) -> None:
        self._text = text
        self._tokens = [token for token in tokens if token.kind is not Kind.FUNCTION]
        self._at = 0
        self._values: list[tuple[str, str]] = []
        self._unknown: list[str] = []
        self._thing = _Thing()
        self._relation = ""
        self._verb = ""
        self._targets: list[_Thing] = []
        self._relations: list[tuple[str, str, _Thing]] = []
        self._loose_location = ""
        self._loose_is_final = False
        self._last_was_relation = False
        self._handlers: Mapping[Kind, Callable[[Token], None]] = {
            Kind.VERB: self._on_verb,
            Kind.SIDE: self._on_side,
            Kind.BOTH: self._on_both,
            Kind.ARM: self._on_arm,
            Kind.ARMS: self._on_arm,
            Kind.COLOR: self._on_color,
            Kind.OBJECT: self._on_object,
            Kind.PRONOUN: self._on_pronoun,
            Kind.RELATION: self._on_relation,
            Kind.FROM: self._on_relation,
            Kind.TOWARD: self._on_relation,
            Kind.INSTRUMENT: self._on_boundary,
            Kind.JOIN: self._on_join,
            Kind.COPULA: lambda _: None,
            Kind.REGION: self._on_region,
            Kind.DIRECTION: self._on_direction,
            Kind.POSE: self._on_pose,
            Kind.UNIT: self._on_unit,
            Kind.BODY: lambda token: self._set(token.value, token.words[0]),
            Kind.NEGATION: self._on_negation,
            Kind.SIDE_NOUN: self._on_side_noun,
        }

    def read(self) -> tuple[tuple[DimensionValue, ...], tuple[str, ...]]:
        """Reads all tokens; returns the values in the order of the dimensions, and the unknown words.

        Raises:
            RejectedInstructionError: The sentence contradicts itself or says what cannot be represented.
        """
        while self._at < len(self._tokens):
            token = self._tokens[self._at]
            self._at += 1
            if token.kind is None:
                self._unknown.extend(token.words)
            elif token.kind in _SIMPLE_SLOTS:
                self._set(_SIMPLE_SLOTS[token.kind], token.value)
            elif token.kind in _MODIFIER_SLOTS:
                self._thing.modifiers.append((_MODIFIER_SLOTS[token.kind], token.value))
            else:
                self._handlers[token.kind](token)
        self._end_thing()
        self._place_things()
        return self._ordered(), tuple(self._unknown)

    # ---- words

    def _on_verb(self, token: Token) -> None:
        self._end_thing()
        self._relation = ""
        self._verb = token.value
        self._set("primitive_action", token.value)

    def _on_side(self, token: Token) -> None:
        after = self._peek()
        if after in {Kind.ARM, Kind.ARMS}:
            self._at += 1
            self._actor(token.value)
        elif self._is_pair():
            self._at += 3
            self._actor("both")
        elif after is Kind.SIDE_NOUN or self._relation in {"from", "toward"}:
            self._at += after is Kind.SIDE_NOUN
            self._side_of_something(token.value)
        elif after in _NOUN_FOLLOWS:
            self._thing.location = token.value
        elif self._before() is Kind.INSTRUMENT:
            self._actor(token.value)
        elif self._relation or self._before() in {Kind.OBJECT, Kind.PRONOUN, Kind.COLOR}:
            self._side_of_something(token.value)
        else:
            raise RejectedInstructionError(
                "ambiguous_side",
                f"it is not clear what {token.value!r} belongs to",
                found=repr(self._text),
                remedy=f"say '{token.value} arm', '{token.value} cube' or 'from the {token.value}'",
            )

    def _is_pair(self) -> bool:
        """At 'left' of 'left and right arms'."""
        kinds = [t.kind for t in self._tokens[self._at : self._at + 3]]
        return kinds == [Kind.JOIN, Kind.SIDE, Kind.ARMS] and self._tokens[self._at].value == "and"

    def _side_of_something(self, side: str) -> None:
        if self._relation == "from":
            self._set("approach_direction", side)
        elif self._relation == "toward":
            self._set("translation_direction", side)
        else:
            self._end_thing()
            self._loose_location = side
            # "in the bowl on the left" tells where the bowl is, "the cube on the left" where the cube is.
            self._loose_is_final = self._last_was_relation
        self._relation = ""

    def _on_both(self, token: Token) -> None:
        if self._peek() is Kind.ARMS:
            self._at += 1
            self._actor("both")
        else:
            self._unknown.extend(token.words)

    def _on_arm(self, _: Token) -> None:
        """An arm without a side names no arm in particular."""
        self._end_thing()

    def _on_side_noun(self, token: Token) -> None:
        if self._relation == "from":
            self._set("approach_direction", token.value)
            self._relation = ""
        else:
            self._unknown.extend(token.words)

    def _on_color(self, token: Token) -> None:
        if self._before() is Kind.COPULA and not self._thing.colors:
            things = [*self._targets, *(thing for _, _, thing in self._relations)]
            (things[-1] if things else self._thing).colors.append(token.value)
        else:
            self._thing.colors.append(token.value)

    def _on_object(self, token: Token) -> None:
        if self._peek() is Kind.OBJECT:
            self._unknown.extend(token.words)
            return
        self._thing.category = token.value
        self._end_thing()

    def _on_pronoun(self, _: Token) -> None:
        self._end_thing()

    def _on_relation(self, token: Token) -> None:
        self._end_thing()
        self._relation = token.value

    def _on_boundary(self, _: Token) -> None:
        self._end_thing()

    def _on_join(self, token: Token) -> None:
        # "red and blue cube" and "red or blue cube" are one thing with two colours.
        if token.value == "then" or self._peek() is not Kind.COLOR:
            self._end_thing()

    def _on_region(self, token: Token) -> None:
        if self._relation == "from":
            self._set("approach_direction", token.value)
        else:
            self._set("contact_region", token.value)
        self._relation = ""

    def _on_direction(self, token: Token) -> None:
        if self._relation == "from":
            self._set("approach_direction", "top" if token.value == "above" else token.value)
            self._relation = ""
        elif token.value == "above":
            self._on_relation(token)
        else:
            self._set("translation_direction", token.value)

    def _on_pose(self, token: Token) -> None:
        self._set("final_pose" if self._verb in PLACE_VERBS else "initial_pose", token.value)

    def _on_unit(self, token: Token) -> None:
        number = self._unknown[-1] if self._unknown else ""
        if not number[:1].isdigit():
            self._unknown.extend(token.words)
            return
        self._unknown.pop()
        slot = "rotation_angle" if token.value == "deg" else "translation_extent"
        self._set(slot, f"{number.replace(',', '.')}_{token.value}")

    def _on_negation(self, token: Token) -> None:
        raise RejectedInstructionError(
            "negation",
            "the instruction says what not to do, which the robot cannot follow",
            found=" ".join(token.words),
            remedy="say what to do instead, for example which arm to use",
        )

    # ---- things

    def _end_thing(self) -> None:
        """Files the noun phrase read so far under its role."""
        thing, self._thing = self._thing, _Thing()
        if thing == _Thing():
            return
        if len(set(thing.colors)) > 1:
            raise _contradiction(f"one {thing.category or 'object'}", thing.colors)
        self._last_was_relation = bool(self._relation)
        if self._relation:
            self._relations.append((self._relation, self._verb, thing))
            self._relation = ""
        else:
            self._targets.append(thing)

    def _place_things(self) -> None:
        places = any(value in PLACE_VERBS for slot, value in self._values if slot == "primitive_action")
        ends = [r for r in self._relations if r[0] in ENDS]
        if not ends and places:
            ends = [r for r in self._relations if r[1] not in PICK_VERBS and r[0] not in {"from", "off"}][:1]
        for relation in self._relations:
            name, _, thing = relation
            if relation in ends[:1]:
                name = {"into": "in", "onto": "on", "toward": "at"}.get(name, name)
                self._set("final_relation", _phrase(name, thing))
                self._set_if("final_workspace_location", thing.location)
            elif name != "toward":
                self._set("initial_relation", _phrase({"into": "in", "off": "on"}.get(name, name), thing))
        for thing in self._targets:
            self._set_target("color", "".join(thing.colors[:1]))
            self._set_target("category", thing.category)
            self._set_if("initial_workspace_location", thing.location)
            for modifier, value in thing.modifiers:
                self._set(modifier, value)
        final = places and (self._loose_is_final or not ends)
        slot = "final_workspace_location" if final else "initial_workspace_location"
        self._set_if(slot, self._loose_location)

    def _set_target(self, slot: str, value: str) -> None:
        known = [v for s, v in self._values if s == slot]
        if value and known and known[0] != value:
            raise RejectedInstructionError(
                "several_targets",
                "the instruction names more than one object to act on",
                found=f"{known[0]} and {value}",
                remedy="give one instruction per object",
            )
        self._set_if(slot, value)

    # ---- values

    def _actor(self, side: str) -> None:
        self._end_thing()
        self._set("actor", f"{side}_arms" if side == "both" else f"{side}_arm")

    def _set_if(self, slot: str, value: str) -> None:
        if value:
            self._set(slot, value)

    def _set(self, slot: str, value: str) -> None:
        if (slot, value) in self._values:
            return
        known = [v for s, v in self._values if s == slot]
        if known and slot not in _SEVERAL:
            raise _contradiction(slot.replace("_", " "), [*known, value])
        self._values.append((slot, value))

    def _ordered(self) -> tuple[DimensionValue, ...]:
        order = list(_SLOT_DIMENSION)
        ranked = sorted(self._values, key=lambda entry: order.index(entry[0]))
        return tuple(DimensionValue(_SLOT_DIMENSION[slot], slot, value) for slot, value in ranked)

    def _peek(self) -> Kind | None:
        return self._tokens[self._at].kind if self._at < len(self._tokens) else None

    def _before(self) -> Kind | None:
        return self._tokens[self._at - 2].kind if self._at > 1 else None


def _phrase(relation: str, thing: _Thing) -> str:
    modifiers = (value for _, value in thing.modifiers)
    return "_".join(part for part in (relation, *modifiers, *thing.colors[:1], thing.category) if part)


def _contradiction(what: str, values: Sequence[str]) -> RejectedInstructionError:
    words = " and ".join(value.replace("_", " ") for value in values)
    return RejectedInstructionError(
        "contradiction",
        f"the instruction asks for two different things of {what}",
        found=words,
        remedy=f"choose one of: {', '.join(value.replace('_', ' ') for value in values)}",
    )
