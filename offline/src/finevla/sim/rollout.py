"""Whole episodes: demonstrations by the expert, and closed-loop runs of a policy.

Frame t of a demonstration holds the joints measured at t and the leader's command c at the same
instant. Between frames the leader moves in a straight line, so that the chunk
c(t), c(t + dt), ... describes exactly what the followers were told.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from finevla.contract import REPLAN_FRAMES, ActionChunk, Observation
from finevla.contract.frame import NS_PER_S
from finevla.contract.settle import SettleDetector
from finevla.sim.expert import Expert, Leader
from finevla.sim.goal import Goal
from finevla.sim.language import render
from finevla.sim.log import EpisodeLog
from finevla.sim.noise import Disturbance
from finevla.sim.scene import SceneSpec, seeded
from finevla.sim.score import EpisodeMonitor, Score
from finevla.sim.tasks import sample_scene, task_named
from finevla.sim.truth import FloatArray, Truth
from finevla.sim.world import World

HOLD_FRAMES = 10
"""Frames that a demonstration stays at its end, so that a policy learns to rest."""
OBSERVE_STEPS = 5
"""Physics steps from one look at the truth to the next, for the score: 20 ms."""

Image = NDArray[np.uint8]
Infer = Callable[[Observation], ActionChunk]


@dataclass(frozen=True, slots=True)
class Samples:
    """Streams at every physics step: N rows, the first at the stamp of the first frame."""

    stamps_ns: NDArray[np.int64]
    feedback: FloatArray
    leader: FloatArray


@dataclass(frozen=True, slots=True)
class Demonstration:
    """One episode of the expert. T frames at the contract's frame rate.

    Attributes:
        spec: The scene.
        goal: What was to be done.
        text: The sentence that asks for it.
        stamps_ns: Simulated time of each frame, shape (T,).
        states: Measured joints, shape (T, 14), rad and m.
        actions: Commands of the leader at the same instants, shape (T, 14), rad and m.
        images: Pictures by camera, one per frame; empty where not asked for.
        truths: What was where, per frame.
        samples: Streams at physics rate, where asked for.
        score: What the episode achieved.
        log: Truth at a finer spacing than `truths`, from the start to the end.
    """

    spec: SceneSpec
    goal: Goal
    text: str
    stamps_ns: NDArray[np.int64]
    states: FloatArray
    actions: FloatArray
    images: Mapping[str, list[Image]]
    truths: tuple[Truth, ...]
    samples: Samples | None
    score: Score
    log: EpisodeLog | None = None

    @property
    def success(self) -> bool:
        """Whether the expert did what was asked, in the way asked."""
        return self.score.success


@dataclass(frozen=True, slots=True)
class Rollout:
    """How a closed-loop run ended: its score, its length in frames, and whether it settled."""

    score: Score
    frames: int
    settled: bool


@dataclass(slots=True)
class _Tape:
    stamps_ns: list[int] = field(default_factory=list)
    states: list[FloatArray] = field(default_factory=list)
    actions: list[FloatArray] = field(default_factory=list)
    images: dict[str, list[Image]] = field(default_factory=dict)
    truths: list[Truth] = field(default_factory=list)
    sample_stamps_ns: list[int] = field(default_factory=list)
    feedback: list[FloatArray] = field(default_factory=list)
    leader: list[FloatArray] = field(default_factory=list)

    def frame(self, world: World, leader: Leader, cameras: Collection[str]) -> Truth:
        truth = world.truth()
        self.stamps_ns.append(world.time_ns)
        self.states.append(world.state())
        self.actions.append(leader.command)
        self.truths.append(truth)
        for name, image in (world.images(cameras) if cameras else {}).items():
            self.images.setdefault(name, []).append(image)
        return truth

    def sample(self, world: World, command: FloatArray) -> None:
        self.sample_stamps_ns.append(world.time_ns)
        self.feedback.append(world.state())
        self.leader.append(command)

    def samples(self) -> Samples:
        return Samples(
            np.array(self.sample_stamps_ns, dtype=np.int64), np.stack(self.feedback), np.stack(self.leader)
        )


def demonstrate(
    world: World,
    goal: Goal,
    seed: int,
    noise: float = 0.0,
    *,
    astray: bool = False,
    spec: SceneSpec | None = None,
    template: int | None = None,
    cameras: Collection[str] | None = None,
    samples: bool = False,
    max_frames: int | None = None,
) -> Demonstration:
    """Lets the expert do what a goal asks, from the home pose, and records it.

    The same arguments always give the same episode.

    Args:
        world: Is reset to the scene; goes on in time.
        goal: What to do.
        seed: Decides the scene (where `spec` is None), the disturbance and the sentence.
        noise: Strength of the disturbance of the followers; 0 is none, 1 the usual (`Disturbance`).
        astray: Whether the acting hand begins low over the table, as after a missed grasp.
        spec: The scene; drawn from the goal's task and the seed when None.
        template: Which sentence; drawn when None.
        cameras: Which cameras take a picture at every frame; all when None, `()` for none.
        samples: Whether to keep joints and commands at every physics step.
        max_frames: Where to give up; the task's own limit when None.

    Raises:
        SimulationError: The scene lacks the goal's cube, or something is out of reach.
    """
    spec = spec or sample_scene(goal.task, seed)
    rng = seeded("demonstration", goal, seed)
    text = render(goal, int(rng.integers(1 << 16)) if template is None else template)
    expert, monitor, tape = Expert(goal, spec, world.contract), EpisodeMonitor(spec), _Tape()
    disturbance = Disturbance(world.contract, goal.arm, noise, rng)
    world.reset(spec)
    home = world.contract.home
    leader = Leader.at_rest(disturbance.astray(home, spec) if astray else disturbance.start(home))
    world.set_arms(leader.command)
    monitor.observe(world.truth())
    taking = tuple(world.contract.cameras) if cameras is None else tuple(cameras)
    rest, limit = 0, max_frames or task_named(goal.task).max_frames
    while len(tape.states) < limit:
        truth = tape.frame(world, leader, taking)
        rest = rest + 1 if expert.at_goal(leader, truth) else 0
        if rest >= HOLD_FRAMES:
            break
        following = expert.advance(leader, truth, world.contract.frame_period_s)
        offset = disturbance.next(leader.command, following.command)
        _follow(world, leader.command, following.command, offset, tape if samples else None, monitor)
        leader = following
    return Demonstration(
        spec,
        goal,
        text,
        np.array(tape.stamps_ns, dtype=np.int64),
        np.stack(tape.states),
        np.stack(tape.actions),
        tape.images,
        tuple(tape.truths),
        tape.samples() if samples else None,
        monitor.score(goal),
        monitor.log,
    )


def run_chunks(
    world: World,
    infer: Infer,
    goal: Goal,
    *,
    replan_frames: int = REPLAN_FRAMES,
    max_frames: int | None = None,
    cameras: Collection[str] = (),
    on_frame: Callable[[Observation], None] | None = None,
) -> Rollout:
    """Runs a policy in the scene that the world holds, until it settles or time is up.

    Every physics step executes `ActionChunk.sample` of the newest chunk, as the driver does.

    Args:
        world: Already reset to a scene.
        infer: Observation in, chunk out; knows its instruction by itself.
        goal: What the score compares with.
        replan_frames: Frames from one inference to the next.
        max_frames: Where to give up; the task's own limit when None.
        cameras: What the policy sees; pictures are taken only when it is asked.
        on_frame: Called with each observation that is taken (pictures included).

    Raises:
        SimulationError: The world was not reset to a scene.
    """
    spec = world.scene()
    monitor, settle = EpisodeMonitor(spec), SettleDetector(world.contract)
    steps = _steps_per_frame(world)
    monitor.observe(world.truth())
    frames, settled, limit = 0, False, max_frames or task_named(goal.task).max_frames
    while frames < limit and not settled:
        observation = Observation(world.time_ns, world.state(), world.images(cameras) if cameras else {})
        if on_frame is not None:
            on_frame(observation)
        chunk = infer(observation)
        settled = settle.observe(chunk, observation.state)
        for _ in range(min(replan_frames, limit - frames)):
            for k in range(steps):
                if chunk.horizon:
                    world.command(chunk.sample(world.time_ns))
                world.step()
                if (k + 1) % OBSERVE_STEPS == 0:
                    monitor.observe(world.truth())
            frames += 1
    return Rollout(monitor.score(goal), frames, settled)


def expert_infer(world: World, goal: Goal) -> Infer:
    """The expert in the shape of a policy: it looks at the truth instead of the pictures.

    Its leader arms go on from where the last chunk has led them.
    """
    expert, period = Expert(goal, world.scene(), world.contract), world.contract.frame_period_s
    chunks: list[ActionChunk] = []

    def infer(observation: Observation) -> ActionChunk:
        truth, now = world.truth(), observation.stamp_ns
        leader = expert.leader_from(observation.state, truth)
        if chunks:
            command, before = chunks[-1].sample(now), chunks[-1].sample(now - round(period * NS_PER_S))
            leader = Leader(command, (command - before) / period)
        targets = expert.plan(leader, truth, world.contract.horizon, period)
        chunks[:] = [ActionChunk(now, period, targets, now, "", "expert")]
        return chunks[0]

    return infer


def _steps_per_frame(world: World) -> int:
    return round(world.contract.frame_period_s / world.dt_s)


def _follow(
    world: World,
    start: FloatArray,
    end: FloatArray,
    offset: FloatArray,
    tape: _Tape | None,
    monitor: EpisodeMonitor,
) -> None:
    """One frame of the followers: the leader's straight line, plus the disturbance."""
    steps = _steps_per_frame(world)
    for k in range(steps):
        command = start + (end - start) * (k / steps)
        if tape is not None:
            tape.sample(world, command)
        world.command(command + offset)
        world.step()
        if (k + 1) % OBSERVE_STEPS == 0:
            monitor.observe(world.truth())
