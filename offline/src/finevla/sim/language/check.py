"""Does a description say only what is so? Every claim of its text against recorded joints and poses.

Claims are read from the text itself (`reading`), and judged (`judge`) by what the recording shows
(`witness`). None of the describer's code is used. Where the truth is near a boundary between two
words, both pass.
"""

from __future__ import annotations

from finevla.contract.dimensions import DimensionValue
from finevla.contract.instruction import parse
from finevla.sim.language.description import Description
from finevla.sim.language.judge import Judge
from finevla.sim.language.reading import Claim, read_claim, sentences
from finevla.sim.language.said import values_said
from finevla.sim.language.shown import Shown
from finevla.sim.language.understand import goal_of
from finevla.sim.language.witness import Episode


def contradictions(description: Description, episode: Episode) -> tuple[str, ...]:
    """What a description says that the recording does not show; empty if all of it is true.

    Args:
        description: Steps, paragraph and values; each is checked by itself.
        episode: The recording.
    """
    steps = [read_claim(step) for step in description.steps]
    told = [read_claim(sentence) for sentence in sentences(description.paragraph)]
    found = [f"steps: {text}" for text in Judge(episode).judge(steps)]
    found += [f"paragraph: {text}" for text in Judge(episode).judge(told)]
    found += _values(description.values, told, episode)
    return tuple(found)


def instruction_contradictions(episode: Episode, task: str) -> tuple[str, ...]:
    """What the instruction of an episode asked for and the recording does not show.

    Raises:
        InstructionError: It is no instruction.
        SimulationError: No such task.
    """
    asked = goal_of(parse(episode.text), task)
    shown = Shown(episode).values(asked)
    return tuple(
        f"instruction {episode.text!r}: {name} is {shown[name]}, not {value}"
        for name, value in asked.items()
        if shown[name] != value
    )


def claims_in(description: Description) -> int:
    """Number of claims that `contradictions` checks."""
    return len(description.steps) + len(sentences(description.paragraph)) + len(description.values)


def _values(values: tuple[DimensionValue, ...], told: list[Claim], episode: Episode) -> list[str]:
    """Values that the (checked) text does not say, and the other way round."""
    mine = sorted((value.slot, value.value) for value in values)
    said = sorted(values_said(told, episode.spec))
    sets = {"values say and the text does not": set(mine) - set(said)}
    sets["the text says and values do not"] = set(said) - set(mine)
    return [f"values: {why}: {slot}={value}" for why, rest in sets.items() for slot, value in sorted(rest)]
