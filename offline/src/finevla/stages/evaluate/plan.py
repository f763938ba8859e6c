"""Which pairs are run: one scene, two goals that differ in one factor only.

A row of the result is a factor, or the extra row `ood`: the combination of left arm and right bowl,
which no training data holds. Its pairs are (left arm, left bowl) and (left arm, right bowl), and only
the second is counted. Every other row leaves that combination out.

Pair i takes the tasks of its row in turn and, within a task, the goals of the scene in turn, so that
every value of the factor is asked for about as often as any other. Scene i has seed `seed + i`; where a
scene does not allow a second value (an approach may be blocked), its seed is passed over and the next one
is taken. Nothing of this depends on what acts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count, islice
from math import prod

from finevla.errors import FineVLAError, SimulationError
from finevla.sim.factors import (
    ALIASES,
    FACTORS,
    IN_DISTRIBUTION,
    OOD,
    OOD_VALUES,
    factor_named,
    is_ood,
    other,
    values,
)
from finevla.sim.goal import Goal
from finevla.sim.language import render, templates
from finevla.sim.scene import SceneSpec
from finevla.sim.tasks import goals, sample_scene, task_named

ALL = "all"
EVALUATION_SEEDS = 1_000_000
"""Scene seeds below this are for evaluation; recordings draw theirs from above."""
MOST_PASSED_OVER = 200
"""Scenes passed over one after the other before it is clear that the task cannot vary the factor."""
_OOD_FIELD = "bowl"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the result.

    Attributes:
        name: As it was asked for, `colour` for example.
        field: Field of `Goal` that its pairs vary.
        tasks: Taken in turn.
        variant: Version of the scenes.
        ood: Whether it is the row of the combination that was never trained.
    """

    name: str
    field: str
    tasks: tuple[str, ...]
    variant: str
    ood: bool = False


@dataclass(frozen=True, slots=True)
class Pair:
    """One scene and two goals that differ in one factor; `template` is the sentence of both.

    Attributes:
        factor: Name of its row.
        number: Its place in the row, from 0.
        spec: The scene of both runs.
        goals: What is asked for in the first and in the second run.
        template: Which sentence of the task asks for it.
        passed_over: Seeds that were passed over just before this scene.
    """

    factor: str
    number: int
    spec: SceneSpec
    goals: tuple[Goal, Goal]
    template: int
    passed_over: int = 0

    @property
    def ood(self) -> bool:
        """Whether it belongs to the row of the combination that was never trained."""
        return self.factor == OOD

    @property
    def field(self) -> str:
        """Field of `Goal` in which the goals differ."""
        return _OOD_FIELD if self.ood else factor_named(self.factor).name

    @property
    def judged(self) -> tuple[str, ...]:
        """Fields that must be as asked for a run to comply: the one that varies, or the combination."""
        return tuple(OOD_VALUES) if self.ood else (self.field,)

    @property
    def counted(self) -> tuple[int, ...]:
        """Which of the two runs are counted."""
        return (1,) if self.ood else (0, 1)

    @property
    def texts(self) -> tuple[str, ...]:
        """The two instructions."""
        return tuple(render(goal, self.template) for goal in self.goals)

    @property
    def chance(self) -> float:
        """Expected compliance of whoever draws among the possible values without hearing the words."""
        shares = [
            prod(1 / len(values(name, self.goals[i], self.spec)) for name in self.judged)
            for i in self.counted
        ]
        return sum(shares) / len(shares)


def row_names(text: str) -> list[str]:
    """The rows that a list with commas names; `all` stands for the eight factors and `ood`.

    Raises:
        FineVLAError: One of them does not exist.
    """
    asked = [name.strip() for name in text.split(",") if name.strip()]
    names = [*IN_DISTRIBUTION, OOD] if asked == [ALL] else asked
    known = {*FACTORS, *ALIASES, OOD}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise FineVLAError(
            f"there is no such factor: {', '.join(unknown)}",
            where="--factors",
            expected=f"{ALL}, or some of {', '.join(sorted(known))}",
            found=text,
            remedy="name factors as in --factors arm,color",
        )
    return names


def row_of(name: str, tasks: Sequence[str] = ()) -> Row:
    """The row of that name, in the tasks of its factor or in those given.

    Raises:
        SimulationError: No such factor or task.
        FineVLAError: A task cannot vary the factor.
    """
    field = _OOD_FIELD if name == OOD else factor_named(name).name
    factor = FACTORS[field]
    chosen = tuple(tasks) or factor.tasks
    for task in chosen:
        found = task_named(task)
        varies = field in {*found.factors, *found.optional}
        if not varies or (factor.variant and factor.variant not in found.variants):
            raise FineVLAError(
                f"the task {task} cannot vary the factor {name}",
                where="--task",
                expected=f"tasks such as {', '.join(factor.tasks)}",
                found=task,
                remedy="leave --task out: every factor then takes the tasks that vary it",
            )
    return Row(name, field, chosen, factor.variant, ood=name == OOD)


def plan_pairs(factors: Sequence[str], tasks: Sequence[str], n: int, seed: int) -> list[Pair]:
    """The pairs to run: `n` per row. The same arguments always give the same pairs.

    Args:
        factors: Names of rows.
        tasks: Taken in turn by every row; each row's own where empty.
        n: Pairs per row.
        seed: Seed of the first scene of every row, so that rows share scenes where tasks allow it.

    Raises:
        SimulationError: No such factor or task.
        FineVLAError: A task cannot vary a factor, or the seeds for evaluation run out.
    """
    rows = [row_of(name, tasks) for name in factors]
    return [pair for row in rows for pair in islice(_pairs(row, seed), n)]


def _pairs(row: Row, seed: int) -> Iterator[Pair]:
    begin = seed
    for i in count():
        turn, task = divmod(i, len(row.tasks))
        spec, choices = _next_scene(row, row.tasks[task], begin)
        goal = choices[turn % len(choices)]
        template = turn % len(templates(goal.task))
        pair = (goal, other(goal, row.field, spec))
        yield Pair(row.name, i, spec, pair, template, passed_over=spec.seed - begin)
        begin = spec.seed + 1


def _next_scene(row: Row, task: str, begin: int) -> tuple[SceneSpec, list[Goal]]:
    """The first scene from a seed on that allows a second value, and what can be asked for there."""
    for seed in range(begin, begin + MOST_PASSED_OVER):
        _check_seed(seed)
        spec = _scene(row, task, seed)
        choices = _firsts(row, spec) if spec is not None else []
        if spec is not None and choices:
            return spec, choices
    raise FineVLAError(
        f"no scene of {task} allows a second value of the factor {row.name}",
        where=f"seeds {begin} to {begin + MOST_PASSED_OVER - 1}",
        expected="two values or more in one scene",
        found="none",
        remedy="take another --task, or leave it out",
    )


def _scene(row: Row, task: str, seed: int) -> SceneSpec | None:
    """The scene of a seed, or None where its objects find no place."""
    try:
        return sample_scene(task, seed, variant=row.variant)
    except SimulationError:
        return None


def _firsts(row: Row, spec: SceneSpec) -> list[Goal]:
    """The goals that can be the first of a pair."""
    found = []
    for goal in goals(spec):
        options = values(row.field, goal, spec)
        fixed = bool(getattr(goal, row.field))
        if len(options) > 1:
            found += [goal] if fixed else [replace(goal, **{row.field: value}) for value in options]
    if row.ood:
        return [goal for goal in found if not is_ood(goal) and is_ood(other(goal, row.field, spec))]
    return [goal for goal in found if not is_ood(goal) and not is_ood(other(goal, row.field, spec))]


def _check_seed(seed: int) -> None:
    if not 0 <= seed < EVALUATION_SEEDS:
        raise FineVLAError(
            "the seed of a scene lies outside those for evaluation",
            where="--seed",
            expected=f"0 to {EVALUATION_SEEDS - 1}",
            found=seed,
            remedy="take a lower --seed: from there on scenes belong to training data",
        )
