"""Sentences into tokens: the longest phrases of the vocabulary, and how a sentence is refused."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from finevla.contract.vocabulary import LONGEST, PHRASES, Kind
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


def contradiction(what: str, values: Sequence[str]) -> RejectedInstructionError:
    """The refusal of a sentence that asks for two things where there can be one."""
    words = " and ".join(value.replace("_", " ") for value in values)
    return RejectedInstructionError(
        "contradiction",
        f"the instruction asks for two different things of {what}",
        found=words,
        remedy=f"choose one of: {', '.join(value.replace('_', ' ') for value in values)}",
    )
