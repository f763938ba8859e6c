"""An arm that is listened to and never moved: everything runs, no command reaches the bus."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cobotmagic_driver.backend import ArmBackend, ArmFeedback
from cobotmagic_driver.watch import EMERGENCY_STOPPED


class DryRunArm:
    """Stands before a backend; its feedback is real, except that torque and stop are only played.

    So the whole graph can be tried on a robot before it is allowed to move: what would have been sent is
    in `last`, and the driver's state says `dry_run`.
    """

    def __init__(self, arm: ArmBackend) -> None:
        self._arm = arm
        self._enabled = self._stopped = False
        self.last: NDArray[np.float64] | None = None
        """What would have been sent last, shape (7,), rad and m."""

    def connect(self) -> None:
        """Opens the channel."""
        self._arm.connect()

    def why_silent(self) -> str:
        """See `ArmBackend`."""
        return self._arm.why_silent()

    def check(self) -> Sequence[str]:
        """See `ArmBackend`."""
        return self._arm.check()

    def disconnect(self) -> None:
        """Closes the channel."""
        self._enabled = self._stopped = False
        self._arm.disconnect()

    def poll(self) -> Sequence[ArmFeedback]:
        """Real feedback with torque and stop as they are played."""
        return [
            dataclasses.replace(
                sample,
                enabled=self._enabled,
                arm_status=EMERGENCY_STOPPED if self._stopped else sample.arm_status,
            )
            for sample in self._arm.poll()
        ]

    def request_enable(self, values: NDArray[np.float64]) -> None:  # noqa: ARG002 - the protocol's
        """Plays that the motors are on."""
        self._enabled = True

    def send(self, values: NDArray[np.float64]) -> None:
        """Keeps what would have been sent."""
        self.last = values.copy()

    def stop(self) -> None:
        """Plays a stop."""
        self._stopped = True

    def reset(self) -> None:
        """Plays a reset."""
        self._enabled = self._stopped = False
