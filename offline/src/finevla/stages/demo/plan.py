"""Which instructions a demonstration issues: fresh scenes, pairs that differ in one word."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count

import numpy as np

from finevla.errors import FineVLAError
from finevla.sim.factors import other
from finevla.sim.goal import Goal
from finevla.sim.language import render, templates
from finevla.sim.scene import SceneSpec
from finevla.sim.tasks import DEMO_TASKS, sample_goal, sample_scene
from finevla.stages.demo.rows import Trial

TASKS = DEMO_TASKS
FACTORS = ("arm", "color")
SHOWN_COLORS = frozenset({"red", "blue"})
"""Pairs that vary the colour take the next scene that holds these two cubes."""
FIRST_SEED, SEED_SPAN = 500_000, 400_000
"""Seeds of demonstration scenes: below 1 000 000, where recordings begin, so none was trained on."""


def changed_word(text: str, other_text: str) -> str:
    """The one word of `text` that differs from `other_text`.

    Raises:
        ValueError: The sentences differ in more or less than one word.
    """
    words, others = text.split(), other_text.split()
    differing = [mine for mine, theirs in zip(words, others, strict=False) if mine != theirs]
    if len(words) != len(others) or len(differing) != 1:
        raise ValueError(f"not one word apart: {text!r} and {other_text!r}")
    return differing[0]


def pair_trials(
    spec: SceneSpec, goal: Goal, factor: str, template: int, pair: int, first_index: int
) -> tuple[Trial, Trial]:
    """The two trials of a pair: `goal` and the goal that differs from it in `factor` only."""
    goals = (goal, other(goal, factor, spec))
    texts = [render(member, template) for member in goals]
    first, second = (
        Trial(
            index=first_index + i,
            pair=pair,
            factor=factor,
            seed=spec.seed,
            goal=goals[i],
            text=texts[i],
            changed=changed_word(texts[i], texts[1 - i]),
            variant=spec.variant,
            hard=spec.hard,
        )
        for i in range(2)
    )
    return first, second


def _scenes(task: str, factor: str, seeds: Iterator[int]) -> Iterator[SceneSpec]:
    for seed in seeds:
        spec = sample_scene(task, seed)
        if factor != "color" or set(spec.colors) == SHOWN_COLORS:
            yield spec


def plan(instructions: int, seed: int, tasks: Sequence[str] = TASKS) -> tuple[Trial, ...]:
    """The trials of a demonstration, pair after pair: arm and colour in turn, for each task in turn.

    Args:
        instructions: Even number of instructions.
        seed: The same seed gives the same scenes and sentences.
        tasks: Tasks that the policy has learned.

    Raises:
        FineVLAError: The number is odd or negative.
    """
    if instructions < 0 or instructions % 2:
        raise FineVLAError(
            "a demonstration consists of pairs of instructions",
            expected="an even number, at least 8 to show arm and color in both tasks",
            found=instructions,
            remedy="give --instructions 8",
        )
    rng = np.random.default_rng(seed)
    seeds = count(FIRST_SEED + int(rng.integers(SEED_SPAN)))
    trials: list[Trial] = []
    for pair in range(instructions // 2):
        task = tasks[(pair // len(FACTORS)) % len(tasks)]
        factor = FACTORS[pair % len(FACTORS)]
        spec = next(_scenes(task, factor, seeds))
        template = int(rng.integers(len(templates(task))))
        trials += pair_trials(spec, sample_goal(spec), factor, template, pair, len(trials))
    return tuple(trials)
