"""What goes into the policy loop and what comes out of it, without ROS."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np

from finevla.contract import REPLAN_FRAMES, ActionChunk
from finevla.contract.assemble import Frame


class State(StrEnum):
    """What the policy is doing; names as the constants of `finevla_msgs/PolicyStatus`."""

    INACTIVE = "INACTIVE"
    IDLE = "IDLE"
    RUNNING = "RUNNING"
    HOLDING = "HOLDING"


class Outcome(StrEnum):
    """What became of an instruction; names as the constants of `finevla_msgs/InstructionStatus`."""

    APPLIED = "APPLIED"
    FINISHED = "FINISHED"
    REJECTED = "REJECTED"
    SUPERSEDED = "SUPERSEDED"


@dataclass(frozen=True, slots=True)
class LoopConfig:
    """When to infer and when to stop. Times in s, motion in rad and m."""

    replan_frames: int = REPLAN_FRAMES
    camera_stale_s: float = 1.0
    joints_stale_s: float = 0.5
    frame_stale_s: float = 1.5
    driver_stale_s: float = 1.0
    inference_stuck_s: float = 2.0
    instruction_timeout_s: float = 60.0
    settle_arm_rad: float = 0.04
    settle_gripper_m: float = 0.008
    settle_inferences: int = 3
    settle_min_run_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Status:
    """The loop at a glance; what `PolicyStatus` reports besides latencies."""

    state: State
    reason_code: str
    reason: str
    instruction_id: str
    chunks: int


@dataclass(frozen=True, slots=True)
class Job:
    """One inference to be done: frame, sentence, and the instruction that it belongs to.

    Images are still messages: the worker decodes those of the few frames that are inferred.
    """

    frame: Frame[Any]
    text: str
    instruction_id: str


@dataclass(frozen=True, slots=True)
class SendChunk:
    """Effect: publish this chunk; without targets it commands a hold at once."""

    chunk: ActionChunk
    sequence: int


@dataclass(frozen=True, slots=True)
class Report:
    """Effect: publish what became of an instruction."""

    instruction_id: str
    outcome: Outcome
    reason_code: str = ""
    reason: str = ""
    step: int = 0


Effect = SendChunk | Report


@dataclass(frozen=True, slots=True)
class DriverView:
    """The newest driver state; `state` is a name of the constants of `DriverState`."""

    state: str
    reason_code: str
    reason: str
    instruction_id: str
    received_ns: int


@dataclass(slots=True)
class Latencies:
    """Times of the newest inferences in s."""

    _last: deque[float] = field(default_factory=lambda: deque(maxlen=100))

    def add(self, seconds: float) -> None:
        """Takes the time of one inference."""
        self._last.append(seconds)

    @property
    def newest_s(self) -> float:
        """The newest one; 0 before the first."""
        return self._last[-1] if self._last else 0.0

    @property
    def p95_s(self) -> float:
        """95th percentile of the last hundred; 0 before the first."""
        return float(np.percentile(self._last, 95)) if self._last else 0.0
