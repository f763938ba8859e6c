"""The policy loop without ROS: when to infer, when to stop, and what to tell.

Events go in as method calls (`instruct`, `observe`, `succeed`, `watch`, ...), effects come out of
`take_effects`; the node publishes them. The loop never waits and knows the time only from its
clock. It stops in three ways: the instruction ends (settled, canceled, timeout) and the policy is
IDLE; a fault makes it HOLDING; deactivation. Every end but a settled one sends one chunk without
targets, so that the arms hold at once. Only an instruction with a new id starts motion again.
Not thread safe: the node calls it under one lock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from finevla.contract import ActionChunk, RobotContract
from finevla.contract.assemble import Frame
from finevla.contract.frame import NS_PER_S
from finevla.contract.settle import SettleDetector
from finevla.errors import FineVLAError, InstructionError
from finevla_policy.faults import Fault, RunContext, driver_fault, stale_streams
from finevla_policy.loop_types import (
    DriverView,
    Effect,
    Job,
    LoopConfig,
    Outcome,
    Report,
    SendChunk,
    State,
    Status,
)

REMEMBERED_IDS = 1000


class PolicyLoop:
    """State machine of one policy.

    Args:
        contract: Names, rates and topics of the robot.
        config: Times and thresholds.
        clock: Returns the time in ns since the epoch, of the same clock as all stamps.
        check: Raises InstructionError where the loaded policy cannot follow a sentence.
    """

    def __init__(
        self,
        contract: RobotContract,
        config: LoopConfig,
        clock: Callable[[], int],
        check: Callable[[str], None],
    ) -> None:
        self._contract = contract
        self._config = config
        self._clock = clock
        self._check = check
        self._created_ns = clock()
        self._effects: list[Effect] = []
        self._applied = False
        self._settle = SettleDetector(
            contract,
            arm_rad=config.settle_arm_rad,
            gripper_m=config.settle_gripper_m,
            count=config.settle_inferences,
        )
        self._seen: deque[str] = deque(maxlen=REMEMBERED_IDS)
        self._pending: Job | None = None
        self._in_flight: tuple[Job, int] | None = None
        self._latest: Frame[Any] | None = None
        self._checkpoint_id = ""
        self._become(State.INACTIVE, "not_activated", "the policy is not active")
        self._begin("", "")
        self._activated_ns = 0
        self._sequence = 0

    # ---- what the node reads

    @property
    def status(self) -> Status:
        """What the loop is doing now."""
        return Status(self._state, self._reason_code, self._reason, self._id, self._sequence)

    @property
    def running(self) -> bool:
        """Whether an instruction is being followed."""
        return self._state is State.RUNNING

    @property
    def text(self) -> str:
        """Sentence of the newest accepted instruction."""
        return self._text

    def take_effects(self) -> list[Effect]:
        """Everything to be published since the last call, in order."""
        effects, self._effects = self._effects, []
        return effects

    # ---- lifecycle

    def activate(self, checkpoint_id: str) -> None:
        """Makes the loop ready for instructions that are said from now on."""
        self._checkpoint_id = checkpoint_id
        self._activated_ns = self._clock()
        self._sequence = 0
        self._pending = self._in_flight = self._latest = None
        self._begin("", "")
        self._become(State.IDLE, "", "ready for an instruction")

    def deactivate(
        self, reason_code: str = "not_activated", reason: str = "the policy is not active"
    ) -> None:
        """Ends the instruction, if any, with a hold; nothing is followed until the next `activate`."""
        if self.running:
            self._end(State.INACTIVE, "deactivated", "the policy was deactivated")
        self._become(State.INACTIVE, reason_code, reason)

    def change_checkpoint(self, checkpoint_id: str) -> None:
        """Names the bundle that answers from now on; one in flight still carries the old name."""
        self._checkpoint_id = checkpoint_id

    # ---- instructions

    def instruct(self, instruction_id: str, text: str, said_ns: int) -> None:
        """Takes an instruction. One that was seen before, or said before activation, starts nothing."""
        if instruction_id in self._seen:
            return
        self._seen.append(instruction_id)
        if self._state is State.INACTIVE or said_ns < self._activated_ns:
            # A latched message from before this process was somebody else's to answer.
            if said_ns >= self._created_ns:
                reason = "it was said before the policy became active; say it again"
                self._report(instruction_id, Outcome.REJECTED, "not_active", reason)
            return
        if self.running:
            self._report(
                self._id, Outcome.SUPERSEDED, "superseded", f"instruction {instruction_id} took over"
            )
        was_running = self.running
        try:
            self._check(text)
        except InstructionError as err:
            self._refuse(instruction_id, err, was_running=was_running)
            return
        self._begin(instruction_id, text)
        self._become(State.RUNNING, "", "following the instruction")
        fresh_ns = round(self._config.joints_stale_s * NS_PER_S)
        if self._latest is not None and self._clock() - self._latest.stamp_ns < fresh_ns:
            self._queue(self._latest)

    def cancel(self) -> bool:
        """Ends the instruction with a hold; false where there is none."""
        if not self.running:
            return False
        self._end(State.IDLE, "canceled", "the operator canceled the instruction")
        return True

    # ---- frames and inferences

    def observe(self, frame: Frame[Any]) -> None:
        """Takes one synchronised frame."""
        self._latest = frame
        self._frame_ns = self._clock()
        if not self.running:
            return
        step_ns = self._config.replan_frames * self._contract.frame_period_s * NS_PER_S
        slack_ns = 0.5 * self._contract.frame_period_s * NS_PER_S
        last = self._inferred_ns
        if last is None or frame.stamp_ns - last >= step_ns - slack_ns:
            self._queue(frame)

    def next_job(self) -> Job | None:
        """The inference to be done now, or None; at most one is in flight."""
        if self._in_flight is not None or self._pending is None:
            return None
        job, self._pending = self._pending, None
        self._in_flight = (job, self._clock())
        return job

    def succeed(self, job: Job, chunk: ActionChunk) -> None:
        """Takes the answer to a job; one that belongs to an older instruction is dropped."""
        if not self._is_current(job):
            return
        targets = chunk.targets
        if targets.ndim != 2 or targets.shape[1] != self._contract.dof or not np.isfinite(targets).all():
            self._end(State.HOLDING, "bad_chunk", f"the policy answered {targets.shape} or values not finite")
            return
        if chunk.end_ns <= self._clock():
            late_s = (self._clock() - chunk.observation_stamp_ns) / NS_PER_S
            self._end(
                State.HOLDING,
                "inference_too_slow",
                f"the answer came {late_s:.2f} s after its frame, too late",
            )
            return
        self._send(chunk)
        if not self._applied:
            self._applied = True
            self._report(self._id, Outcome.APPLIED, step=self._sequence)
        if self._settled(job, chunk):
            self._become(State.IDLE, "settled", "the arms rest where the policy wants them")
            self._report(self._id, Outcome.FINISHED, self._reason_code, self._reason)

    def fail(self, job: Job, error: Exception) -> None:
        """Takes the failure of a job; the arms hold."""
        if self._is_current(job):
            self._end(State.HOLDING, "inference_failed", f"the inference failed: {error}")

    # ---- watching

    def watch(self, ages_ns: Mapping[str, int | None], driver: DriverView | None) -> None:
        """Looks for a reason to stop; to be called several times a second.

        Args:
            ages_ns: Age of the newest message of every stream (camera names and arm sides).
            driver: The newest driver state, or None where none came yet.
        """
        if not self.running:
            return
        now_ns = self._clock()
        limits = self._config
        fault = (
            stale_streams(self._contract, limits, ages_ns, now_ns - self._activated_ns)
            or driver_fault(self._contract, limits, driver, self._driver_context(now_ns))
            or self._slow_parts(now_ns)
        )
        if fault is not None:
            self._end(State.HOLDING, fault.code, fault.reason)
        elif now_ns - self._started_ns > limits.instruction_timeout_s * NS_PER_S:
            reason = f"the arms did not come to rest within {limits.instruction_timeout_s:g} s"
            self._end(State.IDLE, "timeout", reason)

    def _driver_context(self, now_ns: int) -> RunContext:
        followed = self._id if self._applied else ""
        return RunContext(now_ns, self._activated_ns, self._started_ns, followed)

    def _slow_parts(self, now_ns: int) -> Fault | None:
        if now_ns - max(self._started_ns, self._frame_ns) > self._config.frame_stale_s * NS_PER_S:
            return Fault("no_frames", "all streams arrive, but their stamps make no common frame")
        if self._in_flight is not None:
            stuck_s = (now_ns - self._in_flight[1]) / NS_PER_S
            if stuck_s > self._config.inference_stuck_s:
                return Fault("inference_stuck", f"an inference has not answered for {stuck_s:.1f} s")
        return None

    # ---- changes

    def _begin(self, instruction_id: str, text: str) -> None:
        self._id = instruction_id
        self._text = text
        self._started_ns = self._frame_ns = self._clock()
        self._inferred_ns: int | None = None
        self._applied = False
        self._settle.reset()
        self._pending = None

    def _become(self, state: State, reason_code: str, reason: str) -> None:
        self._state = state
        self._reason_code = reason_code
        self._reason = reason

    def _refuse(self, instruction_id: str, err: InstructionError, *, was_running: bool) -> None:
        code = getattr(err, "reason_code", "unknown_word")
        self._begin(instruction_id, "")
        if was_running:
            self._send(self._hold_chunk())
        self._become(State.IDLE, code, _one_line(err))
        self._report(instruction_id, Outcome.REJECTED, code, self._reason)

    def _end(self, state: State, reason_code: str, reason: str) -> None:
        self._send(self._hold_chunk())
        self._become(state, reason_code, reason)
        self._pending = None
        self._report(self._id, Outcome.FINISHED, reason_code, reason)

    def _hold_chunk(self) -> ActionChunk:
        now_ns = self._clock()
        seen_ns = self._latest.stamp_ns if self._latest is not None else 0
        empty = np.zeros((0, self._contract.dof))
        return ActionChunk(now_ns, 0.0, empty, seen_ns, self._id, self._checkpoint_id)

    def _send(self, chunk: ActionChunk) -> None:
        self._sequence += 1
        self._effects.append(SendChunk(chunk, self._sequence))

    def _report(
        self, instruction_id: str, outcome: Outcome, reason_code: str = "", reason: str = "", step: int = 0
    ) -> None:
        self._effects.append(Report(instruction_id, outcome, reason_code, reason, step))

    def _queue(self, frame: Frame[Any]) -> None:
        self._pending = Job(frame, self._text, self._id)
        self._inferred_ns = frame.stamp_ns

    def _is_current(self, job: Job) -> bool:
        self._in_flight = None
        return self.running and job.instruction_id == self._id

    def _settled(self, job: Job, chunk: ActionChunk) -> bool:
        """Whether the policy has predicted rest often enough, and not just before it set off."""
        at_rest = self._settle.observe(chunk, job.frame.state)
        ran_s = (self._clock() - self._started_ns) / NS_PER_S
        return at_rest and ran_s >= self._config.settle_min_run_s


def _one_line(err: FineVLAError) -> str:
    return "; ".join(line.strip() for line in str(err).splitlines())
