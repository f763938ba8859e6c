"""Scores an episode from simulator truth: which arm acted, on which cube, and was it done.

The rules, in full:

* **acting arm** - an arm whose finger pads moved by 5 cm or more since the first observation and came
  within 8 cm of the center of a cube, whether or not anything was lifted. (Judging by lifts alone
  would call an idle policy obedient; judging by motion alone, one that waves its arms.)
* **moved arm** - the acting arm that came nearest to a cube. None where no arm acted.
* **lifted color** - the first cube whose center rose by 3 cm or more. None where none did.
* **arm complied** - the arm asked for acted, and the other one did not.
* **color complied** - the lifted cube is the one asked for and no other cube was lifted. Where no
  cube was lifted: the only cube that any pads came within 3 cm of is the one asked for.
* **done** - the task's own test holds now (`Task.done`).
* **success** - done, and both complied.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from finevla.contract import ARM_SIDES
from finevla.sim.language import Goal
from finevla.sim.scene import SceneSpec
from finevla.sim.tasks import HOLD_M, LIFTED_M, task_named
from finevla.sim.truth import Truth

MOVED_M = 0.05
NEAR_M = 0.08


@dataclass(frozen=True, slots=True)
class Score:
    """What an episode did, and how that compares with what was asked (rules: module docstring)."""

    moved_arm: str | None
    lifted_color: str | None
    arm_complied: bool
    color_complied: bool
    done: bool

    @property
    def success(self) -> bool:
        """The task is done as asked."""
        return self.done and self.arm_complied and self.color_complied


class EpisodeMonitor:
    """Watches one episode. Call `observe` often (every frame, or every physics step)."""

    def __init__(self, spec: SceneSpec) -> None:
        self.spec = spec
        self._first: Truth | None = None
        self._last: Truth | None = None
        self._nearest = {(side, color): np.inf for side in ARM_SIDES for color in spec.colors}
        self._moved = dict.fromkeys(ARM_SIDES, 0.0)
        self._lifted: list[str] = []

    def observe(self, truth: Truth) -> None:
        """Takes note of one instant."""
        first = self._first = self._first or truth
        self._last = truth
        for side in ARM_SIDES:
            tip = truth.tips[side]
            self._moved[side] = max(self._moved[side], float(np.linalg.norm(tip - first.tips[side])))
            for color in self.spec.colors:
                distance = float(np.linalg.norm(tip - truth.cubes[color][:3]))
                self._nearest[side, color] = min(self._nearest[side, color], distance)
        for color in self.spec.colors:
            rise = float(truth.cubes[color][2] - first.cubes[color][2])
            if rise >= LIFTED_M and color not in self._lifted:
                self._lifted.append(color)

    def score(self, goal: Goal) -> Score:
        """The score of what was observed so far, for one goal.

        Raises:
            ValueError: Nothing was observed yet.
        """
        if self._last is None:
            raise ValueError("observe at least one instant before scoring")
        acting = self._acting()
        return Score(
            moved_arm=acting[0] if acting else None,
            lifted_color=self._lifted[0] if self._lifted else None,
            arm_complied=acting == [goal.arm],
            color_complied=(self._lifted or self._touched()) == [goal.color],
            done=task_named(goal.task).done(self._last, goal),
        )

    def _acting(self) -> list[str]:
        """Arms that acted, the one that came nearest to a cube first."""
        reached = {side: min(self._nearest[side, color] for color in self.spec.colors) for side in ARM_SIDES}
        acting = [side for side in ARM_SIDES if self._moved[side] >= MOVED_M and reached[side] < NEAR_M]
        return sorted(acting, key=lambda side: reached[side])

    def _touched(self) -> list[str]:
        near = {color for (_, color), distance in self._nearest.items() if distance < HOLD_M}
        return sorted(near)
