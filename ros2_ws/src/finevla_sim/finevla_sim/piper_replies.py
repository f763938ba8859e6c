"""What a Piper answers to queries and settings (0x472 to 0x47E and 0x4AF): pure functions of its identity."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

from finevla_sim import piper_frames as frames
from finevla_sim.arm_health import JOINTS, ArmIdentity, GripperSettings, JointLimit
from finevla_sim.piper_frames import Frame, Id

KEEP = 0x7FFF
"""A field of a setting that leaves the value as it is (piper_sdk, 0x474, 0x475)."""
MARK = 0xAE
"""A field of a setting that says yes (piper_sdk, 0x475)."""
ALL_MOTORS = 7
LIMITS, ACCELERATION = 1, 2
"""What 0x472 asks for."""
RESET_END, RESET_JOINTS = 1, 2
"""What 0x477 sets to its first value."""

Reply = tuple[ArmIdentity, list[Frame]]
"""The arm's own settings afterwards, and the frames that it answers."""


def acknowledge(can_id: int, *, zeroed: bool = False) -> Frame:
    """0x476: the last byte of the setting's id, and whether a zero point was set."""
    return (Id.ACKNOWLEDGE, frames.padded(can_id & 0xFF, int(zeroed)))


def respond(
    own: ArmIdentity, shown: ArmIdentity, first: ArmIdentity, can_id: int, data: bytes
) -> Reply | None:
    """Answers one frame.

    Args:
        own: What the arm is set to; settings change this.
        shown: What it says about itself; queries are answered from this.
        first: What it was set to when it was made.
        can_id: Id of the frame.
        data: Its eight bytes.

    Returns:
        None if the frame is neither a query nor a setting.
    """
    if can_id in _QUERIES:
        return own, _QUERIES[can_id](shown, data)
    if can_id == Id.QUERY_PARAMETERS:
        return _parameters(own, shown, first, data)
    if can_id in _SETTINGS:
        return _SETTINGS[can_id](own, data), [acknowledge(can_id)]
    return None


def _limits(shown: ArmIdentity, data: bytes) -> list[Frame]:
    motor, content = data[0], data[1]
    if not 1 <= motor <= JOINTS:
        return []
    limit = shown.limits[motor - 1]
    if content == ACCELERATION:
        thousandths = round(limit.acceleration * 1000)
        return [(Id.ACCELERATION_LIMIT, frames.acceleration_limit(motor, min(thousandths, 0xFFFF)))]
    upper, lower = (round(math.degrees(bound) * 10) for bound in (limit.upper, limit.lower))
    return [(Id.ANGLE_LIMITS, frames.angle_limits(motor, upper, lower, round(limit.velocity * 1000)))]


def _firmware(shown: ArmIdentity, _data: bytes) -> list[Frame]:
    if shown.firmware is None:
        return []
    text = shown.firmware.encode("ascii")
    # The SDK puts the data of all answers together and looks for "S-V" in it.
    return [(Id.FIRMWARE, text[i : i + 8].ljust(8, b"\0")) for i in range(0, len(text), 8)]


def _parameters(own: ArmIdentity, shown: ArmIdentity, first: ArmIdentity, data: bytes) -> Reply:
    query, setting = data[0], data[1]
    gripper = shown.gripper
    answers = {
        1: (Id.END_LIMITS, frames.four_words(shown.end_limits)),
        2: (Id.CRASH_LEVELS, frames.padded(*shown.crash_levels)),
        4: (
            Id.GRIPPER_PARAMETERS,
            frames.padded(gripper.teach_percent, gripper.stroke_mm, gripper.friction),
        ),
    }
    out = [answers[query]] if query in answers else []
    if setting == RESET_END:
        own = dataclasses.replace(own, end_limits=first.end_limits)
    elif setting == RESET_JOINTS:
        own = dataclasses.replace(own, limits=first.limits)
    if setting in {RESET_END, RESET_JOINTS}:
        out.append(acknowledge(Id.QUERY_PARAMETERS))
    return own, out


def _set_limits(own: ArmIdentity, data: bytes) -> ArmIdentity:
    motor, upper, lower, speed = frames.unpack_limits(data)

    def changed(limit: JointLimit) -> JointLimit:
        return dataclasses.replace(
            limit,
            upper=limit.upper if upper == KEEP else math.radians(upper / 10),
            lower=limit.lower if lower == KEEP else math.radians(lower / 10),
            velocity=limit.velocity if speed == KEEP else speed / 1000,
        )

    return _each_limit(own, motor, changed)


def _set_joint(own: ArmIdentity, data: bytes) -> ArmIdentity:
    """Acceleration only. A zero point is not set, and the acknowledgement says so."""
    motor, _zero, valid, acceleration, _clear = frames.unpack_joint_settings(data)
    if valid != MARK or acceleration == KEEP:
        return own
    return _each_limit(own, motor, lambda limit: dataclasses.replace(limit, acceleration=acceleration / 100))


def _each_limit(own: ArmIdentity, motor: int, change: Callable[[JointLimit], JointLimit]) -> ArmIdentity:
    limits = [
        change(limit) if motor in {number, ALL_MOTORS} else limit
        for number, limit in enumerate(own.limits, 1)
    ]
    return dataclasses.replace(own, limits=tuple(limits))


def _set_end_limits(own: ArmIdentity, data: bytes) -> ArmIdentity:
    new = [
        old if word == KEEP else word
        for old, word in zip(own.end_limits, frames.unpack_four_words(data), strict=True)
    ]
    return dataclasses.replace(own, end_limits=(new[0], new[1], new[2], new[3]))


def _set_crash_levels(own: ArmIdentity, data: bytes) -> ArmIdentity:
    return dataclasses.replace(own, crash_levels=tuple(data[:JOINTS]))


def _set_gripper(own: ArmIdentity, data: bytes) -> ArmIdentity:
    stroke = data[1] or own.gripper.stroke_mm  # 0 leaves it (piper_sdk, 0x47D)
    return dataclasses.replace(own, gripper=GripperSettings(data[0], stroke, data[2]))


_QUERIES: dict[int, Callable[[ArmIdentity, bytes], list[Frame]]] = {
    Id.QUERY_LIMITS: _limits,
    Id.FIRMWARE: _firmware,
}
_SETTINGS: dict[int, Callable[[ArmIdentity, bytes], ArmIdentity]] = {
    Id.SET_LIMITS: _set_limits,
    Id.SET_JOINT: _set_joint,
    Id.SET_END_LIMITS: _set_end_limits,
    Id.COMMAND_CRASH_LEVELS: _set_crash_levels,
    Id.SET_GRIPPER_PARAMETERS: _set_gripper,
}
