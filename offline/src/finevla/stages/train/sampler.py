"""Which frames a step trains on and in which words: numbers only, before any picture is touched.

A step has two random streams of its own. `[seed, 2, step]` gives frames and augmentation,
`[seed, 3, step]` gives the uniform number that decides the words. In strict mode the first stream
never depends on the mix, so frames, actions and augmentation are the same for every mix.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from finevla.errors import DatasetError
from finevla.stages.train.data import FrameCache
from finevla.stages.train.mix import Mix, MixMode

Balance = Literal["frames", "group"]
BALANCES: tuple[str, ...] = get_args(Balance)

_UNIT = 1 << 53
_NAMED = 10


class Drawn(NamedTuple):
    """Frames (B,), whether each is told in fine-grained words (B,), and the stream for augmentation."""

    frames: NDArray[np.int64]
    fine: NDArray[np.bool_]
    rng: np.random.Generator


class Pools:
    """Sets of frames to draw from: a set by weight, then a frame of it uniformly.

    Args:
        pools: The sets; none is empty.
        weights: Weight of each, positive.
    """

    def __init__(self, pools: Sequence[NDArray[np.int64]], weights: Sequence[Fraction]) -> None:
        total, below = sum(weights, Fraction(0)), Fraction(0)
        bounds = []
        for weight in weights:
            below += weight
            bounds.append(math.ceil(below / total * _UNIT) / _UNIT)  # exact, see `Mix.threshold`
        self._bounds = np.array(bounds)
        self._counts = np.array([len(pool) for pool in pools], dtype=np.int64)
        self._starts = np.cumsum(self._counts) - self._counts
        self._frames = np.concatenate(list(pools))

    def draw(self, rng: np.random.Generator, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Returns frames (size,) and the number of the set that each comes from (size,)."""
        pool = np.searchsorted(self._bounds, rng.random(size), side="right").astype(np.int64)
        inside = rng.integers(0, self._counts[pool])
        return self._frames[self._starts[pool] + inside], pool


class Sampler:
    """Draws out of `frames` as the mix and its mode say.

    Args:
        cache: The dataset.
        frames: Frames to draw from, not empty.
        mix: How often words are fine-grained.
        mode: `strict` or `upstream`, see `mix`.
        balance: `frames` draws uniformly over frames, `group` over task groups, then over frames of
            the group. Upstream mode is always balanced by group.

    Raises:
        DatasetError: There are no frames, or upstream mode lacks a text that the mix asks for.
    """

    def __init__(
        self, cache: FrameCache, frames: NDArray[np.int64], mix: Mix, mode: MixMode, balance: Balance
    ) -> None:
        if len(frames) == 0:
            raise DatasetError(
                "there are no frames to train on",
                expected="at least one training episode",
                found="none",
                remedy="record more episodes, or keep fewer for validation with --val-episodes",
            )
        self._frames, self._mix = frames, mix
        self._pools: Pools | None = None
        self._fine_pools = 0
        if mode == "upstream":
            fine = grouped(cache, frames, cache.has_text(fine=True)) if mix.fine else []
            raw = grouped(cache, frames, np.ones(cache.episodes, bool)) if mix.raw else []
            mix.effective_fine(len(fine), len(raw))
            self._pools = Pools([*fine, *raw], [mix.fine] * len(fine) + [mix.raw] * len(raw))
            self._fine_pools = len(fine)
        elif balance == "group":
            pools = grouped(cache, frames, np.ones(cache.episodes, bool))
            self._pools = Pools(pools, [Fraction(1)] * len(pools))
        self._upstream = mode == "upstream"

    def draw(self, size: int, seed: int, step: int) -> Drawn:
        """The samples of a step; the same for the same seed and step."""
        rng = np.random.default_rng([seed, 2, step])
        if self._pools is None:
            chosen = rng.choice(self._frames, size)
        else:
            chosen, pool = self._pools.draw(rng, size)
            if self._upstream:
                return Drawn(chosen, pool < self._fine_pools, rng)
        uniform = np.random.default_rng([seed, 3, step]).random(size)
        return Drawn(chosen, self._mix.chooses(uniform), rng)


def grouped(cache: FrameCache, frames: NDArray[np.int64], keep: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    """Frames by task group, in order of the groups' names; only those of episodes to `keep`."""
    owner = cache.episode_of(frames)
    names = np.array(cache.groups)[owner]
    kept = keep[owner]
    return [frames[kept & (names == name)] for name in np.unique(names[kept])]


def require_texts(cache: FrameCache, mix: Mix, mode: MixMode) -> None:
    """Checks that the episodes have the texts that the mix needs.

    Strict mode needs both texts for every episode, whatever the mix: with fewer episodes for one
    setting than for another the settings could not be compared. A dataset that has one kind of text
    only can train the pure mix of that kind.

    Raises:
        DatasetError: Texts are missing; the message names the episodes.
    """
    needs = {"fine-grained": cache.has_text(fine=True), "raw": cache.has_text(fine=False)}
    if mode == "upstream":
        needs = {"raw": needs["raw"]} if mix.raw else {}
    elif mix.share in {Fraction(0), Fraction(1)}:
        other = "raw" if mix.raw == 0 else "fine-grained"
        if not needs[other].any():
            del needs[other]
    for kind, has in needs.items():
        missing = np.flatnonzero(~has)
        if len(missing):
            raise _missing(kind, missing, len(has), mode)


def _missing(kind: str, episodes: NDArray[np.int64], total: int, mode: MixMode) -> DatasetError:
    named = ", ".join(map(str, episodes[:_NAMED])) + (", ..." if len(episodes) > _NAMED else "")
    strict = "; strict mixing compares settings and needs both texts for every episode"
    others = (
        "take --mix-mode upstream, which leaves them out of the FG branch"
        if kind != "raw"
        else ("train with --mix fg on episodes that have no raw text at all")
    )
    return DatasetError(
        f"episodes have no {kind} text",
        where=f"episode {named}",
        expected=f"a {kind} text for each of {total} episodes" + (strict if mode == "strict" else ""),
        found=f"{len(episodes)} without",
        remedy=f"annotate these episodes (`finevla annotate`) and convert again, or {others}",
    )
