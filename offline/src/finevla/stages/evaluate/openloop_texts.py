"""Other words for the same frames: of another episode, without detail, none, or with one factor flipped."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from finevla.contract.tokens import Token, split
from finevla.contract.vocabulary import Kind

RIGHT, SHUFFLED, NEUTRAL, EMPTY = "right", "shuffled", "neutral", "empty"
FLIPS = ("arm", "side", "color", "rotation", "pose", "region")
ABLATIONS = (SHUFFLED, NEUTRAL, EMPTY, *(f"flip_{name}" for name in FLIPS))
"""`shuffled`: the text of another episode of the same task group; `neutral`: the raw text, which names the
goal only; `empty`: no words, which a policy must refuse; `flip_*`: the same text with one factor's words
exchanged."""

_PAIRS = (
    *(("left", "right"), ("leftmost", "rightmost"), ("near", "far")),
    *(("nearest", "farthest"), ("nearer", "farther"), ("front", "back")),
)
OPPOSITE: Mapping[str, str] = dict([*_PAIRS, *((b, a) for a, b in _PAIRS)])
_ROTATIONS = {"clockwise": "counterclockwise", "counterclockwise": "clockwise"}
_KINDS = {"color": Kind.COLOR, "pose": Kind.POSE, "region": Kind.REGION}

Phrases = Mapping[Kind, Mapping[str, str]]
"""Kind -> value -> how the texts of a dataset most often say it."""


@dataclass(frozen=True, slots=True)
class Episode:
    """The texts of an episode: what was asked, the raw text (empty without one), its task group."""

    text: str
    raw: str
    group: str


def phrases_of(texts: Iterable[str]) -> Phrases:
    """How texts say the values of colors, poses and regions."""
    counts: dict[Kind, dict[str, Counter[str]]] = {kind: {} for kind in _KINDS.values()}
    for text in texts:
        for token in split(text):
            if token.kind in counts:
                counts[token.kind].setdefault(token.value, Counter())[" ".join(token.words)] += 1
    return {
        kind: {value: _most_said(said) for value, said in found.items()} for kind, found in counts.items()
    }


def _most_said(said: Counter[str]) -> str:
    """The most frequent phrase; of equals, the first in alphabetical order."""
    return min(said, key=lambda phrase: (-said[phrase], phrase))


def ablated(name: str, episodes: Sequence[Episode], index: int, phrases: Phrases) -> str | None:
    """The text that an ablation gives to an episode; None where there is no such text.

    Args:
        name: One of `ABLATIONS`.
        episodes: All episodes of the dataset.
        index: Which one.
        phrases: Of the dataset.
    """
    own = episodes[index]
    if name == EMPTY:
        return ""
    if name == NEUTRAL:
        return own.raw if own.raw and own.raw != own.text else None
    if name == SHUFFLED:
        return _shuffled(episodes, index)
    return flipped(own.text, name.removeprefix("flip_"), phrases)


def _shuffled(episodes: Sequence[Episode], index: int) -> str | None:
    """The next other text of the same group, going round."""
    own = episodes[index]
    for step in range(1, len(episodes)):
        other = episodes[(index + step) % len(episodes)]
        if other.group == own.group and other.text != own.text:
            return other.text
    return None


def flipped(text: str, factor: str, phrases: Phrases) -> str | None:
    """The text with the words of one factor exchanged; None where it has none, or there is no other value.

    `arm` and `side` exchange left and right, near and far, front and back, before an arm or elsewhere;
    `rotation` exchanges the senses; every color, pose or region becomes the next one in alphabetical order
    that the dataset's texts name.
    """
    parts: list[str] = []
    at = 0
    changed = False
    tokens = split(text)
    for number, token in enumerate(tokens):
        found = re.compile(r"\W+".join(map(re.escape, token.words)), re.IGNORECASE).search(text, at)
        if found is None:  # a letter that normalization changes
            return None
        following = tokens[number + 1].kind if number + 1 < len(tokens) else None
        other = _EXCHANGES[factor](token, following, phrases)
        parts += [text[at : found.start()], found[0] if other is None else other]
        changed = changed or other is not None
        at = found.end()
    return "".join([*parts, text[at:]]) if changed else None


def _opposite(token: Token) -> str | None:
    words = [OPPOSITE.get(word, word) for word in token.words]
    return " ".join(words) if words != list(token.words) else None


def _arm(token: Token, following: Kind | None, _: Phrases) -> str | None:
    return _opposite(token) if token.kind is Kind.SIDE and following is Kind.ARM else None


def _side(token: Token, following: Kind | None, _: Phrases) -> str | None:
    named = token.kind is Kind.RELATION or (token.kind is Kind.SIDE and following is not Kind.ARM)
    return _opposite(token) if named else None


def _rotation(token: Token, _: Kind | None, __: Phrases) -> str | None:
    return _ROTATIONS.get(token.value) if token.kind is Kind.ROTATION else None


def _next_of(kind: Kind) -> Callable[[Token, Kind | None, Phrases], str | None]:
    def exchange(token: Token, _: Kind | None, phrases: Phrases) -> str | None:
        values = sorted(phrases[kind])
        if token.kind is not kind or token.value not in values or len(values) < 2:
            return None
        return phrases[kind][values[(values.index(token.value) + 1) % len(values)]]

    return exchange


_EXCHANGES: Mapping[str, Callable[[Token, Kind | None, Phrases], str | None]] = {
    "arm": _arm,
    "side": _side,
    "rotation": _rotation,
    **{name: _next_of(kind) for name, kind in _KINDS.items()},
}
