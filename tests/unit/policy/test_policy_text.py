"""Words: what is kept, what is refused by name."""

from __future__ import annotations

import json

import numpy as np
import pytest

from finevla.errors import InstructionError, PolicyError
from finevla.policy.presets import preset
from finevla.policy.text import PADDING, Vocabulary, codec_from_json, split_words


def test_case_punctuation_and_function_words_do_not_count() -> None:
    assert split_words("Please, use your LEFT arm to lift the red cube!") == split_words(
        "left arm lift red cube"
    )


def test_order_of_words_is_kept() -> None:
    assert split_words("left of red") != split_words("red of left")


def test_unknown_word_is_refused_by_name_with_the_known_ones() -> None:
    vocabulary = Vocabulary.from_texts(["lift the red cube", "lift the blue cube"])
    with pytest.raises(InstructionError) as caught:
        vocabulary.encode("Lift the purple cube")
    assert "'purple'" in caught.value.what
    assert "blue, cube, lift, red" in caught.value.expected


@pytest.mark.parametrize("text", ["", "  ", "the, to!", "red " * 33])
def test_text_without_words_or_too_long_is_refused(text: str) -> None:
    with pytest.raises(InstructionError, match="empty or too long"):
        Vocabulary(("red",)).check(text)


def test_words_keep_their_numbers_and_padding_is_none_of_them() -> None:
    vocabulary = Vocabulary(("blue", "red"))
    row = vocabulary.encode("red, blue")
    assert row[:3].tolist() == [2, 1, PADDING]
    assert vocabulary.size == 3


def test_a_place_is_never_read_as_an_arm() -> None:
    """Bug: with "of" left out, "to the left of the bowl" was taken for the left arm."""
    vocabulary = Vocabulary.from_texts(["use the left arm to put the red cube into the bowl"])
    with pytest.raises(InstructionError, match="'of'"):
        vocabulary.check("put the red cube to the left of the bowl")


def test_codec_survives_json_and_broken_ones_are_refused() -> None:
    vocabulary = Vocabulary.from_texts(["lift the red cube", "left right"], max_words=8)
    document = json.loads(json.dumps(vocabulary.to_json()))
    assert document == {
        "type": "words",
        "words": ["cube", "left", "lift", "red", "right"],
        "max_words": 8,
    }
    again = codec_from_json(document, vocabulary.files)
    assert again == vocabulary
    assert np.array_equal(again.encode("lift red"), vocabulary.encode("lift red"))
    assert again.check(again.example)
    for change in ({"type": "runes"}, {"words": []}, {"words": ["red", "red"]}, {"max_words": "many"}):
        with pytest.raises(PolicyError, match="text codec"):
            codec_from_json({**document, **change}, {})
    for field in document:
        with pytest.raises(PolicyError, match="text codec"):
            codec_from_json({k: v for k, v in document.items() if k != field}, {})


def test_words_of_another_network_are_a_mismatch() -> None:
    vocabulary = Vocabulary.from_texts(["lift the red cube"])
    fits = preset("compact", dof=14, horizon=16, vocabulary_size=vocabulary.size)
    assert vocabulary.mismatch(fits) == ""
    assert "4 numbers" in vocabulary.mismatch(preset("compact", dof=14, horizon=16, vocabulary_size=9))
    assert "compact backbone" in vocabulary.mismatch(preset("qwen-tiny", dof=14, horizon=16))
