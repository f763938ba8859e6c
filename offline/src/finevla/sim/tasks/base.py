"""What a task is: what lies on the table, how the expert goes on from any state, and when it is done.

A task is a pure function of what is there now (a `View`), never of how it came about. So the
expert can take over from any state, and needs neither phases nor counters.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from finevla.contract import RobotContract
from finevla.sim.goal import Goal
from finevla.sim.scene import ObjectSpec, SceneSpec
from finevla.sim.truth import FloatArray, Truth


@dataclass(frozen=True, slots=True)
class Hand:
    """One hand as it is now. Points in the world frame, shape (3,), m.

    Attributes:
        side: Whose hand.
        base: Where the arm stands.
        tip: Measured point between the finger pads.
        commanded_tip: The same point if the arm were where it is commanded to be.
        opening: Measured opening of the gripper, m.
        grip: Commanded opening of the gripper, m.
        roll: Commanded angle of joint 6, rad.
        tilt: Commanded outward tilt of the gripper from straight down, rad.
    """

    side: str
    base: FloatArray
    tip: FloatArray
    commanded_tip: FloatArray
    opening: float
    grip: float
    roll: float = 0.0
    tilt: float = 0.0

    def heading(self, xy: FloatArray) -> float:
        """Heading from the arm's base to a point on the table, rad."""
        return float(np.arctan2(xy[1] - self.base[1], xy[0] - self.base[0]))

    def closing(self, open_m: float) -> bool:
        """Whether the gripper is told to be narrower than that."""
        return self.grip < open_m - 0.005


@dataclass(frozen=True, slots=True)
class View:
    """All that decides what comes next.

    Attributes:
        contract: The robot.
        spec: The scene as it was at the beginning.
        truth: The scene as it is.
        goal: What is to be done.
        hands: Both hands, by side.
    """

    contract: RobotContract
    spec: SceneSpec
    truth: Truth
    goal: Goal
    hands: Mapping[str, Hand]

    @property
    def hand(self) -> Hand:
        """The hand that the goal names."""
        return self.hands[self.goal.arm]

    @property
    def table_z(self) -> float:
        """Height of the table top, m."""
        return self.spec.look.table_z_m


@dataclass(frozen=True, slots=True)
class Waypoint:
    """Where the finger pads of one hand shall go next, and how.

    Attributes:
        tip: Point between the pads, world, m.
        opening: How far the fingers shall open, m.
        tilt: Outward tilt of the gripper, rad; the arm's default for the distance when None.
        roll: Angle of joint 6, rad.
    """

    tip: FloatArray
    opening: float
    tilt: float | None = None
    roll: float = 0.0


Plan = Mapping[str, Waypoint]
"""The next waypoint of each hand by side; a hand that is not named goes home."""


class Task(ABC):
    """One thing that can be asked for.

    Attributes:
        name: As in commands, bags and reports.
        summary: What it is, in one line.
        factors: Fields of `Goal` that every goal of this task fixes.
        optional: Fields that a goal may fix besides.
        two_arms: Whether both arms take part.
        max_frames: Where a run is given up.
        variants: Versions of the scene besides the usual one.
    """

    name: str
    summary: str
    factors: tuple[str, ...] = ("arm",)
    optional: tuple[str, ...] = ()
    two_arms: bool = False
    max_frames: int = 120
    variants: tuple[str, ...] = ()

    @abstractmethod
    def load(self, rng: np.random.Generator, variant: str) -> tuple[ObjectSpec, ...]:
        """Draws what lies on the table; the same for the clean and the hard version.

        Raises:
            SimulationError: No free place was found.
        """

    @abstractmethod
    def goals(self, spec: SceneSpec) -> tuple[Goal, ...]:
        """Every goal that the scene allows, each with all `factors` fixed, the OOD combination included."""

    @abstractmethod
    def expert(self, view: View) -> Plan:
        """Where the hands go next, from any state."""

    @abstractmethod
    def success(self, truth: Truth, goal: Goal, spec: SceneSpec) -> bool:
        """Whether the world is now as the goal wants it, whoever did it."""
