"""Runs pairs: in this process's own world, or over several processes.

A sentence goes the way it goes on the robot: first the rules of the instruction node
(`finevla.contract.instruction`), then the policy's own check. What either refuses is not run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from finevla.contract import REPLAN_FRAMES, Observation, load_contract
from finevla.contract.instruction import RejectedInstructionError, parse
from finevla.errors import SimulationError
from finevla.sim.factors import other
from finevla.sim.goal import Goal
from finevla.sim.language.probes import probes
from finevla.sim.scene import SceneSpec
from finevla.sim.truth import FloatArray
from finevla.stages.evaluate.film import Picture, film, small
from finevla.stages.evaluate.outcome import Outcome, ProbeResult, RunResult
from finevla.stages.evaluate.plan import Pair
from finevla.stages.evaluate.seat import Seat, Step, policy_of, run_goal, world
from finevla.stages.pool import worker_pool

STILL = 0.02
"""Arms that no joint leaves its start by more than this, rad or m, stayed where they were."""
PARTS = ("physics", "rendering", "inference")
"""Where the time of a run goes; physics with the reset of the scene and the look at the truth."""


@dataclass(frozen=True, slots=True)
class Runner:
    """How runs are made.

    Attributes:
        seat: Who acts.
        replan_frames: Frames from one inference to the next.
        max_frames: Where a run is ended; the task's own limit when None.
    """

    seat: Seat
    replan_frames: int = REPLAN_FRAMES
    max_frames: int | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A pair to run, whether its first sentence is also probed, and whether it is filmed."""

    pair: Pair
    probed: bool = False
    filmed: bool = False


def run_job(runner: Runner, job: Job) -> Outcome:
    """Runs both instructions of a pair, then the probes, in this process's own world.

    Raises:
        SimulationError: No renderer, or something out of reach; the scene is named.
        BundleError: The bundle cannot be loaded.
    """
    try:
        return _run_job(runner, job)
    except SimulationError as err:
        pair = job.pair
        place = f"{pair.factor}, pair {pair.number}: {pair.spec.task}, scene seed {pair.spec.seed}"
        raise SimulationError(
            f"a pair could not be run: {err.what}",
            where=f"{place}; {err.where}",
            expected=err.expected,
            found=err.found,
            remedy=err.remedy,
        ) from err


def _run_job(runner: Runner, job: Job) -> Outcome:
    pair = job.pair
    watches = [_Watch(job.filmed) for _ in pair.goals]
    runs = tuple(
        run_text(runner, pair.spec, goal, text, watch)
        for goal, text, watch in zip(pair.goals, pair.texts, watches, strict=True)
    )
    tried = tuple(
        ProbeResult(probe.name, probe.text, probe.expect, _run_probe(runner, pair, probe.text))
        for probe in (probes(pair.goals[0], pair.template) if job.probed else ())
    )
    movie, error = film([watch.pictures for watch in watches]) if job.filmed else (b"", "")
    return Outcome(pair, runs, tried, movie, error)


def _run_probe(runner: Runner, pair: Pair, text: str) -> RunResult:
    return run_text(runner, pair.spec, pair.goals[0], text, _Watch(keep=False))


def run_text(runner: Runner, spec: SceneSpec, goal: Goal, text: str, watch: _Watch) -> RunResult:
    """One sentence in one scene, from the start.

    Raises:
        SimulationError, BundleError: As in `run_job`.
    """
    seat = _seat_for(runner.seat, goal, spec)
    reason = _not_heard(seat, text)
    if reason:
        return RunResult.refusal(goal, reason)
    world(seat.sees or watch.keep)  # made before the clock starts, as is the policy
    if seat.bundle is not None:
        policy_of(seat.bundle)
    begun = time.perf_counter()
    run = run_goal(
        seat,
        spec,
        goal,
        text,
        replan_frames=runner.replan_frames,
        max_frames=runner.max_frames,
        on_frame=watch.on_frame,
        on_step=watch.on_step,
        render=watch.keep,
    )
    spent = time.perf_counter() - begun
    if run.rollout is None:
        return RunResult.refusal(goal, run.refused)
    rendering = min(_picture_seconds(seat, watch) * watch.count, spent - watch.inference_s)
    seconds = (spent - watch.inference_s - rendering, rendering, watch.inference_s)
    return RunResult.of(
        run.rollout,
        still=watch.travel <= STILL,
        seconds=dict(zip(PARTS, (round(value, 4) for value in seconds), strict=True)),
    )


def _seat_for(seat: Seat, goal: Goal, spec: SceneSpec) -> Seat:
    """Who swaps one factor does as asked wherever the words leave that factor open."""
    if seat.kind != "swap":
        return seat
    try:
        other(goal, seat.factor, spec)
    except SimulationError:
        return Seat("expert")
    return seat


def _not_heard(seat: Seat, text: str) -> str:
    """Why the instruction node would not pass a sentence on; empty where it would.

    The experts act on goals, not on words. One that is to follow the words also takes none in which
    nothing is understood; a policy must know by itself, and one that ignores the words never minds.
    """
    try:
        parsed = parse(text)
    except RejectedInstructionError as err:
        return err.reason_code
    return "not_understood" if seat.kind in {"expert", "swap"} and not parsed.values else ""


@dataclass(slots=True)
class _Watch:
    """Looks on during a run: times inference, keeps how far joints went and, if asked, pictures."""

    keep: bool
    pictures: list[Picture] = field(default_factory=list)
    cameras: tuple[str, ...] = ()
    count: int = 0
    inference_s: float = 0.0
    travel: float = 0.0
    _start: FloatArray | None = None
    _seen: float = 0.0

    def on_frame(self, observation: Observation) -> None:
        """Takes note of an observation; inference begins."""
        if self._start is None:
            self._start = observation.state.copy()
        self.travel = max(self.travel, float(np.abs(observation.state - self._start).max()))
        if observation.images:
            self.cameras, self.count = tuple(observation.images), self.count + 1
        if self.keep and observation.images:
            pivot = load_contract().sync.pivot
            name = pivot if pivot in observation.images else self.cameras[0]
            self.pictures.append(small(observation.images[name]))
        self._seen = time.perf_counter()

    def on_step(self, _: Step) -> None:
        """Inference has ended."""
        self.inference_s += time.perf_counter() - self._seen


def _picture_seconds(seat: Seat, watch: _Watch) -> float:
    """Time of one set of pictures as the run took them, s: one more set of the last scene is timed."""
    if not watch.count:
        return 0.0
    begun = time.perf_counter()
    world(seat.sees or watch.keep).images(watch.cameras)
    return time.perf_counter() - begun


def outcomes_of(runner: Runner, jobs: Sequence[Job], workers: int) -> Iterator[Outcome]:
    """Runs all jobs; gives outcomes as they come, in any order.

    What an outcome holds depends on its job alone, not on the number of processes.

    Raises:
        SimulationError, BundleError: As in `run_job`; what is not yet begun is given up.
    """
    work: Callable[[Job], Outcome] = partial(run_job, runner)
    if workers <= 1 or len(jobs) <= 1:
        yield from map(work, jobs)
        return
    pool = worker_pool(min(workers, len(jobs)))
    try:
        for done in as_completed([pool.submit(work, job) for job in jobs]):
            yield done.result()
    finally:
        pool.shutdown(cancel_futures=True)
