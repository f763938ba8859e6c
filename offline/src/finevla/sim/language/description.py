"""The form of a description, shared by who writes it and who checks it."""

from __future__ import annotations

from dataclasses import dataclass

from finevla.contract.dimensions import DimensionValue


@dataclass(frozen=True, slots=True)
class Description:
    """What is said of an episode.

    Attributes:
        raw: The sentence that names the task only.
        steps: One movement per sentence, in the order of time.
        paragraph: The steps, with what was where before and after; what a person would write.
        values: The same along the ten dimensions, in their order; within a dimension in the order of time.
        family: Name of the wording.
    """

    raw: str
    steps: tuple[str, ...]
    paragraph: str
    values: tuple[DimensionValue, ...]
    family: str
