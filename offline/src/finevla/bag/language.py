"""What is said about an episode beyond its instruction: a text file beside the bag's messages.

The instruction that was given is on the bag's topics. This file adds the raw sentence (the goal only)
and the fine-grained description of what was done. It holds words, never simulator truth.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from finevla.contract.dimensions import Dimension, DimensionValue
from finevla.errors import BagError

LANGUAGE_FILE = "language.json"


@dataclass(frozen=True, slots=True)
class EpisodeLanguage:
    """The texts of one episode.

    Attributes:
        instruction: The sentence that was given, as on the instruction topic.
        raw: The goal only: neither arm nor manner.
        steps: The fine-grained description, one text per step.
        paragraph: The same as one text.
        values: What it says, along the ten dimensions.
    """

    instruction: str
    raw: str
    steps: tuple[str, ...]
    paragraph: str
    values: tuple[DimensionValue, ...]

    def text(self) -> str:
        """The file's content."""
        values = [{"dimension": v.dimension.value, "slot": v.slot, "value": v.value} for v in self.values]
        document = {
            "instruction": self.instruction,
            "raw": self.raw,
            "steps": list(self.steps),
            "paragraph": self.paragraph,
            "dimensions": values,
        }
        return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def read_language(bag: Path) -> EpisodeLanguage | None:
    """The texts beside a bag; None where it has none, as bags of a robot have at first.

    Raises:
        BagError: The file is there and is not what it should be.
    """
    path = bag / LANGUAGE_FILE
    if not path.exists():
        return None
    try:
        document = json.loads(path.read_text())
        return EpisodeLanguage(
            instruction=str(document["instruction"]),
            raw=str(document["raw"]),
            steps=tuple(str(step) for step in document["steps"]),
            paragraph=str(document["paragraph"]),
            values=tuple(
                DimensionValue(Dimension(row["dimension"]), str(row["slot"]), str(row["value"]))
                for row in document["dimensions"]
            ),
        )
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise BagError(
            "the texts beside the bag cannot be read",
            where=path,
            expected="instruction, raw, steps, paragraph and dimensions",
            found=repr(err),
            remedy="remove the file to convert the bag without them, or record again",
        ) from err
