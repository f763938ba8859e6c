"""Probes of the sentence itself: does the robot act on what says nothing, and not mind mere form?"""

from __future__ import annotations

from dataclasses import dataclass

from finevla.sim.goal import Goal
from finevla.sim.language.render import held_out, render, swapped, synonym

REFUSED = "refused"
"""The robot must not act on the text."""
SAME = "same"
"""The robot must do what the plain sentence asks for."""
PROBES = ("empty", "nonsense", "negated", "trailing_dot", "synonym", "clause_order", "held_out")
NONSENSE = "wug the dax with a slithy blicket"


@dataclass(frozen=True, slots=True)
class Probe:
    """A text derived from a plain sentence, and what must happen: `refused` or `same`."""

    name: str
    text: str
    expect: str


def probes(goal: Goal, template: int = 0) -> tuple[Probe, ...]:
    """All probes of the sentence `render(goal, template)`, in the order of `PROBES`.

    Raises:
        SimulationError: As in `render`.
    """
    plain = render(goal, template)
    return (
        Probe("empty", "", REFUSED),
        Probe("nonsense", NONSENSE, REFUSED),
        Probe("negated", f"do not {_imperative(goal, template)}", REFUSED),
        Probe("trailing_dot", f"{plain}.", SAME),
        Probe("synonym", synonym(plain), SAME),
        Probe("clause_order", swapped(goal, template), SAME),
        Probe("held_out", held_out(goal, template), SAME),
    )


def _imperative(goal: Goal, template: int) -> str:
    """The sentence, or its swapped form where it does not begin with a verb."""
    plain = render(goal, template)
    return plain if plain.split()[0] not in {"the", "with"} else swapped(goal, template)
