"""What happens in the scene since its last reset: truth for the topic, and the score of an instruction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from finevla.contract.instruction import asked, parse
from finevla.contract.robot import ARM_SIDES, RobotContract
from finevla.errors import SimulationError
from finevla.sim.language import Goal
from finevla.sim.scene import SceneSpec
from finevla.sim.score import EpisodeMonitor, Score
from finevla.sim.tasks import HOLD_M, task_names
from finevla.sim.truth import Truth

BOWL = "bowl"
"""Name of the bowl among the objects."""
HELD_LIFT_M = 0.005
"""A cube near a hand counts as held once it has left the table by this much."""


@dataclass(frozen=True, slots=True)
class ObjectReport:
    """One object: where it is (m, contract frame), how far above its first place, who holds it."""

    name: str
    color: str
    position: tuple[float, float, float]
    lift_m: float
    held_by: str


@dataclass(frozen=True, slots=True)
class TruthReport:
    """The scene at `stamp_ns`; `travel` is how far left and right arm moved since the reset, rad."""

    stamp_ns: int
    task: str
    seed: int
    travel: tuple[float, ...]
    objects: tuple[ObjectReport, ...]


@dataclass(frozen=True, slots=True)
class Judgement:
    """Whether an instruction was obeyed; empty texts: it leaves this open, or nothing happened."""

    asked_arm: str
    asked_color: str
    score: Score


class SceneWatch:
    """Watches one scene from its reset on."""

    def __init__(self, spec: SceneSpec, contract: RobotContract) -> None:
        self.spec = spec
        self._contract = contract
        self._monitor = EpisodeMonitor(spec)
        self._first: Truth | None = None
        self._joints: NDArray[np.float64] | None = None
        self._travel = dict.fromkeys(ARM_SIDES, 0.0)

    def observe(self, truth: Truth, joints: NDArray[np.float64]) -> None:
        """Takes note of one instant: truth, and joints of shape (14,), rad and m."""
        self._first = self._first or truth
        self._monitor.observe(truth)
        if self._joints is not None:
            moved = np.abs(joints - self._joints)
            for side in ARM_SIDES:
                part = self._contract.arm_slice(side)
                self._travel[side] += float(moved[part.start : part.stop - 1].sum())
        self._joints = joints

    def report(self, truth: Truth, stamp_ns: int) -> TruthReport:
        """The scene as the truth topic shows it."""
        first = self._first or truth
        cubes = [self._cube(color, truth, first) for color in self.spec.colors]
        bowl = ObjectReport(BOWL, "", _xyz(truth.bowl), 0.0, "")
        travel = tuple(self._travel[side] for side in ARM_SIDES)
        return TruthReport(stamp_ns, self.spec.task, self.spec.seed, travel, (*cubes, bowl))

    @staticmethod
    def _cube(color: str, truth: Truth, first: Truth) -> ObjectReport:
        place = truth.cubes[color][:3]
        lift = float(place[2] - first.cubes[color][2])
        near = [side for side in ARM_SIDES if np.linalg.norm(truth.tips[side] - place) < HOLD_M]
        held_by = near[0] if near and lift > HELD_LIFT_M else ""
        return ObjectReport(f"{color}_cube", color, _xyz(place), lift, held_by)

    def judge(self, text: str) -> Judgement:
        """Compares what happened with what an instruction asked for.

        What the instruction leaves open is taken as obeyed.

        Raises:
            InstructionError: The text is no instruction.
            SimulationError: It asks for what this scene cannot show.
        """
        arm, color, task = asked(parse(text))
        task = task or self.spec.task
        for name, value, known in (
            ("arm", arm, ARM_SIDES),
            ("colour", color, self.spec.colors),
            ("task", task, task_names()),
        ):
            if value is not None and value not in known:
                raise SimulationError(
                    f"the scene cannot show the {name} that the instruction asks for",
                    where=text,
                    expected=f"one of {list(known)}",
                    found=value,
                    remedy="ask for something that is there, or reset the scene",
                )
        seen = self._monitor.score(Goal(task, arm or ARM_SIDES[0], color or self.spec.colors[0]))
        goal = Goal(
            task, arm or seen.moved_arm or ARM_SIDES[0], color or seen.lifted_color or self.spec.colors[0]
        )
        return Judgement(arm or "", color or "", self._monitor.score(goal))


def _xyz(values: NDArray[np.float64]) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in values[:3])
    return x, y, z
