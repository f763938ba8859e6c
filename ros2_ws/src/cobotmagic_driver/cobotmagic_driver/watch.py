"""What is wrong with the arms, if anything: lost feedback, fault bits, motors that went off. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cobotmagic_driver.backend import ArmFeedback
from finevla.contract.frame import NS_PER_S

EMERGENCY_STOPPED = 1
"""Status code of an arm that has taken a stop."""

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


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why an arm must not be moved: reason code and a sentence with the remedy."""

    code: str
    reason: str


def find_trouble(
    arms: Mapping[str, KnownArm], now_ns: int, feedback_timeout_s: float, enabling: bool
) -> Trouble | None:
    """The first thing that is wrong with an arm.

    Args:
        arms: What is known, by side.
        now_ns: The time, ns since the epoch.
        feedback_timeout_s: An arm that has been silent for longer is lost.
        enabling: Whether the motors are being switched on, so that they may still be off.
    """
    for side, arm in arms.items():
        trouble = _silence(side, (now_ns - arm.received_ns) / NS_PER_S, feedback_timeout_s) or _fault(
            side, arm.feedback, enabling
        )
        if trouble is not None:
            return trouble
    return None


def _silence(side: str, age_s: float, timeout_s: float) -> Trouble | None:
    if age_s <= timeout_s:
        return None
    reason = (
        f"the {side} arm has sent no joints for {age_s:.2f} s: check its cable and power, then enable; "
        "if the CAN bus was lost, call /finevla/system/shutdown, then bring_up"
    )
    return Trouble("feedback_lost", reason)


def _fault(side: str, state: ArmFeedback, enabling: bool) -> Trouble | None:
    if state.arm_status or state.error_code:
        text = ARM_STATUS_TEXT.get(state.arm_status, "not normal")
        code = f"status {state.arm_status} ({text}), error bits 0x{state.error_code:04X}"
        return Trouble("arm_fault", f"the {side} arm reports {code}: look at the arm, then enable")
    if state.faults:
        return Trouble("motor_fault", f"the {side} arm reports {', '.join(state.faults)}: let it recover")
    if not state.enabled and not enabling:
        return Trouble("motors_off", f"the motors of the {side} arm went off: look at the arm, then enable")
    return None
