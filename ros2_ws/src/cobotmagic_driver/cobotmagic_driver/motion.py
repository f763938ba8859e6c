"""Motion of the command: position, velocity and acceleration of every joint, advanced within limits.

The curves are those of Ruckig (Berscheid and Kroeger, "Jerk-limited Real-time Trajectory
Generation with Arbitrary Target States", RSS 2021): time-optimal under limits of velocity, acceleration and
jerk, computed anew at every tick, each joint for itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from ruckig import ControlInterface, InputParameter, Result, Ruckig, Synchronization, Trajectory

Vector = NDArray[np.float64]

AT_REST_PER_S = 1e-6
"""A joint slower than this, and accelerating less, is at rest; rad/s and rad/s^2, or m."""


@dataclass(frozen=True, slots=True)
class MotionLimits:
    """Largest velocity, acceleration and jerk of each joint, shape (14,) each; rad or m, per s, s^2, s^3."""

    velocity: Vector
    acceleration: Vector
    jerk: Vector


@dataclass(frozen=True, slots=True)
class Motion:
    """Where the command is and how it moves: shape (14,) each; rad or m, per s and s^2."""

    position: Vector
    velocity: Vector
    acceleration: Vector

    @classmethod
    def at_rest_at(cls, position: Vector) -> Motion:
        """A command that stands still."""
        return cls(position.copy(), np.zeros_like(position), np.zeros_like(position))

    @property
    def is_at_rest(self) -> bool:
        """True where no joint moves."""
        moving = max(np.abs(self.velocity).max(), np.abs(self.acceleration).max())
        return bool(moving <= AT_REST_PER_S)

    def mixed(self, other: Motion, use_other: NDArray[np.bool_]) -> Motion:
        """This motion, with the joints of `other` where `use_other` is true."""
        return Motion(
            np.where(use_other, other.position, self.position),
            np.where(use_other, other.velocity, self.velocity),
            np.where(use_other, other.acceleration, self.acceleration),
        )


class StopPath:
    """The quickest way to rest from a motion, each joint for itself.

    Args:
        start: Where it begins, shape (14,).
        way: The way from there, which Ruckig has planned from zero: its extrema of ways that end at a
            velocity (0.19.4) always include zero, which is then the beginning.
    """

    def __init__(self, start: Vector, way: Trajectory) -> None:
        self._start, self._way = start, way
        extrema = way.position_extrema
        self.lowest = start + np.array([bound.min for bound in extrema])
        """Lowest position of each joint on the way, shape (14,)."""
        self.highest = start + np.array([bound.max for bound in extrema])
        """Highest position of each joint on the way, shape (14,)."""

    @property
    def duration_s(self) -> float:
        """Time until the last joint is at rest."""
        return float(self._way.duration)

    def positions(self, times_s: Sequence[float]) -> Vector:
        """Positions at some times, shape (K, 14)."""
        return np.array([self._way.at_time(time_s)[0] for time_s in times_s]) + self._start

    def at(self, time_s: float) -> Motion:
        """The motion `time_s` later."""
        position, velocity, acceleration = (np.array(part) for part in self._way.at_time(time_s)[:3])
        return Motion(position + self._start, velocity, acceleration)


class MotionPlanner:
    """Advances motions; keeps nothing but its working memory. Call it from one thread at a time."""

    def __init__(self, limits: MotionLimits) -> None:
        dof = len(limits.velocity)
        self._solver = Ruckig(dof)
        self._toward, self._stop = InputParameter(dof), InputParameter(dof)
        self._stop.control_interface = ControlInterface.Velocity
        zero = [0.0] * dof
        for what in (self._toward, self._stop):
            what.synchronization = Synchronization.No
            what.max_velocity = limits.velocity.tolist()
            what.max_acceleration = limits.acceleration.tolist()
            what.max_jerk = limits.jerk.tolist()
            what.current_position = zero
            what.target_position = what.target_velocity = what.target_acceleration = zero

    def toward(
        self, now: Motion, target: Vector, target_velocity: Vector, velocity: Vector, dt_s: float
    ) -> Motion | None:
        """The motion `dt_s` later on the quickest way to a target that moves.

        The way is planned in the frame of the target, where it is at rest: planned to where the target is
        at present, the command would always arrive where the target has just been.

        Args:
            now: The motion now.
            target: Where the target is `dt_s` later, shape (14,).
            target_velocity: How the target moves, shape (14,); slower than `velocity`.
            velocity: Largest speeds on the way, shape (14,); a faster joint is slowed down.
            dt_s: How much later.

        Returns:
            The motion, or None where no way was found.
        """
        what = self._toward
        what.max_velocity = (velocity - target_velocity).tolist()
        what.min_velocity = (-velocity - target_velocity).tolist()
        origin = target - target_velocity * dt_s
        what.current_position = (now.position - origin).tolist()
        what.current_velocity = (now.velocity - target_velocity).tolist()
        what.current_acceleration = now.acceleration.tolist()
        trajectory = self._solve(what)
        if trajectory is None:
            return None
        position, velocity, acceleration = (np.array(part) for part in trajectory.at_time(dt_s)[:3])
        return Motion(position + target, velocity + target_velocity, acceleration)

    def stopping(self, now: Motion) -> StopPath:
        """The quickest way to rest.

        Raises:
            ArithmeticError: There is none: the motion is not finite.
        """
        self._stop.current_velocity = now.velocity.tolist()
        self._stop.current_acceleration = now.acceleration.tolist()
        trajectory = self._solve(self._stop)
        if trajectory is None:
            raise ArithmeticError(f"no way to rest was found from {now}")
        return StopPath(now.position, trajectory)

    def _solve(self, what: InputParameter) -> Trajectory | None:
        trajectory = Trajectory(what.degrees_of_freedom)
        found = self._solver.calculate(what, trajectory)
        return trajectory if found in (Result.Working, Result.Finished) else None
