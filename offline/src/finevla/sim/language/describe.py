"""The fine-grained text of an episode, from the truth of what was done; never from what was meant."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from finevla.contract import RobotContract
from finevla.contract.dimensions import SLOTS, Dimension, DimensionValue
from finevla.sim.goal import Goal
from finevla.sim.language.course import course_of
from finevla.sim.language.description import Description
from finevla.sim.language.facts import Fact, end_facts, scene_facts, step_facts
from finevla.sim.language.render import raw
from finevla.sim.language.wording import (
    CONNECTIVES,
    DEPTH,
    DIRECTIONS,
    GRIPS,
    LATERAL,
    ORIGINS,
    POSES,
    WORDINGS,
)
from finevla.sim.log import EpisodeLog
from finevla.sim.scene import SceneSpec, seeded
from finevla.sim.truth import FloatArray

_ORDER = list(SLOTS)


def describe(
    spec: SceneSpec, goal: Goal, log: EpisodeLog, joints: FloatArray, contract: RobotContract
) -> Description:
    """Describes what happened; scene, task and arm of the goal also choose the wording.

    Args:
        spec: The scene.
        goal: Names the task; nothing else of it is said.
        log: What was where.
        joints: Measured joints over the episode, shape (T, 14), rad and m.
        contract: The robot.

    Raises:
        ValueError: Nothing was observed.
        SimulationError: No such task.
    """
    rng = seeded("describe", spec.task, spec.seed, spec.hard, goal)
    family = str(rng.choice(list(WORDINGS)))
    course = course_of(log)
    scene, done, end = scene_facts(course, contract, joints), step_facts(course), end_facts(course)
    steps = tuple(sentence(entry, family) for entry in done)
    told = [steps[0], *(_connected(step, rng) for step in steps[1:])] if steps else []
    texts = [
        *(sentence(entry, family) for entry in scene),
        *told,
        *(sentence(entry, family) for entry in end),
    ]
    values = [value for entry in (*scene, *done, *end) for value in entry.values]
    values.sort(key=lambda value: _ORDER.index(value.dimension))
    return Description(raw(goal.task), steps, " ".join(texts), _once(values), family)


def sentence(entry: Fact, family: str) -> str:
    """A fact in the words of a family."""
    fields = dict(entry.fields)
    if "origin" in fields:
        fields["origin"] = ORIGINS[fields["origin"]]
        fields["grip"] = GRIPS[family][fields["grip"]]
    if "direction" in fields:
        fields["direction"] = DIRECTIONS[fields["direction"]]
    if entry.kind == "tip":
        fields["pose"] = POSES[fields["pose"]]
    if "lateral" in fields:
        fields["where"] = _where(fields)
    text = WORDINGS[family][entry.kind].format_map(fields)
    return text[0].upper() + text[1:]


def _once(values: list[DimensionValue]) -> tuple[DimensionValue, ...]:
    """Without repetitions, but for the sequence of actions."""
    sequence = [value for value in values if value.dimension is Dimension.ACTION_SEQUENCE]
    others = [value for value in values if value.dimension is not Dimension.ACTION_SEQUENCE]
    return (*sequence, *dict.fromkeys(others))


def _where(fields: Mapping[str, str]) -> str:
    """Pose, support, place on the table and relation, as far as they are known."""
    parts = [
        fields["pose"],
        fields.get("where", ""),
        LATERAL.get(fields["lateral"], ""),
        DEPTH.get(fields["depth"], ""),
    ]
    if fields.get("relation"):
        way, _, thing = fields["relation"].partition("_of ")
        parts.append(f"to the {way} of {thing}")
    return " ".join(part for part in parts if part)


def _connected(step: str, rng: np.random.Generator) -> str:
    word = CONNECTIVES[int(rng.integers(len(CONNECTIVES)))]
    return f"{word}{step[0].lower()}{step[1:]}" if word else step
