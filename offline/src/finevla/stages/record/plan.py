"""Which episodes a recording consists of: balanced over task, arm and color, the same every time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from finevla.contract.robot import ARM_SIDES
from finevla.sim.language import Goal
from finevla.sim.scene import COLORS, SceneSpec, sample_scene

ATTEMPTS = 100
"""Scene seeds that one episode may use up."""
SEED_BLOCK = 1_000_000
"""Scene seeds of recording seed s start at (s + 1) * SEED_BLOCK: far from those of evaluations."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One episode to record: its name and what is to be done in it."""

    number: int
    name: str
    goal: Goal


def plan(tasks: Sequence[str], episodes: int) -> list[Planned]:
    """The episodes of a recording; neighbours differ in task, then in arm, then in color."""
    colors = tuple(COLORS)
    planned = []
    for number in range(episodes):
        rest, task = divmod(number, len(tasks))
        rest, arm = divmod(rest, len(ARM_SIDES))
        goal = Goal(tasks[task], ARM_SIDES[arm], colors[rest % len(colors)])
        planned.append(Planned(number, f"{goal.task}_{number:06d}", goal))
    return planned


def scenes(planned: Planned, seed: int) -> Iterator[SceneSpec]:
    """Scenes that hold the cube asked for, in the order in which they are tried."""
    first = (seed + 1) * SEED_BLOCK + planned.number * ATTEMPTS
    for scene_seed in range(first, first + ATTEMPTS):
        spec = sample_scene(planned.goal.task, scene_seed)
        if planned.goal.color in spec.colors:
            yield spec
