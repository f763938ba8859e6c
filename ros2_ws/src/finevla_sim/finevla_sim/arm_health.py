"""What a Piper tells about itself: how its motors fare, what its firmware is set to, what is done to it.

Values are in SI units and degrees Celsius here; `piper_reports` and `piper_replies` make frames of them.
Motors are numbered 1 to 6, as on the CAN bus.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Any

from finevla.contract.robot import ArmSpec

JOINTS = 6


class Foc(IntFlag):
    """Status bits of a motor's driver, byte 5 of 0x261 to 0x266 (piper_sdk, arm_feedback_low_spd)."""

    UNDERVOLTAGE = 1 << 0
    MOTOR_HOT = 1 << 1
    OVERCURRENT = 1 << 2
    DRIVER_HOT = 1 << 3
    COLLISION = 1 << 4
    DRIVER_ERROR = 1 << 5
    ENABLED = 1 << 6
    STALL = 1 << 7


class Status(IntEnum):
    """Arm status, byte 1 of 0x2A1 (piper_sdk, arm_feedback_status)."""

    NORMAL = 0x0
    STOPPED = 0x1
    NO_SOLUTION = 0x2
    SINGULARITY = 0x3
    OVER_LIMIT = 0x4
    JOINT_SILENT = 0x5
    BRAKE = 0x6
    COLLISION = 0x7
    TEACH_OVERSPEED = 0x8
    JOINT_ABNORMAL = 0x9
    OTHER = 0xA
    TEACH_RECORD = 0xB
    TEACH_REPLAY = 0xC
    TEACH_PAUSE = 0xD
    CONTROLLER_HOT = 0xE
    RESISTOR_HOT = 0xF


class ControlMode(IntEnum):
    """Who moves the arm, byte 0 of 0x2A1 (piper_sdk, arm_feedback_status)."""

    STANDBY = 0
    CAN = 1
    TEACH = 2
    LEADER = 6


@dataclass(frozen=True, slots=True)
class MotorHealth:
    """One motor and its driver.

    Attributes:
        driver_c: Temperature of the driver, degrees Celsius.
        motor_c: Temperature of the motor, degrees Celsius; the frame holds -128 to 127.
        supply_v: Voltage of the supply, V.
        bus_current_a: Current out of the supply, A (0x261 to 0x266).
        phase_current_a: Current of the motor, A (0x251 to 0x256).
        bits: Status bits, `Foc`; the arm adds `ENABLED` itself.
    """

    driver_c: float = 30.0
    motor_c: float = 30.0
    supply_v: float = 24.0
    bus_current_a: float = 0.0
    phase_current_a: float = 0.0
    bits: int = 0


@dataclass(frozen=True, slots=True)
class ArmHealth:
    """How an arm fares.

    Attributes:
        motors: The six motors.
        status: Arm status that hides the arm's own while it is not `NORMAL`.
        error_code: uint16 of 0x2A1: bits 8 to 13 joint 1 to 6 over its limit, bits 0 to 5 joint 1 to 6
            does not answer (piper_sdk, `err_code` of arm_feedback_status).
        gripper_bits: Status bits of the gripper besides its enabled and homed bits (0x2A8, byte 6).
    """

    motors: tuple[MotorHealth, ...] = (MotorHealth(),) * JOINTS
    status: int = Status.NORMAL
    error_code: int = 0
    gripper_bits: int = 0

    def motor(self, number: int, bits: int = 0, **values: Any) -> ArmHealth:
        """The same arm with other `values` of motor 1 to 6 and `bits` besides those that it has."""
        old = self.motors[number - 1]
        new = dataclasses.replace(old, bits=old.bits | bits, **values)
        return dataclasses.replace(self, motors=(*self.motors[: number - 1], new, *self.motors[number:]))


@dataclass(frozen=True, slots=True)
class JointLimit:
    """What the firmware allows a joint: angles in rad, speed in rad/s, acceleration in rad/s^2."""

    lower: float
    upper: float
    velocity: float
    acceleration: float = 5.0


@dataclass(frozen=True, slots=True)
class GripperSettings:
    """Answer 0x47E: scale of a leader's stroke (percent), largest stroke (70 or 100 mm), friction 1 to 10."""

    teach_percent: int = 100
    stroke_mm: int = 70
    friction: int = 1


@dataclass(frozen=True, slots=True)
class ArmIdentity:
    """What the firmware is and is set to.

    Attributes:
        limits: The six joints; the arm refuses targets beyond them.
        firmware: Text of 0x4AF; None: the arm does not answer, as firmwares before the query.
        end_limits: Tool speed 0.001 m/s and 0.001 rad/s, acceleration 0.001 m/s^2 and 0.001 rad/s^2 (0x478).
        gripper: Stroke and teaching pendant.
        crash_levels: Collision protection of the six joints, 0 (off) to 8.
        follows_after_restart: A leader that is told to follow does so only after its next power-up. The SDK
            says both: can_id.py that 0xFC acts at once, demo/V2/README that the arm must be restarted.
    """

    limits: tuple[JointLimit, ...]
    firmware: str | None = "S-V1.8-2"
    end_limits: tuple[int, int, int, int] = (1000, 3000, 1000, 3000)
    gripper: GripperSettings = GripperSettings()
    crash_levels: tuple[int, ...] = (0,) * JOINTS
    follows_after_restart: bool = False

    @classmethod
    def of(cls, arm: ArmSpec) -> ArmIdentity:
        """An arm that is set to what the contract says of it."""
        return cls(tuple(JointLimit(j.lower, j.upper, j.velocity) for j in arm.joints[:JOINTS]))


def _same[T](value: T) -> T:
    return value


@dataclass(frozen=True, slots=True)
class Condition:
    """What is done to an arm from outside, at this moment. The default is a sound arm.

    Attributes:
        health: What its health looks like.
        identity: What its firmware and settings look like.
        leads: It was made a leader.
        teaches: Somebody guides it by hand, gravity compensated.
        powered: Its motors have a supply.
        held: Joints that cannot move, 1 to 6, 7 is the gripper.
    """

    health: Callable[[ArmHealth], ArmHealth] = _same
    identity: Callable[[ArmIdentity], ArmIdentity] = _same
    leads: bool = False
    teaches: bool = False
    powered: bool = True
    held: frozenset[int] = frozenset()


SOUND = Condition()
