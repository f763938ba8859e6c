"""The Piper's CAN frames as bytes: ids and layouts, 11-bit ids, big-endian, eight bytes each.

Only what the emulated arm of `piper_device` reads and sends.
"""

from __future__ import annotations

import struct
from enum import IntEnum

Frame = tuple[int, bytes]
"""A CAN id and its eight data bytes."""


class Id(IntEnum):
    """CAN ids. Names say who sends: commands come from the host, the rest from the arm."""

    COMMAND_STOP = 0x150
    COMMAND_MODE = 0x151
    COMMAND_JOINTS_12 = 0x155
    COMMAND_JOINTS_34 = 0x156
    COMMAND_JOINTS_56 = 0x157
    COMMAND_GRIPPER = 0x159
    HIGH_SPEED_1 = 0x251
    LOW_SPEED_1 = 0x261
    STATUS = 0x2A1
    END_POSE_XY = 0x2A2
    END_POSE_ZRX = 0x2A3
    END_POSE_RYRZ = 0x2A4
    JOINTS_12 = 0x2A5
    JOINTS_34 = 0x2A6
    JOINTS_56 = 0x2A7
    GRIPPER = 0x2A8
    COMMAND_ROLE = 0x470
    COMMAND_ENABLE = 0x471
    QUERY_LIMITS = 0x472
    ANGLE_LIMITS = 0x473
    SET_LIMITS = 0x474
    SET_JOINT = 0x475
    ACKNOWLEDGE = 0x476
    QUERY_PARAMETERS = 0x477
    END_LIMITS = 0x478
    SET_END_LIMITS = 0x479
    COMMAND_CRASH_LEVELS = 0x47A
    CRASH_LEVELS = 0x47B
    ACCELERATION_LIMIT = 0x47C
    SET_GRIPPER_PARAMETERS = 0x47D
    GRIPPER_PARAMETERS = 0x47E
    FIRMWARE = 0x4AF


JOINT_COMMANDS = (Id.COMMAND_JOINTS_12, Id.COMMAND_JOINTS_34, Id.COMMAND_JOINTS_56)
JOINT_FEEDBACK = (Id.JOINTS_12, Id.JOINTS_34, Id.JOINTS_56)
END_POSE_FEEDBACK = (Id.END_POSE_XY, Id.END_POSE_ZRX, Id.END_POSE_RYRZ)

_PAIR = struct.Struct(">ii")
_GRIPPER = struct.Struct(">ihBB")
_HIGH_SPEED = struct.Struct(">hhi")
_LOW_SPEED = struct.Struct(">HhbBH")
_STATUS = struct.Struct(">6BH")
_ANGLE_LIMITS = struct.Struct(">BhhHx")
_ACCELERATION = struct.Struct(">BH5x")
_FOUR_WORDS = struct.Struct(">4H")
_JOINT_SETTINGS = struct.Struct(">BBBHBxx")


def pair(first: int, second: int) -> bytes:
    """Two int32 values: joints, pose."""
    return _PAIR.pack(first, second)


def unpack_pair(data: bytes) -> tuple[int, int]:
    """The two int32 values of a joint frame."""
    first, second = _PAIR.unpack(data)
    return first, second


def unpack_gripper(data: bytes) -> tuple[int, int, int, int]:
    """Opening (0.001 mm), effort (0.001 N m), code and zero mark of a gripper command."""
    opening, effort, code, zero = _GRIPPER.unpack(data)
    return opening, effort, code, zero


def gripper(opening: int, effort: int, status: int) -> bytes:
    """Gripper feedback: opening 0.001 mm, effort 0.001 N m, status bits."""
    return _GRIPPER.pack(opening, effort, status, 0)


def status(
    control_mode: int, arm_status: int, move_mode: int, teach: int, motion: int, point: int, errors: int
) -> bytes:
    """Status feedback 0x2A1."""
    return _STATUS.pack(control_mode, arm_status, move_mode, teach, motion, point, errors)


def high_speed(speed: int, current: int, position: int) -> bytes:
    """Motor feedback: speed 0.001 rad/s, current 0.001 A, position 0.001 rad."""
    return _HIGH_SPEED.pack(_int16(speed), _int16(current), position)


def low_speed(
    voltage: int, driver_temperature: int, motor_temperature: int, bits: int, current: int
) -> bytes:
    """Motor driver feedback: voltage 0.1 V, temperatures 1 degree C, status bits, bus current 0.001 A.

    The driver's temperature is an int16, the motor's an int8 (piper_sdk, arm_feedback_low_spd).
    """
    return _LOW_SPEED.pack(voltage, driver_temperature, motor_temperature, bits, current)


def angle_limits(motor: int, upper: int, lower: int, speed: int) -> bytes:
    """Limits of one motor: angles 0.1 degree, speed 0.001 rad/s."""
    return _ANGLE_LIMITS.pack(motor, upper, lower, speed)


def acceleration_limit(motor: int, limit: int) -> bytes:
    """Largest acceleration of one motor, 0.001 rad/s^2."""
    return _ACCELERATION.pack(motor, limit)


def four_words(values: tuple[int, int, int, int]) -> bytes:
    """Four uint16 values."""
    return _FOUR_WORDS.pack(*values)


def unpack_limits(data: bytes) -> tuple[int, int, int, int]:
    """Motor, upper and lower angle (0.1 degree) and speed (0.001 rad/s) of a 0x474 frame."""
    motor, upper, lower, speed = _ANGLE_LIMITS.unpack(data)
    return motor, upper, lower, speed


def unpack_joint_settings(data: bytes) -> tuple[int, int, int, int, int]:
    """Of 0x475: motor, zero mark, mark that the next counts, acceleration (0.01 rad/s^2), clear mark."""
    motor, zero, valid, acceleration, clear = _JOINT_SETTINGS.unpack(data)
    return motor, zero, valid, acceleration, clear


def unpack_four_words(data: bytes) -> tuple[int, int, int, int]:
    """Four uint16 values of 0x479: speeds and accelerations of the tool."""
    first, second, third, fourth = _FOUR_WORDS.unpack(data)
    return first, second, third, fourth


def padded(*values: int) -> bytes:
    """Single bytes, filled up with zeros to eight."""
    return bytes(values).ljust(8, b"\0")


def _int16(value: int) -> int:
    return min(max(value, -0x8000), 0x7FFF)
