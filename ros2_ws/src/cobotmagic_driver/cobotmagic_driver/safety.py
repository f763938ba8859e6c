"""Limits that stand between any command and the arms. Pure; every event is counted under its name.

A vector is checked as a whole: either all fourteen values pass, clamped where that is safe, or none
is sent. What passes can always be stopped: a step is taken only if from its end the arms can still
come to rest inside the limits and clear of each other, of the table and of the edge of the workspace.
Otherwise they brake, which the step before has proved to be possible.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cobotmagic_driver.guard import COLUMNS, Guard, GuardSettings
from cobotmagic_driver.interventions import Interventions
from cobotmagic_driver.motion import Motion, MotionLimits, MotionPlanner, StopPath
from cobotmagic_driver.walls import Walls
from finevla.contract.frame import ActionChunk
from finevla.contract.robot import ARM_SIDES, RobotContract

TOLERANCE = 1e-9
BEHIND = 0.005
"""A command further from its target than this, in rad or m, is behind it."""
CAUGHT_UP = 0.02
"""A soft start ends where every joint is this near to its target, rad."""
TARGET_SPEED = 0.95
"""Share of the allowed speed that a target may have: the rest is for catching up with it."""
SPEED_SCALE_RANGE = (0.01, 1.0)


@dataclass(frozen=True, slots=True)
class SafetySettings:
    """Numbers of the limiter.

    Attributes:
        velocity_scale: Share of the contract's joint speeds that commands may use, 0..1.
        acceleration_rad_s2: Largest acceleration of a joint; what a Piper's own controller allows at most
            (piper_sdk 0.6.2, frame 0x475).
        jerk_rad_s3: Largest jerk of a joint.
        acceleration_m_s2: Largest acceleration of a gripper.
        jerk_m_s3: Largest jerk of a gripper.
        limit_margin_rad: Targets stay this far inside of the joints' limits; grippers use their whole stroke.
        outside_rad: A joint that is measured further outside of its limits than this cannot be enabled.
        chunk_speed_factor: A chunk that asks for more than this times the allowed speed is refused.
        jump_rad: A stream whose target leaps by more than this is refused, rad.
        start_jump_rad: A first target further than this from the measured pose starts softly, rad.
        soft_start_fraction: Share of the allowed speed during a soft start, 0..1.
        guard: Distances to keep; None: no guard.
    """

    velocity_scale: float = 1.0
    acceleration_rad_s2: float = 5.0
    jerk_rad_s3: float = 200.0
    acceleration_m_s2: float = 5.0
    jerk_m_s3: float = 500.0
    limit_margin_rad: float = 0.005
    outside_rad: float = 0.1
    chunk_speed_factor: float = 2.0
    jump_rad: float = 0.5
    start_jump_rad: float = 0.2
    soft_start_fraction: float = 0.2
    guard: GuardSettings | None = field(default_factory=GuardSettings)


Reach = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Lowest and highest position that a target will have, shape (14,) each, rad and m."""


class Limiter:
    """Keeps the motion that was commanded last and lets it change only within the limits."""

    def __init__(self, contract: RobotContract, settings: SafetySettings) -> None:
        self._contract, self._settings = contract, settings
        self._arm_joints = ~contract.is_gripper
        margin = np.where(self._arm_joints, settings.limit_margin_rad, 0.0)
        self._lower, self._upper = contract.lower + margin, contract.upper - margin
        self.limits = MotionLimits(
            contract.velocity * settings.velocity_scale,
            np.where(self._arm_joints, settings.acceleration_rad_s2, settings.acceleration_m_s2),
            np.where(self._arm_joints, settings.jerk_rad_s3, settings.jerk_m_s3),
        )
        self._planner = MotionPlanner(self.limits)
        self._walls = None if settings.guard is None else Walls(Guard(contract, settings.guard))
        self._columns = {code: self._joints_of(code) for code in COLUMNS}
        self.interventions = Interventions()
        self._speed_scale = 1.0
        self.reset(contract.home)

    def _joints_of(self, column: str) -> NDArray[np.bool_]:
        """Which joints have to brake where a clearance is too small, shape (14,)."""
        joints = np.zeros(self._contract.dof, dtype=bool)
        sides = [side for side in ARM_SIDES if column.endswith(side)] or ARM_SIDES
        for side in sides:
            joints[self._contract.arm_slice(side)] = True
        return joints

    @property
    def counts(self) -> Counter[str]:
        """In how many ticks or messages each intervention acted."""
        return self.interventions.counts

    @property
    def command(self) -> NDArray[np.float64]:
        """The command that was passed last, shape (14,), rad and m."""
        return self._motion.position.copy()

    @property
    def motion(self) -> Motion:
        """The motion that was commanded last."""
        return self._motion

    @property
    def velocity(self) -> NDArray[np.float64]:
        """Speeds that commands may use now, shape (14,), rad/s and m/s."""
        fraction = self._settings.soft_start_fraction if self._soft else 1.0
        scaled: NDArray[np.float64] = self.limits.velocity * (self._speed_scale * fraction)
        return scaled

    @property
    def soft(self) -> bool:
        """True while a soft start is under way."""
        return self._soft

    @property
    def speed_scale(self) -> float:
        """Share of the allowed speed that is used at present, 0.01..1."""
        return self._speed_scale

    def scale_speed(self, scale: float) -> bool:
        """Uses only a share of the allowed speed; False, and counted, where it is not from 0.01 to 1."""
        lowest, highest = SPEED_SCALE_RANGE
        if not lowest <= scale <= highest:
            self.interventions.note("bad_speed_scale", f"{scale:g}")
            return False
        self._speed_scale = scale
        return True

    def outside(self, pose: NDArray[np.float64]) -> list[str]:
        """Names of the joints that are measured too far outside of their limits to be held there."""
        off = np.maximum(self._contract.lower - pose, pose - self._contract.upper)
        too_far = ~(off <= self._settings.outside_rad) & self._arm_joints
        return [self._contract.joint_names[index] for index in np.flatnonzero(too_far)]

    def reset(self, pose: NDArray[np.float64]) -> None:
        """Starts anew at rest in the measured `pose`; one just outside its limits is clamped."""
        self._motion = Motion.at_rest_at(np.clip(pose, self._contract.lower, self._contract.upper))
        self._target = self._motion.position
        if self._walls is not None:
            self._walls.reset(self._motion.position)
        self._soft = self._waits = False

    def begin(self, target: NDArray[np.float64], measured: NDArray[np.float64]) -> None:
        """Announces the first target of a motion: one far from the measured pose is approached slowly."""
        distance = np.abs(target - measured)[self._arm_joints].max()
        self._soft = bool(distance > self._settings.start_jump_rad)
        if self._soft:
            self.interventions.note("soft_start", f"{distance:.2f} rad")

    def refuse_chunk(self, chunk: ActionChunk) -> str:
        """Why no row of `chunk` may be followed; empty: it may."""
        if chunk.targets.shape[1:] != self._motion.position.shape or not np.isfinite(chunk.targets).all():
            return "non_finite"
        if chunk.horizon > 1:
            speed = np.abs(np.diff(chunk.targets, axis=0)).max(axis=0) / chunk.dt_s
            if self.is_too_fast(speed):
                return "jump_rejected"
        return ""

    def is_too_fast(self, speed: NDArray[np.float64], columns: Sequence[int] | None = None) -> bool:
        """True where a plan asks for far more than the allowed speed.

        Args:
            speed: Largest speed of each joint, rad/s and m/s.
            columns: Places of these joints in the vector; None: all fourteen.
        """
        allowed = self.limits.velocity if columns is None else self.limits.velocity[list(columns)]
        return bool((speed > allowed * self._settings.chunk_speed_factor).any())

    def is_jump(self, target: NDArray[np.float64], previous: NDArray[np.float64]) -> bool:
        """True where an arm joint leaps further than a stream may between two targets."""
        return bool(np.abs(target - previous)[self._arm_joints].max() > self._settings.jump_rad)

    # One tick -----------------------------------------------------------------------------------

    def step(
        self,
        target: NDArray[np.float64],
        dt_s: float,
        speed: NDArray[np.float64] | None = None,
        reach: Reach | None = None,
    ) -> NDArray[np.float64] | None:
        """Moves the command toward `target` within all limits.

        Args:
            target: Where to be now, shape (14,), rad and m.
            dt_s: Time since the step before, s.
            speed: Smaller speeds to keep to, shape (14,); None: those that are allowed.
            reach: Between which positions the target will stay from now on, shape (14,) each; None: nobody
                knows.

        Returns:
            The command to send, shape (14,), or None where the target is no vector of finite numbers:
            then nothing may be sent.
        """
        if target.shape != self._motion.position.shape or not np.isfinite(target).all():
            self.interventions.note("non_finite")
            return None
        inside = np.minimum(np.maximum(target, self._lower), self._upper)
        self._note_clamped(target, inside)
        if self._waits and not self._soft:  # what a wall has kept far away is approached slowly
            self.begin(inside, self._motion.position)
        allowed = self.velocity if speed is None else np.minimum(self.velocity, speed)
        rate = self._rate(inside, allowed, dt_s)
        wish = self._planner.toward(self._motion, inside, rate, allowed, dt_s)
        if wish is None:
            self.interventions.note("no_motion_found")
            return self.brake(dt_s)
        self._target = inside
        self._accept(wish, (self._lower, self._upper) if reach is None else reach, dt_s)
        self._note_lag(inside)
        return self.command

    def brake(self, dt_s: float) -> NDArray[np.float64]:
        """Moves the command along the quickest way to rest; returns it, shape (14,)."""
        if not self._motion.is_at_rest:
            self._motion = self._braked(dt_s)
        self._target = self._motion.position
        return self.command

    def _braked(self, dt_s: float) -> Motion:
        """The motion `dt_s` later on the quickest way to rest."""
        return self._planner.stopping(self._motion).at(dt_s)

    def _rate(
        self, target: NDArray[np.float64], allowed: NDArray[np.float64], dt_s: float
    ) -> NDArray[np.float64]:
        """How the target moves, shape (14,); zero where it leaps: a leap says nothing about speed."""
        if dt_s <= 0.0:
            return np.zeros_like(target)
        rate = (target - self._target) / dt_s
        leaps = np.abs(rate) > self.limits.velocity * self._settings.chunk_speed_factor
        fastest = allowed * TARGET_SPEED
        return np.where(leaps, 0.0, np.minimum(np.maximum(rate, -fastest), fastest))

    def _accept(self, wish: Motion, reach: Reach, dt_s: float) -> None:
        """Takes `wish`, with the joints braked that could not be stopped in time otherwise."""
        path = self._planner.stopping(wish)
        blocked = self._runs_past(path, *reach) | self._runs_past(path, self._lower, self._upper)
        if blocked.any():
            wish = wish.mixed(self._braked(dt_s), blocked)
            path = self._planner.stopping(wish)
        if self._walls is None or self._walls.are_far(path):
            self._motion, self._waits = wish, False
            return
        braked = self._braked(dt_s)
        blocked = np.zeros_like(blocked)
        motion = wish
        for _column in COLUMNS:  # every round blocks at least one more arm
            too_near = self._walls.look_ahead(motion, path)
            more = np.zeros_like(blocked)
            for code in too_near:
                more |= self._columns[code]
            if not (more & ~blocked).any():
                break
            for code in too_near:
                self.interventions.note(f"guard_{code.partition('_')[0]}", code)
            blocked |= more
            motion = wish.mixed(braked, blocked)
            path = self._planner.stopping(motion)
        self._waits = bool(blocked.any())
        self._motion = motion

    def _runs_past(
        self, path: StopPath, lower: NDArray[np.float64], upper: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """Which joints would be outside of `lower` and `upper` before they are at rest, shape (14,).

        Asked for the limits of the joints, and for the positions that the target will have: a joint that went
        along with its target to the end would run past it by half the square of its speed over its
        acceleration, 10 cm where a forearm comes down to a table at 1 rad/s. A joint that is outside already
        may come back, but go no further.
        """
        here = self._motion.position
        low, high = np.minimum(lower, here), np.maximum(upper, here)
        out: NDArray[np.bool_] = (path.lowest < low - TOLERANCE) | (path.highest > high + TOLERANCE)
        return out

    def _note_clamped(self, target: NDArray[np.float64], inside: NDArray[np.float64]) -> None:
        clamped = np.flatnonzero(np.abs(inside - target) > TOLERANCE)
        if clamped.size:
            self.interventions.note("position_limit", self._contract.joint_names[clamped[0]])

    def _note_lag(self, target: NDArray[np.float64]) -> None:
        """Names the limit that keeps the command behind its target; a soft start is meant to."""
        behind = np.abs(target - self._motion.position) > BEHIND
        if self._soft:
            self._soft = bool(np.abs(target - self._motion.position)[self._arm_joints].max() > CAUGHT_UP)
            return
        if not behind.any():
            return
        fast = behind & (np.abs(self._motion.velocity) >= self.velocity * (1.0 - 1e-6))
        hard = behind & (np.abs(self._motion.acceleration) >= self.limits.acceleration * (1.0 - 1e-6))
        for code, joints in (("velocity_limit", fast), ("acceleration_limit", hard)):
            if joints.any():
                self.interventions.note(code, self._contract.joint_names[int(np.argmax(joints))])
