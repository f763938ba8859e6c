"""Whatever is said, the parser answers or refuses; form does not change what is understood."""

from __future__ import annotations

import re

from hypothesis import example, given
from hypothesis import strategies as st

from finevla.contract.dimensions import SLOTS
from finevla.contract.instruction import Parsed, asked, parse
from finevla.contract.vocabulary import COLORS, PHRASES
from finevla.errors import InstructionError

WORDS = st.sampled_from(sorted({word for phrase in PHRASES for word in phrase} | {"zorp", "7"}))
SIDES = st.sampled_from(["left", "right"])
COLOR = st.sampled_from(sorted(COLORS))
NOUN = st.sampled_from(["arm", "hand", "gripper"])


def read(text) -> Parsed | str:
    """The parsed sentence, or the code of the refusal; any other error passes through."""
    try:
        return parse(text)
    except InstructionError as err:
        return err.reason_code


@given(st.one_of(st.text(), st.lists(WORDS, max_size=12).map(" ".join)))
@example("\u0000\ud800 left left")
def test_any_text_is_answered_or_refused(text):
    parsed = read(text)
    if isinstance(parsed, str):
        assert parsed
        return
    assert parsed.text == text
    assert all(value.slot in SLOTS[value.dimension] for value in parsed.values)
    order = [list(SLOTS).index(value.dimension) for value in parsed.values]
    assert order == sorted(order)


@given(st.one_of(st.none(), st.integers(), st.binary(), st.lists(st.text())))
def test_what_is_no_text_is_refused(thing):
    assert read(thing) == "not_text"


@given(SIDES, COLOR, NOUN, st.booleans())
def test_order_of_clauses_does_not_matter(side, color, noun, place):
    action = f"put the {color} cube into the bowl" if place else f"pick up the {color} cube"
    first = parse(f"with the {side} {noun} {action}")
    last = parse(f"{action} with the {side} {noun}")
    assert first.values == last.values
    assert asked(first) == (side, color.replace("_", " "), "place_in_bowl" if place else "pick_lift")


@given(SIDES, COLOR, st.sampled_from(["{}.", "{}...", "  {}\n", "{}!", "“{}”"]), st.booleans())
def test_case_punctuation_and_width_do_not_matter(side, color, frame, wide):
    text = f"use the {side} arm to lift the {color} cube"
    other = frame.format(text.upper())
    if wide:
        other = re.sub(r"[a-zA-Z]", lambda m: chr(ord(m[0]) + 0xFEE0), other)
    assert parse(other).values == parse(text).values


@given(st.text(alphabet=st.characters(categories=["Ll"]), min_size=3, max_size=12))
def test_an_unknown_word_is_never_dropped(word):
    known = {part for phrase in PHRASES for part in phrase}
    folded = word.casefold()
    if folded in known or not folded.isalpha():
        return
    parsed = parse(f"pick up the red {word} cube")
    assert parsed.unknown_words
