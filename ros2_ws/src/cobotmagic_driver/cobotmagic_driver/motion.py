"""Motion of the command: position, velocity and acceleration of every joint, advanced within limits.

The curves toward a target are those of Ruckig (Berscheid and Kroeger, "Jerk-limited Real-time Trajectory
Generation with Arbitrary Target States", RSS 2021): time-optimal under limits of velocity, acceleration and
jerk, computed anew at every tick, each joint for itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from ruckig import InputParameter, Result, Ruckig, Synchronization, Trajectory

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
    """The quickest way to rest from a motion, each joint for itself, in closed form.

    The acceleration goes to a peak against the velocity at the largest jerk, stays there if it is the
    largest allowed one, and goes to zero at the largest jerk. (Ruckig plans the same way, but its
    extrema of such a way, version 0.19.4, include zero, wherever the joint is.)
    """

    def __init__(self, now: Motion, limits: MotionLimits) -> None:
        self._start, jerk = now.position, limits.jerk
        # Mirrored where necessary, so that there is a velocity above zero to be taken away.
        coasting = now.velocity + now.acceleration * np.abs(now.acceleration) / (2.0 * jerk)
        self._sign = np.where(coasting < 0.0, -1.0, 1.0)
        speed, push = self._sign * now.velocity, self._sign * now.acceleration
        excess = np.maximum(speed + push**2 / (2.0 * jerk), 0.0)
        peak = np.minimum(np.sqrt(jerk * excess), limits.acceleration)
        steady = np.maximum(excess - peak**2 / jerk, 0.0) / np.where(peak > 0.0, peak, 1.0)
        self._speed, self._push, self._jerk, self._peak = speed, push, jerk, peak
        self._times = np.maximum((push + peak) / jerk, 0.0), steady, peak / jerk
        end = self.positions(np.array([self.duration_s]))[0]
        # Before the way turns round, where it does.
        root = np.sqrt(np.maximum(push**2 + 2.0 * jerk * speed, 0.0))
        turn = np.where(speed < 0.0, (push - root) / jerk, 0.0)
        turned = self._start + self._sign * (speed * turn + push * turn**2 / 2.0 - jerk * turn**3 / 6.0)
        self.lowest = np.minimum(np.minimum(self._start, turned), end)
        """Lowest position of each joint on the way, shape (14,)."""
        self.highest = np.maximum(np.maximum(self._start, turned), end)
        """Highest position of each joint on the way, shape (14,)."""

    @property
    def duration_s(self) -> float:
        """Time until the last joint is at rest."""
        return float(sum(self._times).max())  # type: ignore[union-attr]

    def positions(self, times_s: Vector) -> Vector:
        """Positions at some times, shape (K, 14)."""
        return self._at(times_s[:, None])[0]

    def at(self, time_s: float) -> Motion:
        """The motion `time_s` later."""
        return Motion(*self._at(np.array(time_s)))

    def _at(self, time: Vector) -> tuple[Vector, Vector, Vector]:
        first, second, third = self._times
        rise = np.clip(time, 0.0, first)
        hold = np.clip(time - first, 0.0, second)
        fall = np.clip(time - first - second, 0.0, third)
        speed, push, jerk, peak = self._speed, self._push, self._jerk, self._peak
        way = speed * rise + push * rise**2 / 2.0 - jerk * rise**3 / 6.0
        speed = speed + push * rise - jerk * rise**2 / 2.0
        way = way + speed * hold - peak * hold**2 / 2.0
        speed = speed - peak * hold
        way = way + speed * fall - peak * fall**2 / 2.0 + jerk * fall**3 / 6.0
        speed = speed - peak * fall + jerk * fall**2 / 2.0
        push = np.where(time < first, push - jerk * rise, jerk * fall - peak)
        over = time >= first + second + third
        rest = np.zeros_like(way)
        return (
            self._start + self._sign * way,
            np.where(over, rest, self._sign * speed),
            np.where(over, rest, self._sign * push),
        )


class MotionPlanner:
    """Advances motions; keeps nothing but its working memory. Call it from one thread at a time."""

    def __init__(self, limits: MotionLimits) -> None:
        self._limits = limits
        dof = len(limits.velocity)
        self._solver = Ruckig(dof)
        self._toward = InputParameter(dof)
        self._toward.synchronization = Synchronization.No
        self._toward.max_acceleration = limits.acceleration.tolist()
        self._toward.max_jerk = limits.jerk.tolist()
        zero = [0.0] * dof
        self._toward.target_position = self._toward.target_velocity = self._toward.target_acceleration = zero

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
        trajectory = Trajectory(len(target))
        if self._solver.calculate(what, trajectory) not in (Result.Working, Result.Finished):
            return None
        position, velocity, acceleration = (np.array(part) for part in trajectory.at_time(dt_s)[:3])
        return Motion(position + target, velocity + target_velocity, acceleration)

    def stopping(self, now: Motion) -> StopPath:
        """The quickest way to rest."""
        return StopPath(now, self._limits)
