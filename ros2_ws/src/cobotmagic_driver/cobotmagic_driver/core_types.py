"""Settings of the driver's core, what it wants sent, and the operator's wishes that take time."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cobotmagic_driver.safety import SafetySettings
from cobotmagic_driver.state_machine import POLICY


@dataclass(frozen=True, slots=True)
class CoreSettings:
    """Times, speeds and tolerances of the driver; see `params.py` for what each is for."""

    command_source: str = POLICY
    blend_s: float = 0.1
    chunk_timeout_s: float = 1.0
    leader_timeout_s: float = 0.2
    command_age_s: float = 1.0
    clock_ahead_s: float = 0.1
    accept_unstamped: bool = False
    feedback_timeout_s: float = 0.1
    feedback_leap_rad: float = 0.3
    following_error_rad: float = 0.3
    following_time_s: float = 0.5
    enable_timeout_s: float = 5.0
    home_speed_rad_s: float = 0.8
    home_speed_m_s: float = 0.1
    home_tolerance_rad: float = 0.05
    home_tolerance_m: float = 0.01
    home_settle_s: float = 2.0
    hold_settle_s: float = 0.3
    safety: SafetySettings = field(default_factory=SafetySettings)


@dataclass(frozen=True, slots=True)
class Command:
    """What to send now: targets, shape (14,), rad and m, and to which arms."""

    targets: NDArray[np.float64]
    sides: tuple[str, ...]


@dataclass(slots=True)
class Request:
    """A wish of the operator that takes time: ask `done` after each tick."""

    started_ns: int
    done: bool = False
    success: bool = False
    message: str = ""

    def finish(self, success: bool, message: str) -> None:
        """Answers the request; the first answer counts."""
        if not self.done:
            self.done, self.success, self.message = True, success, message
