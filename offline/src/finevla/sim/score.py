"""Watches an episode from simulator truth and scores it: what was done, and was it as asked.

What the behaviour showed of each factor is decided by the rules of `finevla.sim.factors`. Further:

* **done** - the task's own test holds at the end (`Task.success`), whoever did it and in whichever way.
* **success** - done, and every factor that the goal fixes was complied with.
* **points** - 0 to 100, a rubric for partial credit, 20 points each:
  *reach* (pads of the arm asked for came within 4 cm of an object that is to be moved or pressed),
  *touch* (the fingers of that arm touched such an object), *move* (such an object rose by 3 cm, moved
  by 5 cm, turned by 20 degrees or was pressed by half its travel), *manner* (20 times the share of the
  fixed factors that were complied with) and *done*. An execution as asked has 100.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from finevla.sim.factors import FACTORS, observe
from finevla.sim.goal import Goal
from finevla.sim.log import EpisodeLog
from finevla.sim.scene import SceneSpec
from finevla.sim.tasks import task_named
from finevla.sim.truth import Truth

SHARE = 20.0
"""Points of each of the five parts of the rubric."""


@dataclass(frozen=True, slots=True)
class Score:
    """What an episode did, and how that compares with what was asked (rules: module docstring).

    Attributes:
        observed: What the behaviour showed of every factor that applies to the task; None: nothing.
        complied: For each factor that the goal fixes, whether the behaviour showed that value.
        done: The world is as the goal wants it.
        points: The rubric, 0 to 100.
        parts: The five parts of the rubric, each 0 to 1.
        lifted: Colours of the objects that were lifted or pressed, in that order.
    """

    observed: Mapping[str, Any]
    complied: Mapping[str, bool]
    done: bool
    points: float
    parts: Mapping[str, float] = field(default_factory=dict)
    lifted: tuple[str, ...] = ()

    @property
    def success(self) -> bool:
        """The task is done as asked."""
        return self.done and all(self.complied.values())

    @property
    def moved_arm(self) -> str | None:
        """The arm that acted."""
        return self.observed.get("arm")

    @property
    def lifted_color(self) -> str | None:
        """Colour of the first object that was lifted or pressed."""
        return self.lifted[0] if self.lifted else None

    @property
    def arm_complied(self) -> bool:
        """Whether the arm asked for acted; true where none was asked for."""
        return self.complied.get("arm", True)

    @property
    def color_complied(self) -> bool:
        """Whether the colour asked for was acted on; true where none was asked for."""
        return self.complied.get("color", True)


class EpisodeMonitor:
    """Watches one episode. Call `observe` often (every frame, or every few physics steps)."""

    def __init__(self, spec: SceneSpec) -> None:
        self.spec = spec
        self.log = EpisodeLog(spec)

    def observe(self, truth: Truth) -> None:
        """Takes note of one instant."""
        self.log.add(truth)

    def score(self, goal: Goal) -> Score:
        """The score of what was observed so far, for one goal.

        Raises:
            ValueError: Nothing was observed yet.
        """
        last = self.log.last
        task = task_named(goal.task)
        fields = ("arm", *(name for name in (*task.factors, *task.optional) if name != "arm"))
        observed = {name: observe(name, self.log, goal) for name in fields}
        fixed = goal.values()
        complied = {name: FACTORS[name].obeyed(fixed[name], observed.get(name)) for name in fixed}
        done = task.success(last, goal, self.spec)
        manner = sum(complied.values()) / len(complied)
        parts = {**self.log.progress(goal.arm), "manner": manner, "done": float(done)}
        return Score(
            observed, complied, done, round(SHARE * sum(parts.values()), 2), parts, self.log.acted_colors()
        )
