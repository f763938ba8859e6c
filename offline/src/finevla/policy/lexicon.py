"""The `lexicon` codec: sentences as canonical words of the robot's own vocabulary.

The phrases that the instruction parser takes for one value are one word here too, so "fetch" and "pick
up" are the same to a policy whichever it was trained with. A side and the arm after it are one word:
in a bag of words "left arm, right bowl" must differ from "right arm, left bowl".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finevla.contract.tokens import Token, split
from finevla.contract.vocabulary import PHRASES, Kind
from finevla.policy.config import PolicyConfig
from finevla.policy.text import followable, numbered, padded, word_mismatch

_SILENT = frozenset({Kind.FUNCTION, Kind.INSTRUMENT, Kind.PRONOUN, Kind.COPULA})
"""Kinds of phrases that change no execution of our tasks."""
_THEN = f"{Kind.JOIN}:then"


def _canonical(text: str) -> Iterator[tuple[str, str]]:
    """What a sentence says, in order: canonical word, and how it was said.

    The longest phrases of the robot's vocabulary, each as `kind:value`; a word in none of its tables
    as itself. A side and the arm after it are one word, so that no left bowl looks like a left arm.
    """
    said: list[Token] = [token for token in split(text) if token.kind not in _SILENT and not _is_and(token)]
    before, taken = "", False
    for token, after in zip(said, [*said, None][1:], strict=True):
        kind = after.kind if after else None
        word = token.value if token.kind is None else f"{token.kind}:{token.value}"
        phrase = " ".join(token.words)
        if taken or (token.kind is Kind.TOWARD and kind is Kind.VERB) or word == before == _THEN:
            taken = False  # "use the left arm to lift" is no direction; "first and then" is one step
            continue
        if token.kind is Kind.SIDE and after and kind is Kind.ARM:
            word, phrase, taken = f"{Kind.ARM}:{token.value}", f"{phrase} {' '.join(after.words)}", True
        before = word
        yield word, phrase


def _is_and(token: Token) -> bool:
    return token.kind is Kind.JOIN and token.value == "and"


def _phrases() -> dict[str, str]:
    """Every phrase that `_canonical` makes one word of -> that word."""
    plain = [" ".join(words) for words in PHRASES]
    sides = [phrase for phrase in plain if PHRASES[tuple(phrase.split())][0] is Kind.SIDE]
    arms = [phrase for phrase in plain if PHRASES[tuple(phrase.split())][0] is Kind.ARM]
    candidates = [*plain, *(f"{side} {arm}" for side in sides for arm in arms)]
    found = {phrase: [word for word, _ in _canonical(phrase)] for phrase in candidates}
    return {phrase: words[0] for phrase, words in found.items() if len(words) == 1}


@dataclass(frozen=True)
class Lexicon:
    """Canonical words that a policy was trained with; any phrase of the robot's vocabulary for one will do.

    Raises:
        ValueError: Words are repeated or absent, or the vocabulary no longer has one.
    """

    canonical: tuple[str, ...]
    max_words: int = 32
    _numbers: dict[str, int] = field(init=False, repr=False, compare=False)
    _words: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Builds the lookup and the list of phrases."""
        numbers = numbered(self.canonical)
        phrases = _phrases()
        lost = sorted(word for word in numbers if ":" in word and word not in phrases.values())
        if lost:
            raise ValueError(f"the vocabulary has no phrase for {', '.join(lost)}")
        known = [phrase for phrase, word in phrases.items() if word in numbers]
        own = [word for word in numbers if ":" not in word]
        object.__setattr__(self, "_numbers", numbers)
        object.__setattr__(self, "_words", tuple(sorted([*known, *own])))

    @classmethod
    def from_texts(cls, texts: Iterable[str], max_words: int = 32) -> Lexicon:
        """All canonical words of `texts`, sorted."""
        return cls(tuple(sorted({word for text in texts for word, _ in _canonical(text)})), max_words)

    @property
    def size(self) -> int:
        """Number of embeddings, padding included."""
        return len(self.canonical) + 1

    @property
    def words(self) -> tuple[str, ...]:
        """All phrases that the policy understands, sorted; words that say nothing are left out."""
        return self._words

    @property
    def example(self) -> str:
        """The first phrase."""
        return self._words[0]

    @property
    def files(self) -> Mapping[str, bytes]:
        """None: the words are in `to_json`."""
        return {}

    def to_json(self) -> dict[str, Any]:
        """The canonical words as plain JSON values."""
        return {"type": "lexicon", "words": list(self.canonical), "max_words": self.max_words}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Lexicon:
        """Rebuilds the codec from `to_json`.

        Raises:
            KeyError: A field is missing.
            ValueError: As the class.
        """
        return cls(tuple(str(word) for word in document["words"]), int(document["max_words"]))

    def mismatch(self, config: PolicyConfig) -> str:
        """Why the numbers do not fit a policy; empty where they do."""
        return word_mismatch(config, self.size, self.max_words)

    def check(self, text: str) -> tuple[str, ...]:
        """Returns the canonical words of `text`.

        Raises:
            InstructionError: There are none, too many, or one that the policy does not know.
        """
        return followable(tuple(_canonical(text)), text, self._numbers, self.words, self.max_words)

    def encode(self, text: str) -> NDArray[np.int64]:
        """Numbers of the canonical words, shape (max_words,), padded at the end with `PADDING`.

        Raises:
            InstructionError: As `check`.
        """
        return padded(self.check(text), self._numbers, self.max_words)
