"""The grammar of instructions: tokens of a sentence into values of the ten dimensions.

One pass from left to right that collects noun phrases with their modifiers and the relation
(in, on, from, ...) that introduces them; only at the end (`things.Roles`) is it decided which thing is
acted on and which relation is the goal, so that clauses may stand in any order. Used by
`instruction.parse`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from finevla.contract.dimensions import DimensionValue
from finevla.contract.things import Roles, Thing, Values
from finevla.contract.tokens import RejectedInstructionError, Token, contradiction
from finevla.contract.vocabulary import PLACE_VERBS, Kind

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
_GOES_ON = _NOUN_FOLLOWS | {Kind.SIDE, Kind.SIDE_NOUN, Kind.REGION}
_COUNTED_BY = frozenset({"stack", "arrange"})
"""Verbs whose object may be a number of things."""
_PAST = "past"


class Sentence:
    """One pass over the tokens of a sentence."""

    def __init__(self, text: str, tokens: list[Token]) -> None:
        self._text = text
        self._tokens = [token for token in tokens if token.kind is not Kind.FUNCTION]
        self._at = 0
        self._values = Values()
        self._roles = Roles()
        self._unknown: list[str] = []
        self._thing = Thing()
        self._relation = ""
        self._verb = ""
        self._then = False
        self._last_relation = ""
        self._handlers: Mapping[Kind, Callable[[Token], None]] = {
            Kind.VERB: self._on_verb,
            Kind.SIDE: self._on_side,
            Kind.BOTH: self._on_count,
            Kind.ARM: self._on_boundary,
            Kind.ARMS: self._on_boundary,
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
            Kind.ROW: self._on_row,
            Kind.RECEIVER: self._on_receiver,
            Kind.UNIT: self._on_unit,
            Kind.BODY: lambda token: self._values.set(token.value, token.words[0]),
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
                self._values.set(_SIMPLE_SLOTS[token.kind], token.value)
            elif token.kind in _MODIFIER_SLOTS:
                self._thing.modifiers.append((_MODIFIER_SLOTS[token.kind], token.value))
            else:
                self._handlers[token.kind](token)
        self._end_thing()
        self._roles.place(self._values)
        return self._values.ordered(), tuple(self._unknown)

    # ---- who acts, and sides

    def _on_verb(self, token: Token) -> None:
        self._end_thing()
        self._relation = ""
        self._verb = token.value
        self._values.set("primitive_action", token.value)

    def _on_side(self, token: Token) -> None:
        after = self._peek()
        if after is Kind.ARM and self._relation == "toward" and self._verb == "hand_over":
            self._at += 1
            self._relation = ""
            self._values.set("final_relation", f"in_{token.value}_arm")
        elif after in {Kind.ARM, Kind.ARMS}:
            self._at += 1
            self._actor(token.value)
        elif self._is_pair():
            self._at += 3
            self._actor("both")
        elif self._relation == _PAST or after is Kind.SIDE_NOUN or self._relation in {"from", "toward"}:
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
        if self._relation == _PAST:
            # The relation goes on: "around the left side of the obstacle".
            self._values.set("path_shape", f"around_{side}")
            return
        if self._relation == "from":
            self._values.set("approach_direction", side)
        elif self._relation == "toward":
            self._values.set("translation_direction", side)
        else:
            self._end_thing()
            if self._last_relation == _PAST:
                self._values.set("path_shape", f"around_{side}")
            else:
                # "in the bowl on the left" tells where the bowl is, "the cube on the left" where the cube.
                self._roles.location, self._roles.location_is_final = side, bool(self._last_relation)
        self._relation = ""

    def _on_side_noun(self, token: Token) -> None:
        if self._relation == "from":
            self._values.set("approach_direction", token.value)
            self._relation = ""
        else:
            self._unknown.extend(token.words)

    def _on_receiver(self, token: Token) -> None:
        self._end_thing()
        self._values.set("final_relation", f"in_{token.value}")

    def _actor(self, side: str) -> None:
        self._end_thing()
        self._values.set("actor", f"{side}_arms" if side == "both" else f"{side}_arm")

    # ---- things

    def _on_count(self, token: Token) -> None:
        if token.value == "both" and self._peek() is Kind.ARMS:
            self._at += 1
            self._actor("both")
        elif self._verb not in _COUNTED_BY or self._peek() not in _NOUN_FOLLOWS:
            self._unknown.extend(token.words)

    def _on_color(self, token: Token) -> None:
        if self._before() is Kind.COPULA and not self._thing.colors:
            things = [*self._roles.targets, *(thing for _, _, thing in self._roles.relations)]
            (things[-1] if things else self._thing).colors.append(token.value)
        else:
            self._thing.colors.append(token.value)

    def _on_object(self, token: Token) -> None:
        if self._peek() is Kind.OBJECT:
            self._unknown.extend(token.words)
            return
        self._thing.category = token.value
        self._end_thing()

    def _on_relation(self, token: Token) -> None:
        self._end_thing()
        if self._relation == _PAST and token.value.endswith("_of"):
            self._side_of_something(token.value.removesuffix("_of"))
        else:
            self._relation = token.value

    def _on_boundary(self, _: Token) -> None:
        """A tool, or an arm without a side, which names no arm: what was said of a thing ends here."""
        self._end_thing()
        self._relation = ""

    def _on_pronoun(self, _: Token) -> None:
        self._end_thing()
        # "in that bowl" and "from its left side" go on, "on it" ends here.
        if self._peek() not in _GOES_ON:
            self._relation = ""

    def _on_join(self, token: Token) -> None:
        # "red and blue cube" and "red or blue cube" are one thing with two colours.
        if token.value == "then" or self._peek() is not Kind.COLOR:
            self._end_thing()
        if token.value == "then":
            self._then = True

    def _on_row(self, token: Token) -> None:
        self._end_thing()
        self._roles.row = (self._roles.row or set()) | {token.value}

    def _end_thing(self) -> None:
        """Files the noun phrase read so far under its role."""
        thing, self._thing = self._thing, Thing()
        if not thing.said:
            return
        if len(set(thing.colors)) > 1:
            raise contradiction(f"one {thing.category or 'object'}", thing.colors)
        thing.verb, self._last_relation = self._verb, self._relation
        if self._relation:
            self._roles.relations.append((self._relation, self._verb, thing))
            self._relation = ""
        else:
            thing.after, self._then = self._then, False
            self._roles.targets.append(thing)

    # ---- manner

    def _on_region(self, token: Token) -> None:
        if self._relation == "from":
            self._values.set("approach_direction", token.value)
        else:
            self._values.set("contact_region", token.value)
        self._relation = ""

    def _on_direction(self, token: Token) -> None:
        if self._relation == "from":
            self._values.set("approach_direction", "top" if token.value == "above" else token.value)
            self._relation = ""
        elif token.value == "above":
            self._on_relation(token)
        elif not (token.value == "down" and self._verb == "place"):
            self._values.set("translation_direction", token.value)

    def _on_pose(self, token: Token) -> None:
        if self._peek() in _NOUN_FOLLOWS:
            self._thing.modifiers.append(("initial_pose", token.value))
        else:
            self._values.set("final_pose" if self._verb in PLACE_VERBS else "initial_pose", token.value)

    def _on_unit(self, token: Token) -> None:
        number = self._unknown[-1] if self._unknown else ""
        if not number[:1].isdigit():
            self._unknown.extend(token.words)
            return
        self._unknown.pop()
        slot = "rotation_angle" if token.value == "deg" else "translation_extent"
        self._values.set(slot, f"{number.replace(',', '.')}_{token.value}")

    def _on_negation(self, token: Token) -> None:
        raise RejectedInstructionError(
            "negation",
            "the instruction says what not to do, which the robot cannot follow",
            found=" ".join(token.words),
            remedy="say what to do instead, for example which arm to use",
        )

    def _peek(self) -> Kind | None:
        return self._tokens[self._at].kind if self._at < len(self._tokens) else None

    def _before(self) -> Kind | None:
        return self._tokens[self._at - 2].kind if self._at > 1 else None
