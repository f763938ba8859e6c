"""What is known of both arms. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cobotmagic_driver.backend import ArmFeedback
from cobotmagic_driver.core_types import CoreSettings
from cobotmagic_driver.interventions import Interventions
from cobotmagic_driver.watch import KnownArm, Trouble, find_troubles, is_leap
from finevla.contract.frame import NS_PER_S
from finevla.contract.robot import ARM_SIDES


class Arms:
    """The newest believable sample of each arm.

    Args:
        settings: When a sample is too old, or leaps.
        interventions: Counts samples that are not used.
    """

    def __init__(self, settings: CoreSettings, interventions: Interventions) -> None:
        self._settings, self._interventions = settings, interventions
        self._known: dict[str, KnownArm] = {}

    def take(self, side: str, feedback: ArmFeedback, now_ns: int) -> None:
        """Takes the newest sample of one arm, unless a joint leaps in it further than an arm can move."""
        settings, known = self._settings, self._known.get(side)
        # Longer than the silence that is a fault: an arm that goes on leaping becomes one.
        within_s = 2.0 * settings.feedback_timeout_s
        if known is not None and is_leap(known, feedback, now_ns, settings.feedback_leap_rad, within_s):
            self._interventions.note("feedback_leap", f"{side} arm")
            return
        self._known[side] = KnownArm(feedback, now_ns)

    def clear(self) -> None:
        """Forgets both arms."""
        self._known.clear()

    @property
    def both_known(self) -> bool:
        """True once both arms have spoken."""
        return len(self._known) == len(ARM_SIDES)

    @property
    def dark(self) -> list[str]:
        """Sides whose motors do not all report torque."""
        return [side for side, arm in self._known.items() if not arm.feedback.enabled]

    @property
    def powered(self) -> list[str]:
        """Sides whose motors all report torque."""
        return [side for side, arm in self._known.items() if arm.feedback.enabled]

    def feedback(self, side: str) -> ArmFeedback | None:
        """The newest feedback of one arm."""
        arm = self._known.get(side)
        return None if arm is None else arm.feedback

    def age_s(self, side: str, now_ns: int) -> float:
        """Seconds since the newest sample of one arm; negative: none yet."""
        arm = self._known.get(side)
        return -1.0 if arm is None else (now_ns - arm.received_ns) / NS_PER_S

    def measured(self) -> NDArray[np.float64]:
        """Measured joints of both arms, shape (14,), rad and m."""
        return np.concatenate([self._known[side].feedback.values for side in ARM_SIDES])

    def troubles(self, now_ns: int, enabling: bool) -> list[Trouble]:
        """What is wrong, see `find_troubles`."""
        return find_troubles(self._known, now_ns, self._settings.feedback_timeout_s, enabling)
