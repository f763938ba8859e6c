"""What an arm says about itself at start-up, against what the contract says of it. Pure.

A mismatch refuses the connection: an arm with other limits, another zero or another gripper than the
contract's would not do what it is told, and what it records would not be what is written on it.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from finevla.contract.robot import ArmSpec
from finevla.errors import DriverError

FIRMWARE, ZERO, LIMITS, SPEED, STROKE = "firmware", "zero", "limits", "speed", "stroke"
CHECKS = (FIRMWARE, ZERO, LIMITS, SPEED, STROKE)
"""Names of the checks, for the parameter that accepts a mismatch."""
NEW_ZERO_SINCE = (1, 6, 3)
"""Firmware since which joints 2 and 3 have the newer zero (README of piper_sdk: dh_is_offset)."""
OLDEST_FIRMWARE = (1, 5, 2)
"""Firmware since which the arm speaks the protocol of the SDK's version 2 interface (README of piper_sdk)."""
ANGLE_TOLERANCE_RAD = 0.0018
"""The arm tells its limits in tenths of a degree (0x473): one of them is no difference."""
SPEED_TOLERANCE_RAD_S = 0.002
POWER_CYCLE = "power the arm off and on, then try again"
STROKE_TOLERANCE_M = 0.0005


@dataclass(frozen=True, slots=True)
class ArmFacts:
    """Answers of one arm; None or empty where it has not answered.

    Attributes:
        firmware: Version as the arm spells it, such as `S-V1.8-2` (0x4AF).
        lower: Lower limits of the six joints, rad (0x473).
        upper: Upper limits, rad.
        speed: Largest speeds, rad/s.
        stroke_m: Largest opening of the gripper, m (0x47E); 0 where the arm does not know.
    """

    firmware: str = ""
    lower: tuple[float, ...] = ()
    upper: tuple[float, ...] = ()
    speed: tuple[float, ...] = ()
    stroke_m: float | None = None


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Where an arm differs from the contract."""

    check: str
    expected: str
    found: str
    remedy: str


def version_of(firmware: str) -> tuple[int, int, int] | None:
    """`S-V1.8-2` as (1, 8, 2); None where it is not spelled so."""
    match = re.fullmatch(r"S-V(\d+)\.(\d+)-(\d+)", firmware.strip("\0 "))
    return None if match is None else (int(match[1]), int(match[2]), int(match[3]))


def mismatches(arm: ArmSpec, dh_is_offset: int, facts: ArmFacts) -> list[Mismatch]:
    """Everything in which the arm differs from the contract; empty where it does not."""
    return [*_firmware(dh_is_offset, facts), *_limits(arm, facts), *_stroke(arm, facts)]


def require(
    arm: ArmSpec, dh_is_offset: int, facts: ArmFacts, accepted: Collection[str]
) -> tuple[Mismatch, ...]:
    """Refuses an arm that differs from the contract.

    Returns:
        The mismatches that are accepted, to be told.

    Raises:
        DriverError: There is one that is not accepted.
    """
    found = mismatches(arm, dh_is_offset, facts)
    refused = [one for one in found if one.check not in accepted]
    if refused:
        raise DriverError(
            f"the {arm.side} arm is not the arm of the contract",
            where=f"channel {arm.can_channel}",
            expected="; ".join(one.expected for one in refused),
            found="; ".join(one.found for one in refused),
            remedy="; ".join(dict.fromkeys(one.remedy for one in refused))
            + f"; or, knowing what it means, accept it: accept_mismatch:="
            f"{','.join(dict.fromkeys(one.check for one in refused))}",
        )
    return tuple(found)


def _firmware(dh_is_offset: int, facts: ArmFacts) -> list[Mismatch]:
    version = version_of(facts.firmware)
    if version is None:
        found = f"firmware {facts.firmware!r}" if facts.firmware else "no answer about the firmware"
        return [Mismatch(FIRMWARE, "a firmware such as S-V1.8-2", found, POWER_CYCLE)]
    if version < OLDEST_FIRMWARE:
        expected = f"firmware S-V{OLDEST_FIRMWARE[0]}.{OLDEST_FIRMWARE[1]}-{OLDEST_FIRMWARE[2]} or newer"
        return [Mismatch(FIRMWARE, expected, f"firmware {facts.firmware}", "update the arm's firmware")]
    zero = 1 if version >= NEW_ZERO_SINCE else 0
    if zero != dh_is_offset:
        return [
            Mismatch(
                ZERO,
                f"dh_is_offset {dh_is_offset}, as the contract says",
                f"firmware {facts.firmware}, whose joints 2 and 3 have the zero of dh_is_offset {zero}",
                f"set dh_is_offset: {zero} in the contract: else poses are wrong by two degrees",
            )
        ]
    return []


def _limits(arm: ArmSpec, facts: ArmFacts) -> list[Mismatch]:
    joints = arm.joints[:-1]
    if not len(facts.lower) == len(facts.upper) == len(facts.speed) == len(joints):
        expected = f"limits of {len(joints)} joints (0x473)"
        return [Mismatch(LIMITS, expected, "no answer", POWER_CYCLE)]
    found = []
    for joint, low, high, speed in zip(joints, facts.lower, facts.upper, facts.speed, strict=True):
        if low > joint.lower + ANGLE_TOLERANCE_RAD or high < joint.upper - ANGLE_TOLERANCE_RAD:
            found.append(
                Mismatch(
                    LIMITS,
                    f"{joint.name} from {joint.lower:.3f} to {joint.upper:.3f} rad",
                    f"{low:.3f} to {high:.3f} rad",
                    "narrow the joint's limits in the contract to the arm's: beyond them it does not move",
                )
            )
        if speed < joint.velocity - SPEED_TOLERANCE_RAD_S:
            found.append(
                Mismatch(
                    SPEED,
                    f"{joint.name} up to {joint.velocity:.2f} rad/s",
                    f"up to {speed:.2f} rad/s",
                    "lower the joint's velocity in the contract to the arm's: else the arm lags behind",
                )
            )
    return found


def _stroke(arm: ArmSpec, facts: ArmFacts) -> list[Mismatch]:
    gripper = arm.joints[-1]
    if facts.stroke_m is None:
        return [Mismatch(STROKE, "the gripper's stroke (0x47E)", "no answer", "check the gripper's cable")]
    if facts.stroke_m < gripper.upper - STROKE_TOLERANCE_M:
        found = f"{facts.stroke_m * 1000:.0f} mm" if facts.stroke_m else "not configured in the arm (0)"
        return [
            Mismatch(
                STROKE,
                f"a gripper of {gripper.upper * 1000:.0f} mm",
                found,
                "tell the arm its gripper (GripperTeachingPendantParamConfig, 70 or 100 mm) or correct the "
                "gripper's upper limit in the contract",
            )
        ]
    return []
