"""Limits that stand between any command and the arms. Pure; every event is counted under its name.

A vector is checked as a whole: either all fourteen values pass, clamped where that is safe, or none
is sent.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from finevla.contract.frame import ActionChunk
from finevla.contract.robot import RobotContract

TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class SafetySettings:
    """Numbers of the limiter.

    Attributes:
        velocity_scale: Share of the contract's joint speeds that commands may use, 0..1.
        chunk_speed_factor: A chunk that asks for more than this times the allowed speed is refused.
        jump_rad: A stream whose target leaps by more than this is refused, rad.
        start_jump_rad: A first target further than this from the measured pose starts softly, rad.
        soft_start_fraction: Share of the allowed speed during a soft start, 0..1.
    """

    velocity_scale: float = 1.0
    chunk_speed_factor: float = 2.0
    jump_rad: float = 0.5
    start_jump_rad: float = 0.2
    soft_start_fraction: float = 0.2


class Limiter:
    """Keeps the command that was sent last and lets it move only within the limits."""

    def __init__(self, contract: RobotContract, settings: SafetySettings) -> None:
        self._lower, self._upper = contract.lower, contract.upper
        self._velocity = contract.velocity * settings.velocity_scale
        self._settings = settings
        self._arm_joints = np.ones(contract.dof, dtype=bool)
        self._arm_joints[list(contract.grippers.values())] = False
        self._command = contract.home.copy()
        self._soft = False
        self.counts: Counter[str] = Counter()

    @property
    def command(self) -> NDArray[np.float64]:
        """The command that was passed last, shape (14,), rad and m."""
        return self._command.copy()

    @property
    def velocity(self) -> NDArray[np.float64]:
        """Speeds that commands may use, shape (14,), rad/s and m/s."""
        return self._velocity.copy()

    @property
    def soft(self) -> bool:
        """True while a soft start is under way."""
        return self._soft

    def reset(self, pose: NDArray[np.float64]) -> None:
        """Starts anew from the measured `pose`; a measurement just outside its limits is clamped."""
        self._command = np.clip(pose, self._lower, self._upper)
        self._soft = False

    def begin(self, target: NDArray[np.float64], measured: NDArray[np.float64]) -> None:
        """Announces the first target of a motion: one far from the measured pose is approached slowly."""
        far = np.abs(target - measured)[self._arm_joints].max() > self._settings.start_jump_rad
        if far:
            self.counts["soft_start"] += 1
        self._soft = bool(far)

    def refuse_chunk(self, chunk: ActionChunk) -> str:
        """Why no row of `chunk` may be followed; empty: it may."""
        if chunk.targets.shape[1:] != self._command.shape or not np.isfinite(chunk.targets).all():
            return "non_finite"
        if chunk.horizon > 1:
            speed = np.abs(np.diff(chunk.targets, axis=0)).max(axis=0) / chunk.dt_s
            if (speed > self._velocity * self._settings.chunk_speed_factor).any():
                return "jump_rejected"
        return ""

    def is_jump(self, target: NDArray[np.float64], previous: NDArray[np.float64]) -> bool:
        """True where an arm joint leaps further than a stream may between two targets."""
        return bool(np.abs(target - previous)[self._arm_joints].max() > self._settings.jump_rad)

    def step(self, target: NDArray[np.float64], dt_s: float) -> NDArray[np.float64] | None:
        """Moves the command toward `target` within position and speed limits.

        Returns:
            The command to send, shape (14,), or None where the target is no vector of finite numbers:
            then nothing may be sent.
        """
        if target.shape != self._command.shape or not np.isfinite(target).all():
            self.counts["non_finite"] += 1
            return None
        inside = np.clip(target, self._lower, self._upper)
        if (np.abs(inside - target) > TOLERANCE).any():
            self.counts["position_limit"] += 1
        reach = self._velocity * dt_s
        if self._soft:
            reach = reach * self._settings.soft_start_fraction
        wanted = inside - self._command
        allowed = np.clip(wanted, -reach, reach)
        short = np.abs(allowed - wanted) > TOLERANCE
        if short.any():
            if not self._soft:
                self.counts["velocity_limit"] += 1
        else:
            self._soft = False
        self._command = self._command + allowed
        return self._command.copy()
