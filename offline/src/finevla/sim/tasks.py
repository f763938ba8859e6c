"""The tasks: where the hand goes next, and when the task is done.

A task is a pure function of what is there now (a `View`), never of how it came about. So the
expert can take over from any state, and needs neither phases nor counters.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from finevla.errors import SimulationError
from finevla.sim.language import Goal
from finevla.sim.scene import BOWL_HEIGHT_M, BOWL_RADIUS_M, CUBE_EDGE_M
from finevla.sim.truth import FloatArray, Truth

OPEN_M = 0.070
CLOSED_M = 0.0
GRASP_Z_M = 0.021
"""Height of the finger pads' middle when they close; the fingers clear the table by 5 mm."""
HOVER_Z_M = 0.095
LIFT_Z_M = 0.120
DROP_Z_M = 0.068
LIFTED_M = 0.030
"""A cube counts as lifted when its center has risen by this much."""
HOLD_M = 0.030
"""A cube is in a hand when its center is nearer than this to the middle of the finger pads."""

_CENTERED_M = 0.010
_FUNNEL = 0.12


@dataclass(frozen=True, slots=True)
class View:
    """What the acting arm has before it. Points in the world frame, shape (3,), m.

    Attributes:
        tip: Measured point between the finger pads.
        commanded_tip: The same point if the arm were where it is commanded to be.
        opening: Measured opening of the gripper.
        grip: Commanded opening of the gripper.
        cube: Center of the cube that the goal names.
        bowl: Center of the bowl's underside.
    """

    tip: FloatArray
    commanded_tip: FloatArray
    opening: float
    grip: float
    cube: FloatArray
    bowl: FloatArray

    @property
    def held(self) -> bool:
        """Whether the cube is between closed fingers."""
        near = float(np.linalg.norm(self.tip - self.cube)) < HOLD_M
        return near and self.grip <= 0.012 and self.opening > 0.020


@dataclass(frozen=True, slots=True)
class Waypoint:
    """Where the finger pads shall go next (world, m) and how far they shall open (m)."""

    tip: FloatArray
    opening: float


class Task(ABC):
    """One thing that can be asked for."""

    name: str

    @abstractmethod
    def waypoint(self, view: View) -> Waypoint:
        """Where the acting hand goes next."""

    @abstractmethod
    def done(self, truth: Truth, goal: Goal) -> bool:
        """Whether the world is now as the goal wants it, whoever did it."""


class PickLift(Task):
    """Lift the named cube and keep holding it."""

    name = "pick_lift"

    def waypoint(self, view: View) -> Waypoint:
        """Over the cube, down, close, up."""
        if view.held:
            return _at(view.commanded_tip, LIFT_Z_M, CLOSED_M)
        return grasp(view)

    def done(self, truth: Truth, goal: Goal) -> bool:
        """The cube is 5 cm above the table, in the named hand."""
        cube = truth.cubes[goal.color][:3]
        in_hand = float(np.linalg.norm(cube - truth.tips[goal.arm])) < HOLD_M
        return bool(cube[2] > CUBE_EDGE_M / 2 + 0.05 and in_hand)


class PlaceInBowl(Task):
    """Put the named cube into the bowl, let go and draw back."""

    name = "place_in_bowl"

    def waypoint(self, view: View) -> Waypoint:
        """Grasp, lift, carry over the bowl, lower, open, rise."""
        if in_bowl(view.cube, view.bowl):
            return _at(view.bowl, LIFT_Z_M, OPEN_M)
        off = _apart(view.tip, view.bowl)
        height = float(view.tip[2]) - DROP_Z_M
        over = off < 0.015 and height < 0.012
        cube_over = _apart(view.cube, view.bowl) < BOWL_RADIUS_M - 0.02 and float(view.cube[2]) > 0.03
        if cube_over and (over or (view.grip > 0.012 and off < 0.03 and height < 0.04)):
            return _at(view.bowl, DROP_Z_M, OPEN_M)
        if not view.held:
            return grasp(view)
        if off < 0.012 + _FUNNEL * max(height, 0.0):
            return _at(view.bowl, DROP_Z_M, CLOSED_M)
        if height < 0.0:
            return _at(view.commanded_tip, LIFT_Z_M, CLOSED_M)
        return _at(view.bowl, LIFT_Z_M, CLOSED_M)

    def done(self, truth: Truth, goal: Goal) -> bool:
        """The cube lies in the bowl and the named hand is open and above it."""
        cube = truth.cubes[goal.color][:3]
        clear = float(truth.tips[goal.arm][2] - cube[2]) > 0.05
        return in_bowl(cube, truth.bowl) and truth.openings[goal.arm] > 0.05 and clear


_TASKS: Mapping[str, Task] = {task.name: task for task in (PickLift(), PlaceInBowl())}


def task_names() -> tuple[str, ...]:
    """Names of all tasks, in a fixed order."""
    return tuple(_TASKS)


def task_named(name: str) -> Task:
    """The task of that name.

    Raises:
        SimulationError: There is none.
    """
    try:
        return _TASKS[name]
    except KeyError as err:
        raise SimulationError(
            "there is no such task",
            where=name,
            expected=f"one of {list(_TASKS)}",
            found=name,
            remedy="choose one of the tasks listed",
        ) from err


def grasp(view: View) -> Waypoint:
    """The next step towards holding the cube, from wherever the hand is.

    The hand comes down through a funnel: the lower it is, the better it must be centered over the
    cube, else it rises again. Once it has begun to close it goes on, even if the cube moves a bit.
    """
    off = _apart(view.tip, view.cube)
    height = max(float(view.tip[2]) - GRASP_Z_M, 0.0)
    closing = view.grip < OPEN_M - 0.005
    if closing and off < 2 * _CENTERED_M and height < 0.020 and view.opening > 0.018:
        return _at(view.commanded_tip, GRASP_Z_M, CLOSED_M)
    if closing or off > _CENTERED_M + _FUNNEL * height or view.opening < OPEN_M - 0.012:
        return _at(view.cube, HOVER_Z_M, OPEN_M)
    if height > 0.006 or off > _CENTERED_M:
        return _at(view.cube, GRASP_Z_M, OPEN_M)
    return _at(view.commanded_tip, GRASP_Z_M, CLOSED_M)


def in_bowl(cube: FloatArray, bowl: FloatArray) -> bool:
    """Whether a cube lies inside the ring of the bowl, below its rim."""
    return _apart(cube, bowl) < BOWL_RADIUS_M and float(cube[2]) < BOWL_HEIGHT_M


def _at(xy: FloatArray, z: float, opening: float) -> Waypoint:
    return Waypoint(np.array([xy[0], xy[1], z]), opening)


def _apart(a: FloatArray, b: FloatArray) -> float:
    return float(np.hypot(a[0] - b[0], a[1] - b[1]))
