"""Faults that an arm reports: temperatures, supply, currents, status bits, error codes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from finevla_sim.arm_health import JOINTS, ArmHealth, Foc, Status
from finevla_sim.fault import Fault, check, check_motor
from finevla_sim.piper_frames import Id

HOTTEST_C = 127
"""The motor's temperature is an int8, the driver's an int16 (piper_sdk, arm_feedback_low_spd)."""
HOTTEST_DRIVER_C = 0x7FFF


@dataclass(frozen=True, slots=True)
class OverTemperature(Fault):
    """A motor or its driver (`part`: motor, driver) has `celsius`, and the bit that says too hot."""

    motor: int = 1
    celsius: float = 95.0
    part: str = "motor"

    def __post_init__(self) -> None:
        check_motor(self.motor)
        check(self.part in {"motor", "driver"}, "part is motor or driver")
        hottest = HOTTEST_C if self.part == "motor" else HOTTEST_DRIVER_C
        check(-HOTTEST_C <= self.celsius <= hottest, f"celsius is {-HOTTEST_C} to {hottest}")

    def health(self, health: ArmHealth) -> ArmHealth:
        """Hot."""
        if self.part == "motor":
            return health.motor(self.motor, Foc.MOTOR_HOT, motor_c=self.celsius)
        return health.motor(self.motor, Foc.DRIVER_HOT, driver_c=self.celsius)


@dataclass(frozen=True, slots=True)
class UnderVoltage(Fault):
    """The supply of all motors has `volts`, and the bit that says too low."""

    volts: float = 18.0

    def __post_init__(self) -> None:
        check(0.0 <= self.volts <= 6553.5, "volts are 0 to 6553.5")

    def health(self, health: ArmHealth) -> ArmHealth:
        """Low."""
        for motor in range(1, JOINTS + 1):
            health = health.motor(motor, Foc.UNDERVOLTAGE, supply_v=self.volts)
        return health


@dataclass(frozen=True, slots=True)
class OverCurrent(Fault):
    """A motor draws `amperes` (bus and phase), and the bit that says too much."""

    motor: int = 1
    amperes: float = 12.0

    def __post_init__(self) -> None:
        check_motor(self.motor)
        check(0.0 <= self.amperes <= 32.767, "amperes are 0 to 32.767, the frame's most")

    def health(self, health: ArmHealth) -> ArmHealth:
        """High."""
        return health.motor(
            self.motor, Foc.OVERCURRENT, bus_current_a=self.amperes, phase_current_a=self.amperes
        )


@dataclass(frozen=True, slots=True)
class Collision(Fault):
    """A motor reports a collision, and the arm the status for it."""

    motor: int = 1

    def __post_init__(self) -> None:
        check_motor(self.motor)

    def health(self, health: ArmHealth) -> ArmHealth:
        """The bit and the status."""
        return dataclasses.replace(health.motor(self.motor, Foc.COLLISION), status=Status.COLLISION)


@dataclass(frozen=True, slots=True)
class MotorFault(Fault):
    """A motor's driver sets one status bit: 0 to 7 but not 6, which says that it is on."""

    motor: int = 1
    bit: int = 5

    def __post_init__(self) -> None:
        check_motor(self.motor)
        check(0 <= self.bit <= 7 and self.bit != 6, "bit is 0 to 5 or 7")

    def health(self, health: ArmHealth) -> ArmHealth:
        """The bit."""
        return health.motor(self.motor, 1 << self.bit)


@dataclass(frozen=True, slots=True)
class JointOffline(Fault):
    """The controller does not hear a joint: its frames miss, status 5 and its bit of the error code."""

    motor: int = 1

    def __post_init__(self) -> None:
        check_motor(self.motor)

    def health(self, health: ArmHealth) -> ArmHealth:
        """Status and error code."""
        code = health.error_code | 1 << (self.motor - 1)
        return dataclasses.replace(health, status=Status.JOINT_SILENT, error_code=code)

    def loses(self, can_id: int, rng: np.random.Generator) -> bool:
        """The frames of this motor."""
        del rng
        return can_id in {Id.HIGH_SPEED_1 + self.motor - 1, Id.LOW_SPEED_1 + self.motor - 1}


@dataclass(frozen=True, slots=True)
class ArmError(Fault):
    """The arm reports a status (0 to 15) and an error code (uint16)."""

    status: int = 9
    error_code: int = 0

    def __post_init__(self) -> None:
        check(0 <= self.status <= 0xFF, "status is 0 to 15")
        check(0 <= self.error_code <= 0xFFFF, "error_code is 0 to 65535")

    def health(self, health: ArmHealth) -> ArmHealth:
        """Status and error code."""
        return dataclasses.replace(health, status=self.status, error_code=self.error_code)
