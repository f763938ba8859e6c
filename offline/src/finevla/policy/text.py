"""Instruction text to word numbers: an own small vocabulary, learned from the training texts.

A word that was never trained on has no meaning to the policy, so it is refused by name instead of
being mapped to "unknown": the arms then hold rather than do something else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from finevla.errors import InstructionError

PADDING = 0
"""Number that fills up short texts; words count from 1."""

FUNCTION_WORDS = frozenset({
    "a", "an", "the", "its", "it", "your", "my", "please", "kindly", "now", "just", "i", "want", "you",
    "can", "could", "would", "robot", "with", "using", "use", "by", "to", "and",
})  # fmt: skip
"""Words left out before training and inference: they change no execution of our tasks."""


def split_words(text: str) -> tuple[str, ...]:
    """Content words in lower case: punctuation stripped, function words removed."""
    cleaned = re.sub(r"[^\w\s]|_", " ", text.lower().replace("'", ""))
    return tuple(word for word in cleaned.split() if word not in FUNCTION_WORDS)


@dataclass(frozen=True)
class Vocabulary:
    """The words that a policy knows, in the order of their embeddings.

    Raises:
        ValueError: Words are repeated or absent.
    """

    words: tuple[str, ...]
    max_words: int = 32
    _numbers: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Builds the lookup."""
        numbers = {word: i + 1 for i, word in enumerate(self.words)}
        if not numbers or len(numbers) != len(self.words):
            raise ValueError("a vocabulary needs words, each once")
        object.__setattr__(self, "_numbers", numbers)

    @classmethod
    def from_texts(cls, texts: Iterable[str], max_words: int = 32) -> Vocabulary:
        """All content words of `texts`, sorted."""
        return cls(tuple(sorted({word for text in texts for word in split_words(text)})), max_words)

    @property
    def size(self) -> int:
        """Number of embeddings, padding included."""
        return len(self.words) + 1

    def check(self, text: str) -> tuple[str, ...]:
        """Returns the content words of `text`.

        Raises:
            InstructionError: There are none, too many, or one that the policy does not know.
        """
        words = split_words(text)
        unknown = [word for word in words if word not in self._numbers]
        if unknown:
            raise InstructionError(
                f"the policy does not know the word {', '.join(map(repr, dict.fromkeys(unknown)))}",
                where=f"instruction {text!r}",
                expected="words out of: " + ", ".join(self.words),
                found=unknown,
                remedy="say it with known words, or train a policy with this word",
            )
        if not 0 < len(words) <= self.max_words:
            raise InstructionError(
                "the instruction is empty or too long",
                where=f"instruction {text!r}",
                expected=f"1 to {self.max_words} content words",
                found=f"{len(words)} words",
                remedy="say in one sentence what to do",
            )
        return words

    def encode(self, text: str) -> NDArray[np.int64]:
        """Word numbers, shape (max_words,), padded at the end with `PADDING`.

        Raises:
            InstructionError: As `check`.
        """
        row = np.full(self.max_words, PADDING, dtype=np.int64)
        words = self.check(text)
        row[: len(words)] = [self._numbers[word] for word in words]
        return row
