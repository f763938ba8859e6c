"""Who sits in the robot's seat: a bundle's policy, the scripted expert, or an expert gone astray.

One world and one policy per process: a renderer takes seconds to come up, and is never made twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from finevla.contract import REPLAN_FRAMES, ActionChunk, Observation, load_contract
from finevla.errors import FineVLAError, InstructionError
from finevla.sim.factors import other, values
from finevla.sim.goal import Goal
from finevla.sim.rollout import Infer, Rollout, expert_infer, run_chunks
from finevla.sim.scene import SceneSpec, seeded
from finevla.sim.tasks import goals, task_named
from finevla.sim.world import World

if TYPE_CHECKING:
    from finevla.policy.inference import Policy

_WORLDS: dict[bool, World] = {}
"""The worlds that this process has made, by whether they have cameras."""

SeatKind = Literal["expert", "bundle", "ignore", "swap"]


@dataclass(frozen=True, slots=True)
class Seat:
    """Who acts.

    Attributes:
        kind: `bundle`: a policy. `expert`: the expert, which does what is asked. `ignore`: the expert,
            which does something that the scene allows, drawn without regard to what is asked. `swap`:
            the expert, which does another value of one factor than asked.
        bundle: Folder of the bundle, for `bundle`.
        factor: Which factor is swapped, for `swap`.
    """

    kind: SeatKind
    bundle: Path | None = None
    factor: str = ""

    @property
    def sees(self) -> bool:
        """Whether pictures are needed, and so a renderer."""
        return self.kind == "bundle"


@dataclass(frozen=True, slots=True)
class Step:
    """One inference: when, in simulated time, and with which instruction; as the chunk names it."""

    stamp_ns: int
    instruction_id: str
    text: str


@dataclass(frozen=True, slots=True)
class Run:
    """How a run ended.

    Attributes:
        rollout: Its score and length; None where the instruction was refused.
        refused: Why the policy did not take the instruction; empty where it did.
    """

    rollout: Rollout | None
    refused: str = ""

    @property
    def success(self) -> bool:
        """The task was done as asked."""
        return self.rollout is not None and self.rollout.score.success


def world(render: bool) -> World:
    """This process's one world, with or without cameras; one with cameras serves for both.

    Raises:
        SimulationError: No Vulkan device can render.
    """
    found = _WORLDS.get(True) or _WORLDS.get(render)
    if found is None:
        found = _WORLDS[render] = World(render=render)
    return found


@lru_cache(maxsize=1)
def policy_of(bundle: Path) -> Policy:
    """The policy of a bundle, warmed up; loaded once per process.

    Raises:
        BundleError: The bundle cannot be loaded.
    """
    # Imported late: experts act without torch.
    from finevla.policy.inference import load_policy

    policy = load_policy(bundle, load_contract())
    policy.warm_up()
    return policy


def run_goal(
    seat: Seat,
    spec: SceneSpec,
    goal: Goal,
    text: str,
    *,
    score_goal: Goal | None = None,
    instruction_id: str = "",
    replan_frames: int = REPLAN_FRAMES,
    max_frames: int | None = None,
    on_frame: Callable[[Observation], None] | None = None,
    on_step: Callable[[Step], None] | None = None,
    render: bool = False,
) -> Run:
    """Resets this process's world to a scene and lets whoever sits in the seat act there.

    Args:
        seat: Who acts.
        spec: The scene.
        goal: What is asked for; oracles act from it, and never read the text.
        text: The instruction that a policy gets.
        score_goal: What the score compares with; `goal` when None.
        instruction_id: Goes through the policy into each chunk.
        replan_frames: Frames from one inference to the next.
        max_frames: Where to give up; the task's own limit when None.
        on_frame: Called with each observation that is taken, pictures included.
        on_step: Called after each inference.
        render: Whether observations hold pictures where the seat itself needs none.

    Raises:
        SimulationError: No renderer, or something out of reach.
        BundleError: The bundle cannot be loaded.
    """
    cameras: tuple[str, ...] = ()
    place = world(seat.sees or render)
    if seat.bundle is not None:
        policy = policy_of(seat.bundle)
        try:
            policy.check_instruction(text)
        except InstructionError as err:
            return Run(None, err.what)
        cameras = policy.cameras
    elif render:
        cameras = tuple(place.contract.cameras)
    place.reset(spec)
    infer = _mind(seat, place, spec, goal, text, instruction_id)
    rollout = run_chunks(
        place,
        infer if on_step is None else _watched(infer, text, on_step),
        score_goal or goal,
        replan_frames=replan_frames,
        max_frames=max_frames or task_named(goal.task).max_frames,
        cameras=cameras,
        on_frame=on_frame,
    )
    return Run(rollout)


def acted_goal(seat: Seat, spec: SceneSpec, goal: Goal) -> Goal:
    """What an oracle really does when it is asked for `goal`.

    Raises:
        SimulationError: The factor to swap has no other value in this scene.
    """
    if seat.kind == "swap":
        return other(goal, seat.factor, spec)
    if seat.kind == "ignore":
        return _drawn(spec, goal)
    return goal


def _drawn(spec: SceneSpec, goal: Goal) -> Goal:
    """One of all goals that the scene allows, optional factors that were asked for included.

    The draw depends on the scene alone, so whoever ignores the words does the same for any of them.
    """
    rng = seeded("ignore", spec.task, spec.variant, spec.seed)
    choices = goals(spec)
    drawn = choices[int(rng.integers(len(choices)))]
    for name in task_named(goal.task).optional:
        if getattr(goal, name) and not getattr(drawn, name):
            options: tuple[Any, ...] = values(name, drawn, spec)
            drawn = drawn.with_values({name: options[int(rng.integers(len(options)))]})
    return drawn


def _mind(seat: Seat, place: World, spec: SceneSpec, goal: Goal, text: str, instruction_id: str) -> Infer:
    if seat.kind != "bundle":
        oracle = expert_infer(place, acted_goal(seat, spec, goal))
        return lambda observation: replace(oracle(observation), instruction_id=instruction_id)
    if seat.bundle is None:
        raise FineVLAError(
            "no bundle is given for the policy to measure",
            expected="a folder with a bundle",
            remedy="give one with --bundle",
        )
    policy = policy_of(seat.bundle)
    return lambda observation: policy.infer(observation, text, instruction_id)


def _watched(infer: Infer, text: str, on_step: Callable[[Step], None]) -> Infer:
    def watched(observation: Observation) -> ActionChunk:
        chunk = infer(observation)
        on_step(Step(observation.stamp_ns, chunk.instruction_id, text))
        return chunk

    return watched
