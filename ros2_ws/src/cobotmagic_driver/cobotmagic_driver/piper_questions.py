"""What a Piper is asked at start-up, and what is set in it; nothing here moves a joint."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from cobotmagic_driver.piper_reader import PiperReader
from cobotmagic_driver.startup import ArmFacts
from finevla.errors import DriverError

FIRMWARE, GRIPPER_PARAMETERS, CRASH_LEVELS = 0x4AF, 0x47E, 0x47B
QUERY_CRASH_LEVELS, QUERY_GRIPPER = 2, 4
"""Parameter queries (0x477)."""
ANSWER_S, ASK_AGAIN_S = 2.0, 0.4
JOINTS = range(1, 7)


class Questions:
    """Asks one arm, and again after a while, because a frame may be lost.

    Args:
        sdk: The SDK's interface.
        reader: Takes the answers.
        drain: Reads what has come on the bus.
    """

    def __init__(self, sdk: Any, reader: PiperReader, drain: Callable[[], None]) -> None:
        self._sdk, self._reader, self._drain = sdk, reader, drain

    def facts(self, joints: int) -> ArmFacts:
        """What the arm says of itself; what it has not answered in time is empty."""

        def ask() -> None:
            self._sdk.SearchPiperFirmwareVersion()
            self._sdk.SearchAllMotorMaxAngleSpd()
            self._sdk.ArmParamEnquiryAndConfig(param_enquiry=QUERY_GRIPPER)

        def whole() -> bool:
            facts = self._facts(joints)
            return bool(facts.firmware and facts.lower and facts.stroke_m is not None)

        self._until(whole, ask)
        return self._facts(joints)

    def set_crash_level(self, level: int, side: str) -> None:
        """Sets the collision protection of all joints, and reads it back.

        Raises:
            DriverError: The arm does not report the level.
        """

        def ask() -> None:
            self._sdk.CrashProtectionConfig(*[level for _ in JOINTS])
            self._sdk.ArmParamEnquiryAndConfig(param_enquiry=QUERY_CRASH_LEVELS)

        if not self._until(lambda: self._crash_levels() == [level for _ in JOINTS], ask):
            raise DriverError(
                f"the {side} arm did not take its collision protection",
                where="frames 0x47A and 0x47B",
                expected=f"level {level} in all joints",
                found=self._crash_levels() or "no answer",
                remedy="power the arm off and on, or leave it as it is: crash_protection_level:=-1",
            )

    def _until(self, done: Callable[[], bool], ask: Callable[[], None]) -> bool:
        deadline = time.monotonic() + ANSWER_S
        ask_at = time.monotonic()
        while time.monotonic() < deadline:
            self._drain()
            if done():
                return True
            if time.monotonic() >= ask_at:
                ask_at = time.monotonic() + ASK_AGAIN_S
                ask()
            time.sleep(0.01)
        return done()

    def _facts(self, joints: int) -> ArmFacts:
        reader = self._reader
        known = [reader.limits.get(number) for number in range(1, joints + 1)]
        lower, upper, speed = zip(*known, strict=True) if None not in known else ((), (), ())
        gripper = self._sdk.GetGripperTeachingPendantParamFeedback().arm_gripper_teaching_param_feedback
        return ArmFacts(
            firmware=reader.firmware if FIRMWARE in reader.seen else "",
            lower=lower,
            upper=upper,
            speed=speed,
            stroke_m=gripper.max_range_config / 1000 if GRIPPER_PARAMETERS in reader.seen else None,
        )

    def _crash_levels(self) -> list[int]:
        if CRASH_LEVELS not in self._reader.seen:
            return []
        levels = self._sdk.GetCrashProtectionLevelFeedback().crash_protection_level_feedback
        return [getattr(levels, f"joint_{number}_protection_level") for number in JOINTS]
