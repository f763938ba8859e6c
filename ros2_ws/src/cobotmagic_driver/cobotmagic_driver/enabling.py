"""An enable that is under way: from the operator's word until the motors of both arms report torque. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cobotmagic_driver.core_types import CoreSettings, Request
from finevla.contract.frame import NS_PER_S
from finevla.contract.robot import ARM_SIDES, RobotContract

FOLLOWED_RAD = 0.05
"""An arm at rest within this of its command, rad or m, has followed it; load alone keeps a Piper nearer."""


@dataclass(frozen=True, slots=True)
class Enabling:
    """What is wanted, and from where the arms will go on.

    Attributes:
        request: The operator's wish.
        had_torque: Whether both arms held when it was uttered: what a gripper holds must not fall because the
            operator enables again.
    """

    request: Request
    had_torque: bool

    def overdue(self, dark: Collection[str], now_ns: int, settings: CoreSettings) -> str:
        """Why motors that are still without torque are given up; empty: they have time left."""
        if now_ns - self.request.started_ns <= settings.enable_timeout_s * NS_PER_S:
            return ""
        return (
            f"the motors of the {' and '.join(dark)} arm did not report torque within "
            f"{settings.enable_timeout_s:g} s: check power and the emergency stop button"
        )

    def beginning(
        self,
        command: NDArray[np.float64],
        pose: NDArray[np.float64],
        lost: Collection[str],
        contract: RobotContract,
    ) -> NDArray[np.float64]:
        """Where the command begins: where it ended, for an arm that has followed it till now.

        Any other arm begins where it is: what it was told last is not where it went.

        Args:
            command: The command that was passed last, shape (14,), rad and m.
            pose: Where the arms shall hold, shape (14,).
            lost: Sides that were sent nothing lately.
            contract: The robot.
        """
        start = pose.copy()
        for side in ARM_SIDES if self.had_torque else ():
            part = contract.arm_slice(side)
            if side not in lost and np.abs(command - pose)[part].max() <= FOLLOWED_RAD:
                start[part] = command[part]
        return start
