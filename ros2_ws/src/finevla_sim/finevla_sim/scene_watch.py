"""What happens in the scene since its last reset: truth for the topic, and the score of an instruction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finevla.contract.robot import ARM_SIDES, RobotContract
from finevla.sim.goal import Goal
from finevla.sim.scene import ObjectSpec, SceneSpec
from finevla.sim.score import SHARE, EpisodeMonitor, Score
from finevla.sim.tasks import goals
from finevla.sim.tasks.skills import HOLD_M
from finevla.sim.truth import Truth
from finevla_sim.wish import Wish, wish_of

HELD_LIFT_M = 0.005
"""An object near a hand counts as held once it has left the table by this much."""


@dataclass(frozen=True, slots=True)
class ObjectReport:
    """One object: pose, shape (7,), m and wxyz; height above its first place; holder; button."""

    name: str
    color: str
    pose: NDArray[np.float64]
    lift_m: float
    held_by: str
    pressed_m: float


@dataclass(frozen=True, slots=True)
class TruthReport:
    """The scene at `stamp_ns`; `travel` is how far left and right arm moved since the reset, rad."""

    stamp_ns: int
    spec: SceneSpec
    travel: tuple[float, ...]
    objects: tuple[ObjectReport, ...]


@dataclass(frozen=True, slots=True)
class Judgement:
    """Whether an instruction was obeyed.

    Attributes:
        asked: Values of the factors that it fixes, by field of `Goal`; what it leaves open is absent.
        score: The score; what is left open counts as obeyed.
    """

    asked: Mapping[str, Any]
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
        objects = tuple(_report(item, truth, first) for item in self.spec.objects)
        travel = tuple(self._travel[side] for side in ARM_SIDES)
        return TruthReport(stamp_ns, self.spec, travel, objects)

    def judge(self, text: str) -> Judgement:
        """Compares what happened with what an instruction asked for.

        What the instruction leaves open is taken as obeyed.

        Raises:
            InstructionError: The text is no instruction.
            SimulationError: It asks for what this scene cannot show.
        """
        wish = wish_of(text, self.spec)
        score = self._monitor.score(self._filled(wish))
        complied = {name: score.complied[name] for name in wish.values}
        manner = sum(complied.values()) / len(complied) if complied else 1.0
        parts = {**score.parts, "manner": manner}
        points = round(SHARE * sum(parts.values()), 2)
        return Judgement(wish.values, replace(score, complied=complied, parts=parts, points=points))

    def _filled(self, wish: Wish) -> Goal:
        """A whole goal: what the sentence leaves open is taken as it was done, as far as a goal allows it."""
        choices = wish.matching() or tuple(goal.with_values(wish.values) for goal in goals(wish.spec))
        seen = self._monitor.score(choices[0]).observed
        # The first of those that agree most with what was done, so that the answer is always the same.
        return max(choices, key=lambda goal: sum(seen.get(n) == v for n, v in goal.values().items()))


def _report(item: ObjectSpec, truth: Truth, first: Truth) -> ObjectReport:
    pose = truth.objects[item.name]
    lift = float(pose[2] - first.objects[item.name][2])
    near = [side for side in ARM_SIDES if np.linalg.norm(truth.tips[side] - pose[:3]) < HOLD_M]
    held_by = near[0] if near and lift > HELD_LIFT_M else ""
    return ObjectReport(item.name, item.color, pose, lift, held_by, truth.joints.get(item.name, 0.0))
