"""What the driver needs of an arm, whatever carries it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ArmHealth:
    """What an arm said last about its six motors and itself; readings that have not come are empty.

    Attributes:
        firmware: Version as the arm spells it, such as `S-V1.8-2`.
        motor_celsius: Temperature of each motor.
        driver_celsius: Temperature of each motor's driver.
        motor_ampere: Current that each motor's driver takes.
        supply_volt: Supply as each motor's driver sees it.
        control_mode: 0 standby, 1 CAN, 2 taught by hand (0x2A1).
    """

    firmware: str = ""
    motor_celsius: tuple[float, ...] = ()
    driver_celsius: tuple[float, ...] = ()
    motor_ampere: tuple[float, ...] = ()
    supply_volt: tuple[float, ...] = ()
    control_mode: int = 0


@dataclass(frozen=True, slots=True)
class ArmFeedback:
    """One sample of what an arm said about itself.

    Attributes:
        values: Measured joints, shape (7,), rad and m of gripper opening.
        stamp_ns: When they were measured, ns since the epoch.
        enabled: All six motors hold torque.
        arm_status: Piper status code; 0 is normal.
        error_code: Piper error bits; 0 is none.
        faults: Names of the fault bits that a motor has set, such as `motor 2 overcurrent`.
        foreign_commands: Commands were seen on the bus that this driver did not send.
        health: Temperatures, currents, voltages.
    """

    values: NDArray[np.float64]
    stamp_ns: int
    enabled: bool
    arm_status: int = 0
    error_code: int = 0
    faults: tuple[str, ...] = ()
    foreign_commands: bool = False
    health: ArmHealth = ArmHealth()


class ArmBackend(Protocol):
    """One arm. All methods are called from one thread at a time and return within a millisecond or two.

    `connect`, `check` and `disconnect` may take seconds.
    """

    def connect(self) -> None:
        """Opens the channel.

        Raises:
            DriverError: The channel cannot be opened.
        """

    def why_silent(self) -> str:
        """What is known of an arm that sends no feedback after `connect`; empty: nothing."""

    def check(self) -> Sequence[str]:
        """Asks the arm what it is, and compares that with the contract.

        Returns:
            Sentences about differences that were accepted.

        Raises:
            DriverError: It is not the arm of the contract.
        """

    def disconnect(self) -> None:
        """Closes the channel; the arm keeps holding its pose."""

    def poll(self) -> Sequence[ArmFeedback]:
        """All samples since the last call, oldest first; none where nothing came."""

    def request_enable(self, values: NDArray[np.float64]) -> None:
        """Asks once for torque, holding at the measured `values`; repeat until feedback says enabled."""

    def send(self, values: NDArray[np.float64]) -> None:
        """Sends joint targets, shape (7,), rad and m."""

    def stop(self) -> None:
        """Emergency stop. The arm stays stopped until `reset`."""

    def reset(self) -> None:
        """Ends an emergency stop. The motors lose power: THE ARM FALLS. Only on an operator's word."""
