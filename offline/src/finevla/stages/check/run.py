"""Simulates episodes without pictures, describes each, and checks the text against the recording."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from finevla.contract.robot import RobotContract
from finevla.errors import SimulationError
from finevla.sim.factors import variations
from finevla.sim.goal import Goal
from finevla.sim.language.check import claims_in, contradictions, instruction_contradictions
from finevla.sim.language.describe import describe
from finevla.sim.language.description import Description
from finevla.sim.language.witness import Episode
from finevla.sim.log import EpisodeLog
from finevla.sim.rollout import Demonstration, demonstrate
from finevla.sim.scene import SceneSpec
from finevla.sim.tasks import sample_scene, task_named
from finevla.sim.world import World

KINDS = (("clean", False, 0.0), ("noise", False, 1.0), ("hard", True, 0.0), ("hard, noise", True, 1.0))
"""Name, version of the scene, and strength of the disturbance; episodes take them in turn."""


@dataclass(frozen=True, slots=True)
class Job:
    """One episode: its task, its number among those of the task, and its seed."""

    task: str
    number: int
    seed: int


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of an episode; `problem` says why it was not simulated, and is empty where it was."""

    job: Job
    kind: str
    success: bool
    claims: int
    words: int
    contradictions: tuple[str, ...]
    problem: str = ""


def plan(tasks: Sequence[str], episodes: int, seed: int) -> list[Job]:
    """The episodes, tasks in turn."""
    return [Job(tasks[i % len(tasks)], i // len(tasks), seed + i // len(tasks)) for i in range(episodes)]


def episode_of(demo: Demonstration, contract: RobotContract) -> Episode:
    """A demonstration as what was recorded of it: joints and poses, nothing else."""
    first = demo.truths[0]
    return Episode(
        demo.spec,
        demo.states,
        {name: np.stack([truth.objects[name] for truth in demo.truths]) for name in first.objects},
        {name: np.array([truth.joints[name] for truth in demo.truths]) for name in first.joints},
        contract,
        demo.text,
    )


def description_of(demo: Demonstration, contract: RobotContract) -> Description:
    """The fine-grained text of a demonstration."""
    log = EpisodeLog(demo.spec)
    for truth in demo.truths:
        log.add(truth)
    return describe(demo.spec, demo.goal, log, demo.states, contract)


def check_episode(job: Job) -> Checked:
    """Simulates, describes and checks one episode; scene, goal and disturbance follow from the job."""
    kind, hard, noise = KINDS[job.number % len(KINDS)]
    try:
        spec, goal = _scene(job, hard=hard)
        world = _world()
        demo = demonstrate(world, goal, job.seed, noise, spec=spec, cameras=())
    except SimulationError as err:
        return Checked(job, kind, False, 0, 0, (), str(err))
    text, episode = description_of(demo, world.contract), episode_of(demo, world.contract)
    found, claims = contradictions(text, episode), claims_in(text)
    if demo.success:
        found = (*found, *instruction_contradictions(episode, job.task))
        claims += len(goal.values())
    return Checked(job, kind, demo.success, claims, len(text.paragraph.split()), found)


def _scene(job: Job, *, hard: bool) -> tuple[SceneSpec, Goal]:
    variants = ("", *task_named(job.task).variants)
    turn = job.number // len(KINDS)
    spec = sample_scene(job.task, job.seed, hard=hard, variant=variants[turn % len(variants)])
    goals = variations(spec)
    # A step that shares no factor with usual numbers of goals, so that all values come up in all kinds.
    return spec, goals[(7 * job.number + turn) % len(goals)]


@lru_cache(maxsize=1)
def _world() -> World:
    return World(render=False)
