"""Success over tasks: what is run, and how it is counted.

An episode is a scene, a goal and its sentence. It succeeds if the task is done at the end and every
factor that the goal fixes was complied with (`finevla.sim.score`).

Where a policy is measured, the expert goes first in the same scene: a scene that does not lie still
(`finevla.sim.stability`) or that the expert fails in tells nothing about the policy, so episode i of n
goes on to seed + i + n, seed + i + 2 n and so on; what was replaced is listed. Where the expert is
measured nothing is replaced, and a scene it cannot do counts against it.

A policy that does not take the sentence (a word it does not know) has failed the episode. Such refusals
are counted separately as well.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from finevla.errors import FineVLAError, SimulationError
from finevla.sim.goal import Goal
from finevla.sim.language import FAMILIES, render
from finevla.sim.rollout import Rollout
from finevla.sim.scene import SceneSpec
from finevla.sim.stability import check_stable
from finevla.sim.tasks import goals, sample_scene
from finevla.stages.evaluate.intervals import wilson
from finevla.stages.evaluate.seat import Seat, Step, run_goal, world

DIFFICULTIES = ("clean", "hard")
MOST_SEEDS = 20
"""Seeds that are tried for one episode."""

EXPERT = Seat("expert")
REFUSED, NOT_DONE, OTHERWISE, OUT_OF_REACH = "refused", "not done", "done otherwise", "out of reach"
"""Why an episode failed: sentence not taken; task not done, or not as asked; the expert found no way."""


@dataclass(frozen=True, slots=True)
class Job:
    """Episode `number` of `of` in one task and difficulty; `seed` is that of episode 0."""

    seat: Seat
    task: str
    difficulty: str
    number: int
    of: int
    seed: int
    replan_frames: int
    max_frames: int | None = None
    logged: bool = False

    @property
    def key(self) -> str:
        """Its name, unique within a result."""
        return f"{self.task}/{self.difficulty}/{self.number}"


@dataclass(frozen=True, slots=True)
class Episode:
    """What came of a job.

    Attributes:
        key: Name of the job.
        task: Its task.
        difficulty: clean or hard.
        seed: Of the scene that was used.
        goal: What was asked for, without what was left open.
        text: The instruction.
        success: The task was done as asked.
        reason: Why not; empty where it was.
        detail: Words for a person.
        points: The rubric, 0 to 100.
        frames: Length at 10 Hz.
        settled: Whether the run ended by coming to rest.
        inferences: How often the robot's mind was asked.
        seconds: Wall-clock time, checks by the expert included.
        replaced: Seeds that were not used, and why.
        steps: Instruction of each inference, where it is logged.
    """

    key: str
    task: str
    difficulty: str
    seed: int
    goal: Mapping[str, Any]
    text: str
    success: bool
    reason: str
    detail: str
    points: float
    frames: int
    settled: bool
    inferences: int
    seconds: float
    replaced: tuple[Mapping[str, Any], ...] = ()
    steps: tuple[Mapping[str, Any], ...] = ()


@dataclass(slots=True)
class Guard:
    """Sees to it that each inference of an episode got that episode's instruction, and keeps the record."""

    instruction_id: str
    text: str
    steps: list[Step] = field(default_factory=list)

    def __call__(self, step: Step) -> None:
        """Takes note of an inference.

        Raises:
            FineVLAError: The instruction was another episode's.
        """
        if (step.instruction_id, step.text) != (self.instruction_id, self.text):
            raise FineVLAError(
                "an episode got the instruction of another one",
                where=self.instruction_id,
                expected=f"{self.instruction_id}: {self.text!r}",
                found=f"{step.instruction_id}: {step.text!r}",
                remedy="report this: the numbers of this run would be worthless",
            )
        self.steps.append(step)


def plan_jobs(
    seat: Seat,
    tasks: Sequence[str],
    difficulties: Sequence[str],
    episodes: int,
    seed: int,
    *,
    replan_frames: int,
    max_frames: int | None = None,
    logged: bool = False,
) -> list[Job]:
    """All episodes to run. Clean and hard have the same seeds."""
    return [
        Job(seat, task, difficulty, number, episodes, seed, replan_frames, max_frames, logged)
        for task in tasks
        for difficulty in difficulties
        for number in range(episodes)
    ]


def asked(spec: SceneSpec, number: int) -> tuple[Goal, str]:
    """Goal and sentence of an episode: goals of the scene in turn, then sentences in turn."""
    choices = goals(spec)
    goal = choices[number % len(choices)]
    return goal, render(goal, (number // len(choices)) % len(FAMILIES))


def run_job(job: Job) -> Episode:
    """Runs one episode in this process's own world.

    Raises:
        SimulationError: No scene was found that lies still and that the expert can do.
        FineVLAError: An inference got another episode's instruction.
    """
    begun = time.monotonic()
    world(job.seat.sees)  # first: a world with cameras serves the checks, too
    spec, replaced = _scene(job)
    goal, text = asked(spec, job.number)
    guard = Guard(f"{job.key}/{spec.seed}", text)
    rollout, reason, detail = _run(job, spec, goal, guard)
    score = rollout.score if rollout is not None else None
    return Episode(
        key=job.key,
        task=job.task,
        difficulty=job.difficulty,
        seed=spec.seed,
        goal=goal.values(),
        text=text,
        success=not reason,
        reason=reason,
        detail=detail,
        points=score.points if score is not None else 0.0,
        frames=rollout.frames if rollout is not None else 0,
        settled=rollout is not None and rollout.settled,
        inferences=len(guard.steps),
        seconds=round(time.monotonic() - begun, 3),
        replaced=replaced,
        steps=tuple(asdict(step) for step in guard.steps) if job.logged else (),
    )


def _run(job: Job, spec: SceneSpec, goal: Goal, guard: Guard) -> tuple[Rollout | None, str, str]:
    """The rollout, why it failed (empty: it did not) and the details."""
    try:
        run = run_goal(
            job.seat,
            spec,
            goal,
            guard.text,
            instruction_id=guard.instruction_id,
            replan_frames=job.replan_frames,
            max_frames=job.max_frames,
            on_step=guard,
        )
    except SimulationError as err:
        if job.seat.kind != "expert":
            raise
        return None, OUT_OF_REACH, str(err)
    if run.rollout is None:
        return None, REFUSED, run.refused
    score = run.rollout.score
    if score.success:
        return run.rollout, "", ""
    missed = [name for name, ok in score.complied.items() if not ok]
    detail = f"not as asked: {', '.join(missed)}" if missed else ""
    return run.rollout, OTHERWISE if score.done else NOT_DONE, detail


def _scene(job: Job) -> tuple[SceneSpec, tuple[Mapping[str, Any], ...]]:
    """The scene of an episode, and the seeds that were passed over on the way to it."""
    replaced: list[Mapping[str, Any]] = []
    for turn in range(MOST_SEEDS):
        seed = job.seed + job.number + turn * job.of
        spec = sample_scene(job.task, seed, hard=job.difficulty == "hard")
        why = "" if job.seat.kind == "expert" else _flaw(job, spec)
        if not why:
            return spec, tuple(replaced)
        replaced.append({"seed": seed, "why": why})
    raise SimulationError(
        f"no scene was found that lies still and that the expert can do in {MOST_SEEDS} tries",
        where=f"{job.key}, from seed {job.seed + job.number} on",
        found=replaced[-1]["why"],
        remedy="give another --seed, or see `finevla evaluate closed-loop --policy expert`",
    )


def _flaw(job: Job, spec: SceneSpec) -> str:
    """Why a scene says nothing about a policy; empty where it does."""
    goal, text = asked(spec, job.number)
    try:
        check_stable(world(False), spec)
        run = run_goal(EXPERT, spec, goal, text)
    except SimulationError as err:
        return str(err)
    return "" if run.success else "the expert fails"


def summarize(episodes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Counts per task and difficulty, and over all tasks: `{"tasks": {TASK: {"clean": {...}}}, "all": ...}`.

    Args:
        episodes: Rows with the fields of `Episode`.
    """
    tasks = list(dict.fromkeys(row["task"] for row in episodes))
    kinds = [kind for kind in DIFFICULTIES if any(row["difficulty"] == kind for row in episodes)]

    def cell(task: str | None, kind: str) -> dict[str, Any]:
        return _cell([r for r in episodes if r["difficulty"] == kind and task in {None, r["task"]}])

    return {
        "tasks": {task: {kind: cell(task, kind) for kind in kinds} for task in tasks},
        "all": {kind: cell(None, kind) for kind in kinds},
    }


def _cell(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    n, done = len(rows), sum(row["success"] for row in rows)
    reasons = [row["reason"] for row in rows if row["reason"]]
    return {
        "n": n,
        "successes": done,
        "success": done / n,
        "ci95": list(wilson(done / n, n)),
        "refused": reasons.count(REFUSED),
        "reasons": {reason: reasons.count(reason) for reason in sorted(set(reasons))},
        "points": round(sum(row["points"] for row in rows) / n, 2),
        "frames": round(sum(row["frames"] for row in rows) / n, 1),
        "seconds": round(sum(row["seconds"] for row in rows) / n, 3),
        "replaced": [{"key": row["key"], **seed} for row in rows for seed in row["replaced"]],
    }
