"""The lexicon: what the parser takes for one value is one word; arms and sides are told apart; refusals."""

from __future__ import annotations

import json

import pytest

from finevla.errors import InstructionError, PolicyError
from finevla.policy.lexicon import Lexicon
from finevla.policy.text import codec_from_json
from finevla.sim.goal import Goal
from finevla.sim.language import render
from finevla.sim.language.render import held_out, swapped, synonym

GOALS = [
    Goal("place_in_bowl", arm, color, bowl=bowl)
    for arm in ("left", "right")
    for color in ("red", "blue")
    for bowl in ("left", "right")
]
KNOWN = Lexicon.from_texts(render(goal, number) for goal in GOALS for number in range(5))


@pytest.mark.parametrize("goal", GOALS)
@pytest.mark.parametrize("number", range(5))
def test_other_words_for_the_same_are_the_same(goal: Goal, number: int) -> None:
    plain = render(goal, number)
    assert KNOWN.encode(synonym(plain)).tolist() == KNOWN.encode(plain).tolist()


def test_clauses_in_another_order_hold_the_same_words() -> None:
    for goal in GOALS:
        assert sorted(KNOWN.check(swapped(goal, 0))) == sorted(KNOWN.check(render(goal, 0)))
        assert "arm:left" in KNOWN.check(held_out(Goal("place_in_bowl", "left", "red", bowl="right"), 0))


def test_the_arm_is_not_the_side_of_the_bowl() -> None:
    one = KNOWN.check("put the red cube into the right bowl with the left arm")
    other = KNOWN.check("put the red cube into the left bowl with the right arm")
    assert sorted(one) != sorted(other)
    assert {"arm:left", "side:right"} <= set(one)


@pytest.mark.parametrize("text", ["", "put the spoon into the bowl", "the the"])
def test_what_cannot_be_followed_is_refused_by_name(text: str) -> None:
    with pytest.raises(InstructionError) as caught:
        KNOWN.check(text)
    assert caught.value.remedy
    if "spoon" in text:
        assert "spoon" in caught.value.what


def test_an_empty_lexicon_and_a_lost_word_are_refused() -> None:
    with pytest.raises(ValueError, match="needs words"):
        Lexicon(())
    with pytest.raises(PolicyError, match="text codec"):
        codec_from_json({"type": "lexicon", "words": ["color:mauvish"], "max_words": 8}, {})


def test_it_survives_json() -> None:
    document = json.loads(json.dumps(KNOWN.to_json()))
    assert codec_from_json(document, {}) == KNOWN
