"""What an episode shall do: the task, and how it shall be done, factor by factor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any


@dataclass(frozen=True, slots=True, order=True, repr=False)
class Goal:
    """The task and the values of the factors; an empty value leaves the factor to whoever acts.

    Attributes:
        task: Name of the task.
        arm: Arm that acts: left or right. In a handover it is the one that gives.
        color: Colour of the object that is acted on.
        approach: From where the hand comes to the object: above, left or right (y+ is left).
        contact: Part of the object that the fingers take: body or handle.
        side: Side of the obstacle on which the object passes: left or right.
        rotation: Turn of the object seen from above: clockwise or counterclockwise.
        pose: How the object stands in the end: upright or lying.
        bowl: Which bowl, where there are two: left or right.
        order: Colours in the order in which their objects are first moved.
    """

    task: str
    arm: str
    color: str = ""
    approach: str = ""
    contact: str = ""
    side: str = ""
    rotation: str = ""
    pose: str = ""
    bowl: str = ""
    order: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Only what is fixed. Chance is seeded with it, so a new factor changes no old episode."""
        shown = {"task": self.task, **self.values()}
        return f"Goal({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    def values(self) -> dict[str, Any]:
        """The factors that are fixed, by name of the field."""
        chosen = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "task"}
        return {name: value for name, value in chosen.items() if value}

    def differing(self, other: Goal) -> tuple[str, ...]:
        """Names of the fields in which two goals differ."""
        return tuple(f.name for f in fields(self) if getattr(self, f.name) != getattr(other, f.name))

    def with_values(self, values: Mapping[str, Any]) -> Goal:
        """The same goal with some factors changed."""
        return replace(self, **values)
