"""The tasks: one small class each, with its scene, its expert and its success (`base.Task`)."""

from __future__ import annotations

from collections.abc import Mapping

from finevla.errors import SimulationError
from finevla.sim.clutter import clutter
from finevla.sim.goal import Goal
from finevla.sim.look import PLAIN, draw_look
from finevla.sim.scene import SceneSpec, seeded
from finevla.sim.tasks.base import Task
from finevla.sim.tasks.blocks_ranking import BlocksRankingRgb, BlocksRankingSize
from finevla.sim.tasks.clean_table import CleanTable
from finevla.sim.tasks.handover_block import HandoverBlock
from finevla.sim.tasks.move_around_obstacle import MoveAroundObstacle
from finevla.sim.tasks.pick_lift import PickLift
from finevla.sim.tasks.place_cup_on_coaster import PlaceCupOnCoaster
from finevla.sim.tasks.place_in_bowl import PlaceInBowl
from finevla.sim.tasks.press_button import PressButton
from finevla.sim.tasks.rotate_block import RotateBlock
from finevla.sim.tasks.stack_blocks import StackBlocksThree, StackBlocksTwo
from finevla.sim.tasks.upright_bottle import UprightBottle

_TASKS: Mapping[str, Task] = {
    task.name: task
    for task in (
        PickLift(),
        PlaceInBowl(),
        StackBlocksTwo(),
        StackBlocksThree(),
        BlocksRankingRgb(),
        BlocksRankingSize(),
        CleanTable(),
        RotateBlock(),
        MoveAroundObstacle(),
        PressButton(),
        PlaceCupOnCoaster(),
        UprightBottle(),
        HandoverBlock(),
    )
}

DEMO_TASKS = ("pick_lift", "place_in_bowl")
"""The tasks that the shipped bundle has learned."""


def task_names() -> tuple[str, ...]:
    """Names of all tasks, in a fixed order."""
    return tuple(_TASKS)


def task_named(name: str) -> Task:
    """The task of that name.

    Raises:
        SimulationError: There is none.
    """
    try:
        return _TASKS[name]
    except KeyError as err:
        raise SimulationError(
            "there is no such task",
            where=name,
            expected=f"one of {list(_TASKS)}",
            found=name,
            remedy="choose one of the tasks listed",
        ) from err


def task_list(text: str) -> list[str]:
    """The tasks that a flag names: `all`, or names separated by commas.

    Raises:
        SimulationError: One of them does not exist.
    """
    names = list(_TASKS) if text.strip() == "all" else [name.strip() for name in text.split(",")]
    return [task_named(name).name for name in names if name]


def sample_scene(task: str, seed: int, *, hard: bool = False, variant: str = "") -> SceneSpec:
    """Draws a scene. The same arguments always give the same scene.

    The hard version has the same objects in the same places as the clean one, in another room, with
    clutter around them.

    Args:
        task: Name of a task; scenes of different tasks differ.
        seed: Any integer.
        hard: Whether colours and texture of the room, light, clutter, table height and the overhead
            camera are drawn, too.
        variant: One of the task's `variants`, or empty for the usual scene.

    Raises:
        SimulationError: No such task or variant, or the objects do not fit.
    """
    chosen = task_named(task)
    if variant and variant not in chosen.variants:
        raise SimulationError(
            f"{task} has no such variant",
            where="sample_scene",
            expected=f"one of {['', *chosen.variants]}",
            found=variant,
            remedy="choose one of the variants listed",
        )
    parts = ("scene", task, variant, seed) if variant else ("scene", task, seed)
    objects = chosen.load(seeded(*parts), variant)
    if not hard:
        return SceneSpec(task, seed, objects, PLAIN, False, variant)
    rng = seeded("look", task, variant, seed)
    return SceneSpec(task, seed, (*objects, *clutter(rng, objects)), draw_look(rng), True, variant)


def goals(spec: SceneSpec) -> tuple[Goal, ...]:
    """Every goal that a scene allows for its own task."""
    return task_named(spec.task).goals(spec)


def sample_goal(spec: SceneSpec) -> Goal:
    """One of the goals of a scene, the same each time, spread evenly over scenes."""
    choices = goals(spec)
    return choices[int(seeded("goal", spec.task, spec.seed).integers(len(choices)))]
