"""FG:Raw mixing: how often a sample is told in fine-grained and how often in raw words.

Strict mode, the default, changes nothing but the words. Every setting trains on the same episodes,
frames, actions and augmentation; each sample has one uniform number of its own, and its words are
fine-grained exactly where that number is below P(fine) = A / (A + B) of the ratio A:B. So a sample
that is fine-grained at 1:4 is so at every richer setting too (the choices are nested).

Upstream mode draws as FineVLA's own code does (starVLA mixtures): a mixture holds one entry per
branch and task folder, weighted A in the FG branch and B in the Raw branch. A sample takes an entry
by weight, then a step of it uniformly. The FG branch keeps only what has fine-grained text, the Raw
branch keeps everything. Against strict mode that changes more than the words: episodes without
fine-grained text are seen in the Raw branch only, small folders are seen as often as large ones,
every ratio sees other frames, and P(fine) is not A / (A + B) but A*f / (A*f + B*r) for f folders
with fine-grained text out of r folders (`effective_fine`).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from finevla.errors import DatasetError

MixMode = Literal["strict", "upstream"]
MIX_MODES: tuple[str, ...] = get_args(MixMode)

_RATIO = re.compile(r"(\d+(?:\.\d+)?):(\d+(?:\.\d+)?)")
_UNIT = 1 << 53
"""A uniform float64 is a whole number of these parts of 1."""


@dataclass(frozen=True, slots=True)
class Mix:
    """A setting of FG:Raw: `fine` parts of fine-grained and `raw` parts of raw text.

    Args:
        fine: Weight of fine-grained text, at least 0.
        raw: Weight of raw text, at least 0.

    Raises:
        DatasetError: A weight is negative, or both are zero.
    """

    fine: Fraction
    raw: Fraction

    def __post_init__(self) -> None:
        """Refuses weights that give no probability."""
        if self.fine < 0 or self.raw < 0 or self.fine + self.raw == 0:
            raise _unreadable(f"{self.fine}:{self.raw}")

    @classmethod
    def parse(cls, text: str) -> Mix:
        """Reads `raw`, `fg` or a ratio A:B, fine-grained parts first, such as 1:4.

        Raises:
            DatasetError: It is neither, or 0:0.
        """
        plain = text.strip().lower()
        if plain in _PURE:
            return cls(*map(Fraction, _PURE[plain]))
        match = _RATIO.fullmatch(plain)
        if match is None:
            raise _unreadable(text)
        return cls(Fraction(match[1]), Fraction(match[2]))

    @property
    def name(self) -> str:
        """How the setting is written: `raw`, `fg` or A:B in lowest terms."""
        pure = {Fraction(0): "raw", Fraction(1): "fg"}.get(self.share)
        return pure or f"{self.share.numerator}:{self.share.denominator - self.share.numerator}"

    @property
    def share(self) -> Fraction:
        """P(fine), exactly."""
        return self.fine / (self.fine + self.raw)

    @property
    def threshold(self) -> float:
        """Least float64 that is no longer below P(fine): a uniform u < P(fine) is u < threshold.

        A uniform float64 is k / 2**53; k / 2**53 < p is k < ceil(p * 2**53), and that bound over
        2**53 has an exact float64.
        """
        return math.ceil(self.share * _UNIT) / _UNIT

    def chooses(self, uniform: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether each sample is told in fine-grained words, from its uniform number in [0, 1)."""
        chosen: NDArray[np.bool_] = uniform < self.threshold
        return chosen

    def effective_fine(self, fine_groups: int, raw_groups: int) -> Fraction:
        """P(fine) of upstream mode, where each branch counts once per task group.

        Raises:
            DatasetError: No branch with a weight has a group.
        """
        fine, raw = self.fine * fine_groups, self.raw * raw_groups
        if fine + raw == 0:
            raise DatasetError(
                "no episode has the text that the mix asks for",
                where=f"--mix {self.name}",
                expected="task groups with this text",
                found=f"{fine_groups} groups with fine-grained, {raw_groups} with raw text",
                remedy="annotate the dataset, or choose another mix",
            )
        return fine / (fine + raw)


_PURE = {"raw": (0, 1), "fg": (1, 0)}

MIXES: tuple[Mix, ...] = tuple(map(Mix.parse, ("raw", "1:4", "1:2", "1:1", "2:1", "4:1", "fg")))
"""The seven settings of the paper, in its order."""


def _unreadable(text: str) -> DatasetError:
    return DatasetError(
        "the mix cannot be read",
        where="--mix",
        expected="raw, fg, or fine-grained to raw parts such as 1:4, not both zero",
        found=repr(text),
        remedy="choose one of raw, 1:4, 1:2, 1:1, 2:1, 4:1, fg, or another ratio A:B",
    )
