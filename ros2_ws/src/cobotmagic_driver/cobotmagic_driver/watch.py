"""What is wrong with the arms, if anything: lost feedback, fault bits, motors that went off. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cobotmagic_driver.backend import ArmFeedback
from finevla.contract.frame import NS_PER_S

EMERGENCY_STOPPED = 1
"""Status code of an arm that has taken a stop."""

TAUGHT = 2
"""Control mode of an arm that is led by hand."""

ARM_STATUS_TEXT = {
    EMERGENCY_STOPPED: "emergency stop",
    2: "no solution",
    3: "singularity",
    4: "target over a joint limit",
    5: "joint communication lost",
    6: "brake not released",
    7: "collision",
    8: "overspeed while taught",
    9: "joint fault",
    14: "controller too hot",
    15: "resistor too hot",
}


@dataclass(frozen=True, slots=True)
class KnownArm:
    """The newest sample of an arm, and when it was received (ns since the epoch)."""

    feedback: ArmFeedback
    received_ns: int


def is_leap(known: KnownArm, feedback: ArmFeedback, now_ns: int, leap_rad: float, within_s: float) -> bool:
    """True where a joint is measured further from the sample before than an arm can move.

    After a silence longer than `within_s` there is nothing to compare with.
    """
    if now_ns - known.received_ns > within_s * NS_PER_S:
        return False
    return bool(np.abs(feedback.values - known.feedback.values)[:-1].max() > leap_rad)


class FollowWatch:
    """Notices an arm that does not go where it is told: blocked, stuck, or with an encoder that drifts.

    Args:
        error_rad: Distance between command and measurement that is too far, rad.
        time_s: How long it may last, s.
    """

    def __init__(self, error_rad: float, time_s: float) -> None:
        self._error_rad, self._time_ns = error_rad, round(time_s * NS_PER_S)
        self._since_ns: int | None = None

    def reset(self) -> None:
        """Begins anew."""
        self._since_ns = None

    def lost(self, command: NDArray[np.float64], measured: NDArray[np.float64], now_ns: int) -> int | None:
        """Index of a joint that has been too far away for too long; arm joints only, shape (n,) each."""
        error = np.abs(command - measured)
        if error.max() <= self._error_rad:
            self._since_ns = None
            return None
        if self._since_ns is None:
            self._since_ns = now_ns
        return int(error.argmax()) if now_ns - self._since_ns > self._time_ns else None


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why an arm must not be moved: which, reason code and a sentence with the remedy."""

    side: str
    code: str
    reason: str


def find_troubles(
    arms: Mapping[str, KnownArm], now_ns: int, feedback_timeout_s: float, enabling: bool
) -> list[Trouble]:
    """The first thing that is wrong with each arm; empty where both are well.

    Args:
        arms: What is known, by side.
        now_ns: The time, ns since the epoch.
        feedback_timeout_s: An arm that has been silent for longer is lost.
        enabling: Whether the motors are being switched on, so that they may still be off.
    """
    found = (
        _silence(side, (now_ns - arm.received_ns) / NS_PER_S, feedback_timeout_s)
        or _fault(side, arm.feedback, enabling)
        for side, arm in arms.items()
    )
    return [trouble for trouble in found if trouble is not None]


def _silence(side: str, age_s: float, timeout_s: float) -> Trouble | None:
    if age_s <= timeout_s:
        return None
    reason = (
        f"the {side} arm has sent no joints for {age_s:.2f} s: check its cable and power, then enable; "
        "if the CAN bus was lost, call /finevla/system/shutdown, then bring_up"
    )
    return Trouble(side, "feedback_lost", reason)


def _fault(side: str, state: ArmFeedback, enabling: bool) -> Trouble | None:
    if state.foreign_commands:
        reason = f"another program commands the {side} arm on its bus: end that program, then enable"
        return Trouble(side, "foreign_commands", reason)
    if state.arm_status or state.error_code:
        text = ARM_STATUS_TEXT.get(state.arm_status, "not normal")
        code = f"status {state.arm_status} ({text}), error bits 0x{state.error_code:04X}"
        return Trouble(side, "arm_fault", f"the {side} arm reports {code}: look at the arm, then enable")
    if state.faults:
        reason = f"the {side} arm reports {', '.join(state.faults)}: let it recover, then enable"
        return Trouble(side, "motor_fault", reason)
    if state.health.control_mode == TAUGHT:
        reason = f"the {side} arm is in teaching mode: end it with the arm's button, then enable"
        return Trouble(side, "taught", reason)
    if not state.enabled and not enabling:
        reason = f"the motors of the {side} arm went off: look at the arm, then enable"
        return Trouble(side, "motors_off", reason)
    return None
