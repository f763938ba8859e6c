"""Which episodes a recording consists of: balanced over tasks and factor values, the same every time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from finevla.contract.robot import ARM_SIDES
from finevla.sim.factors import is_ood, variations
from finevla.sim.goal import Goal
from finevla.sim.scene import COLORS, SceneSpec
from finevla.sim.tasks import sample_scene, task_named

ATTEMPTS = 100
"""Scene seeds that one episode may use up."""
SEED_BLOCK = 1_000_000
"""Scene seeds of recording seed s start at (s + 1) * SEED_BLOCK: far from those of evaluations."""
_LOOKED_AT = 60
"""Scenes that are looked at to learn which factor values a task has."""

Values = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, order=True)
class Wish:
    """What an episode is to show: a task, a version of its scene, and a value for each factor.

    Of an order only the first colour is wished for; the others follow from the scene.
    """

    task: str
    variant: str
    values: Values

    def fits(self, goal: Goal) -> bool:
        """Whether a goal is of this kind."""
        return self.values == _values(goal)


@dataclass(frozen=True, slots=True)
class Planned:
    """One episode to record: its name and what is to be done in it."""

    number: int
    name: str
    wish: Wish


def _values(goal: Goal) -> Values:
    shown = {name: value[0] if isinstance(value, tuple) else value for name, value in goal.values().items()}
    return tuple(sorted(shown.items()))


@lru_cache(maxsize=64)
def wishes(task: str, plain: bool) -> tuple[Wish, ...]:
    """Every kind of episode of a task: arms change fastest, then colours, then the rest.

    The combination that is kept for evaluation (left arm, right bowl) is never among them.

    Args:
        task: Name of the task.
        plain: Only the factors that every goal of the task fixes, in its usual scene.
    """
    found: set[Wish] = set()
    variants = ("",) if plain else ("", *task_named(task).variants)
    for variant in variants:
        for seed in range(_LOOKED_AT):
            spec = sample_scene(task, seed, variant=variant)
            goals = task_named(task).goals(spec) if plain else variations(spec)
            found |= {Wish(task, variant, _values(goal)) for goal in goals if not is_ood(goal)}
    return tuple(sorted(found, key=_rank))


def _rank(wish: Wish) -> tuple[object, ...]:
    values = dict(wish.values)
    colors = [*COLORS, ""]
    named = values.pop("color", values.pop("order", ""))
    arm = values.pop("arm", "")
    return (wish.variant, tuple(sorted(values.items())), colors.index(named), [*ARM_SIDES, ""].index(arm))


def plan(tasks: Sequence[str], episodes: int, *, plain: bool = False) -> list[Planned]:
    """The episodes of a recording; neighbours differ in task, then in arm, then in colour, then in the rest.

    Args:
        tasks: Names of the tasks.
        episodes: How many in all.
        plain: As in `wishes`.
    """
    planned = []
    for number in range(episodes):
        turn, task = divmod(number, len(tasks))
        kinds = wishes(tasks[task], plain)
        planned.append(Planned(number, f"{tasks[task]}_{number:06d}", kinds[turn % len(kinds)]))
    return planned


def scenes(planned: Planned, seed: int, *, hard: bool = False) -> Iterator[tuple[SceneSpec, Goal]]:
    """Scenes that allow what is wished for, with the goal there, in the order in which they are tried."""
    first = (seed + 1) * SEED_BLOCK + planned.number * ATTEMPTS
    wish = planned.wish
    for scene_seed in range(first, first + ATTEMPTS):
        spec = sample_scene(wish.task, scene_seed, hard=hard, variant=wish.variant)
        fitting = [goal for goal in variations(spec) if wish.fits(goal)]
        if fitting:
            yield spec, fitting[planned.number % len(fitting)]
