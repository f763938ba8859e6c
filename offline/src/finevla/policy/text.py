"""Instruction text to token numbers: the registry of text codecs, and the codec of own words.

`words` is a small vocabulary learned from the training texts. A word that was never trained on has
no meaning to such a policy, so it is refused by name instead of being mapped to "unknown": the arms
then hold rather than do something else. `qwen` (in `qwen_text.py`) is the tokenizer of a language
model with the prompt that it was trained with.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from finevla.errors import InstructionError, PolicyError
from finevla.policy.config import CompactConfig, PolicyConfig

PADDING = 0
"""Number that fills up short texts; words count from 1."""

FUNCTION_WORDS = frozenset({
    "a", "an", "the", "its", "it", "your", "my", "please", "kindly", "now", "just", "i", "want", "you",
    "can", "could", "would", "robot", "with", "using", "use", "by", "to", "and",
})  # fmt: skip
"""Words left out before training and inference: they change no execution of our tasks."""


class TextCodec(Protocol):
    """Turns an instruction into the row of numbers that a backbone reads."""

    @property
    def words(self) -> tuple[str, ...]:
        """All words that the policy understands; empty where it understands any."""
        ...

    @property
    def example(self) -> str:
        """A text that `check` accepts, for warming up."""
        ...

    @property
    def files(self) -> Mapping[str, bytes]:
        """Files, by name, that a bundle must keep beside `to_json`."""
        ...

    def check(self, text: str) -> tuple[str, ...]:
        """The words or tokens of `text`.

        Raises:
            InstructionError: The policy cannot follow this text.
        """
        ...

    def encode(self, text: str) -> NDArray[np.int64]:
        """One row of token numbers, always of the same length, padded at the end.

        Raises:
            InstructionError: As `check`.
        """
        ...

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values with the field `type`."""
        ...

    def mismatch(self, config: PolicyConfig) -> str:
        """Why the numbers do not fit a policy; empty where they do."""
        ...


def split_words(text: str) -> tuple[str, ...]:
    """Content words in lower case: punctuation stripped, function words removed."""
    cleaned = re.sub(r"[^\w\s]|_", " ", text.lower().replace("'", ""))
    return tuple(word for word in cleaned.split() if word not in FUNCTION_WORDS)


def numbered(words: Sequence[str]) -> dict[str, int]:
    """Number of each word, counted from 1.

    Raises:
        ValueError: Words are repeated or absent.
    """
    numbers = {word: i + 1 for i, word in enumerate(words)}
    if not numbers or len(numbers) != len(words):
        raise ValueError("a policy needs words, each once")
    return numbers


def followable(
    said: Sequence[tuple[str, str]],
    text: str,
    numbers: Mapping[str, int],
    known: Sequence[str],
    max_words: int,
) -> tuple[str, ...]:
    """The words of a text that a policy can follow.

    Args:
        said: Each word, and how the text says it.
        text: The text, for messages.
        numbers: Of the words that the policy knows.
        known: What can be said to it, for messages.
        max_words: Longest text.

    Raises:
        InstructionError: There are no words, too many, or one that the policy does not know.
    """
    unknown = [phrase for word, phrase in said if word not in numbers]
    if unknown:
        raise InstructionError(
            f"the policy does not know the word {', '.join(map(repr, dict.fromkeys(unknown)))}",
            where=f"instruction {text!r}",
            expected="words out of: " + ", ".join(known),
            found=unknown,
            remedy="say it with known words, or train a policy with this word",
        )
    if not 0 < len(said) <= max_words:
        raise InstructionError(
            "the instruction is empty or too long",
            where=f"instruction {text!r}",
            expected=f"1 to {max_words} content words",
            found=f"{len(said)} words",
            remedy="say in one sentence what to do",
        )
    return tuple(word for word, _ in said)


def padded(words: Sequence[str], numbers: Mapping[str, int], max_words: int) -> NDArray[np.int64]:
    """Word numbers, shape (max_words,), padded at the end with `PADDING`."""
    row = np.full(max_words, PADDING, dtype=np.int64)
    row[: len(words)] = [numbers[word] for word in words]
    return row


def word_mismatch(config: PolicyConfig, size: int, max_words: int) -> str:
    """Why own words do not fit a policy; empty where they do."""
    part = config.backbone
    if not isinstance(part, CompactConfig):
        return "own words are for the compact backbone"
    if (part.vocabulary_size, part.max_words) != (size, max_words):
        return (
            f"{size} numbers and {max_words} words for a network with "
            f"{part.vocabulary_size} and {part.max_words}"
        )
    return ""


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
        object.__setattr__(self, "_numbers", numbered(self.words))

    @classmethod
    def from_texts(cls, texts: Iterable[str], max_words: int = 32) -> Vocabulary:
        """All content words of `texts`, sorted."""
        return cls(tuple(sorted({word for text in texts for word in split_words(text)})), max_words)

    @property
    def size(self) -> int:
        """Number of embeddings, padding included."""
        return len(self.words) + 1

    @property
    def example(self) -> str:
        """The first word."""
        return self.words[0]

    @property
    def files(self) -> Mapping[str, bytes]:
        """None: the words are in `to_json`."""
        return {}

    def to_json(self) -> dict[str, Any]:
        """The vocabulary as plain JSON values."""
        return {"type": "words", "words": list(self.words), "max_words": self.max_words}

    def mismatch(self, config: PolicyConfig) -> str:
        """Why the numbers do not fit a policy; empty where they do."""
        return word_mismatch(config, self.size, self.max_words)

    def check(self, text: str) -> tuple[str, ...]:
        """Returns the content words of `text`.

        Raises:
            InstructionError: There are none, too many, or one that the policy does not know.
        """
        said = [(word, word) for word in split_words(text)]
        return followable(said, text, self._numbers, self.words, self.max_words)

    def encode(self, text: str) -> NDArray[np.int64]:
        """Word numbers, shape (max_words,), padded at the end with `PADDING`.

        Raises:
            InstructionError: As `check`.
        """
        return padded(self.check(text), self._numbers, self.max_words)


def codec_from_json(document: Mapping[str, Any], files: Mapping[str, bytes]) -> TextCodec:
    """Rebuilds a codec from `to_json` and the files that were kept with it.

    Raises:
        PolicyError: The type is unknown, or a part or file is missing or unusable.
    """
    kind = document.get("type")
    try:
        if kind == "words":
            return Vocabulary(tuple(str(word) for word in document["words"]), int(document["max_words"]))
        if kind == "lexicon":
            from finevla.policy.lexicon import Lexicon

            return Lexicon.from_json(document)
        if kind == "qwen":
            from finevla.policy.qwen_text import QwenCodec

            return QwenCodec.from_json(document, files)
    except (KeyError, TypeError, ValueError) as err:
        raise PolicyError(
            "the text codec lacks a part",
            expected="the fields and files that its `to_json` and `files` gave",
            found=f"{type(err).__name__}: {err}",
            remedy="use the bundle as `finevla export` wrote it",
        ) from err
    raise PolicyError(
        "the text codec is of an unknown type",
        expected="words or qwen",
        found=kind,
        remedy="use a bundle written by this version of the library",
    )
