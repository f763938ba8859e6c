"""How often a Piper sends each group of its frames."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

FEEDBACK_HZ = 200
"""Rate of joint, gripper, pose, status and high-speed frames."""


class FrameSet(StrEnum):
    """Which feedback an arm sends.

    FULL is what a real arm sends: 14 kinds at 200 Hz and 6 at 40 Hz, 3040 frames a second. REDUCED
    sends what the driver reads: joints and gripper at 200 Hz, status and motors at 20 Hz.
    """

    FULL = "full"
    REDUCED = "reduced"


@dataclass(frozen=True, slots=True)
class Schedule:
    """Every how many ticks of 200 Hz a group of frames is sent; 0: never."""

    status: int
    motors: int
    pose: int
    high_speed: int


SCHEDULES = {FrameSet.FULL: Schedule(1, 5, 1, 1), FrameSet.REDUCED: Schedule(10, 10, 0, 0)}
