"""The node that understands instructions, and that runs one to its end for a caller.

A sentence on `/finevla/instruction` is parsed and handed to the policy, or rejected with a reason;
what becomes of it goes to the status topic. The action RunInstruction and the service of the same
name publish a sentence there themselves and wait until policy or driver say how it ended.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from finevla_msgs import msg as messages
from finevla_msgs.action import RunInstruction
from finevla_msgs.srv import RunInstruction as RunInstructionService
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.action import ActionServer, CancelResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from std_srvs.srv import Trigger

from finevla.contract import load_contract
from finevla.contract.instruction import parse
from finevla.contract.params import read
from finevla.contract.services import (
    INSTRUCTION_NODE,
    POLICY_CANCEL,
    RUN_INSTRUCTION,
    RUN_INSTRUCTION_BLOCKING,
)
from finevla.errors import FineVLAError, InstructionError
from finevla_perception.convert import msgify_parsed, name_of, ns_to_stamp
from finevla_perception.params import InstructionParams
from finevla_perception.qos import INSTRUCTION_STATUS_DEPTH, latched, reliable
from finevla_perception.run import run_node
from finevla_perception.run_tracker import Ended, Outcome, RunTracker, TrackerConfig

POLL_PERIOD_S = 0.1
STOP_PATIENCE_S = 1.0
REMEMBERED_IDS = 1000
STATUS = messages.InstructionStatus


class InstructionNode(Node):  # type: ignore[misc]
    """Node `finevla_instruction`.

    Args:
        node_args: Further arguments of `Node`, such as `context`.
    """

    def __init__(self, **node_args: Any) -> None:
        super().__init__(INSTRUCTION_NODE, **node_args)
        self._params: InstructionParams = read(self, InstructionParams, ParameterDescriptor)
        self._topics = load_contract(self._params.contract_file).topics
        self._changed = threading.Condition()
        self._ids: deque[str] = deque(maxlen=REMEMBERED_IDS)
        self._count = 0
        self._runs: dict[str, RunTracker] = {}
        self._policy = messages.PolicyStatus()
        self._driver = messages.DriverState()
        self._create_interfaces()

    def _create_interfaces(self) -> None:
        topics = self._topics
        self._said = self.create_publisher(messages.Instruction, topics.instruction, reliable(10))
        self._parsed = self.create_publisher(messages.ParsedInstruction, topics.instruction_parsed, latched())
        status_qos = latched(INSTRUCTION_STATUS_DEPTH)
        self._status = self.create_publisher(STATUS, topics.instruction_status, status_qos)
        # Not latched on our side: a sentence from before this node must not move arms now, and a
        # publisher of either kind matches.
        self.create_subscription(messages.Instruction, topics.instruction, self._on_instruction, reliable(10))
        self.create_subscription(
            STATUS, topics.instruction_status, self._on_status, reliable(INSTRUCTION_STATUS_DEPTH)
        )
        self.create_subscription(messages.PolicyStatus, topics.policy_status, self._on_policy, latched())
        self.create_subscription(messages.DriverState, topics.driver_state, self._on_driver, latched())
        blocking = ReentrantCallbackGroup()
        self._cancel_client = self.create_client(Trigger, POLICY_CANCEL, callback_group=blocking)
        self.create_service(
            RunInstructionService, RUN_INSTRUCTION_BLOCKING, self._on_service, callback_group=blocking
        )
        self._action = ActionServer(
            self,
            RunInstruction,
            RUN_INSTRUCTION,
            self._on_goal,
            cancel_callback=lambda _: CancelResponse.ACCEPT,
            callback_group=blocking,
        )

    # ---- sentences

    def _on_instruction(self, msg: messages.Instruction) -> None:
        # The stamp of arrival: the clock of the machine on which it was said may be another.
        stamp_ns = self._now_ns()
        instruction_id = msg.id or self._new_id()
        if instruction_id in self._ids:
            reason = f"the id {instruction_id!r} was used before; leave it empty or choose another"
            self._tell(instruction_id, STATUS.REJECTED, "duplicate_id", reason)
            return
        self._ids.append(instruction_id)
        try:
            parsed = parse(msg.text)
        except InstructionError as err:
            code = getattr(err, "reason_code", "rejected")
            self._tell(instruction_id, STATUS.REJECTED, code, _one_line(err))
            self._cancel_running()
            return
        unknown = ", ".join(parsed.unknown_words)
        reason = f"words unknown to the parser, kept for the policy: {unknown}" if unknown else ""
        self._tell(instruction_id, STATUS.ACCEPTED, "", reason)
        self._parsed.publish(msgify_parsed(parsed, instruction_id, stamp_ns))

    def _tell(self, instruction_id: str, state: int, code: str, reason: str) -> None:
        msg = STATUS(id=instruction_id, state=state, reason_code=code, reason=reason)
        msg.header.stamp = ns_to_stamp(self._now_ns())
        self._status.publish(msg)
        self.get_logger().info(f"{instruction_id}: {name_of(STATUS, state)} {code} {reason}".rstrip())

    def _cancel_running(self) -> None:
        """Who says something new no longer wants what is running, understood or not: the arms hold."""
        if self._cancel_client.service_is_ready():
            self._cancel_client.call_async(Trigger.Request())

    def _new_id(self) -> str:
        self._count += 1
        return f"i{self._now_ns():x}-{self._count}"

    # ---- what others tell

    def _on_status(self, msg: messages.InstructionStatus) -> None:
        state = name_of(STATUS, msg.state)
        with self._changed:
            for run in self._runs.values():
                if run.instruction_id == msg.id:
                    run.on_status(state, msg.reason_code, msg.reason, msg.step)
                elif state == "ACCEPTED":
                    run.on_newer(msg.id)
            self._changed.notify_all()

    def _on_policy(self, msg: messages.PolicyStatus) -> None:
        with self._changed:
            self._policy = msg
            for run in self._runs.values():
                run.on_policy()

    def _on_driver(self, msg: messages.DriverState) -> None:
        with self._changed:
            self._driver = msg
            for run in self._runs.values():
                run.on_driver(name_of(messages.DriverState, msg.state))

    # ---- runs

    def _on_goal(self, goal: ServerGoalHandle) -> RunInstruction.Result:
        def feedback(run: RunTracker) -> None:
            if goal.is_cancel_requested:
                run.cancel()
            goal.publish_feedback(self._feedback(run))

        run, ended = self._run(goal.request.text, goal.request.timeout, feedback)
        result = self._result(RunInstruction.Result(), run, ended)
        if self.context.ok():
            finish = {Outcome.SETTLED: goal.succeed}.get(ended.outcome, goal.abort)
            (goal.canceled if goal.is_cancel_requested else finish)()
        return result

    def _on_service(
        self, request: RunInstructionService.Request, response: RunInstructionService.Response
    ) -> RunInstructionService.Response:
        run, ended = self._run(request.text, request.timeout, lambda _: None)
        return self._result(response, run, ended)

    def _run(
        self, text: str, timeout_s: float, feedback: Callable[[RunTracker], None]
    ) -> tuple[RunTracker, Ended]:
        """Says a sentence and waits for its end; runs in a thread of its own."""
        params = self._params
        with self._changed:
            instruction_id = self._new_id()
            limit_s = timeout_s if timeout_s > 0 else params.run_timeout_s
            config = TrackerConfig(limit_s, params.apply_timeout_s, params.policy_lost_s)
            run = self._runs[instruction_id] = RunTracker(instruction_id, config, self._now_ns)
        msg = messages.Instruction(text=text, id=instruction_id)
        msg.header.stamp = ns_to_stamp(self._now_ns())
        self._said.publish(msg)
        try:
            return run, self._wait(run, feedback)
        finally:
            with self._changed:
                del self._runs[instruction_id]

    def _wait(self, run: RunTracker, feedback: Callable[[RunTracker], None]) -> Ended:
        stop_s: float | None = None
        while self.context.ok():
            with self._changed:
                run.poll()
                if run.ended is None:
                    self._changed.wait(POLL_PERIOD_S)
                if run.ended is not None:
                    return run.ended
            feedback(run)
            if run.wants_stop and stop_s is None:
                stop_s = run.elapsed_s
                self._cancel_client.call_async(Trigger.Request())
            elif stop_s is not None and run.elapsed_s - stop_s > STOP_PATIENCE_S:
                run.stopped()
        return Ended(Outcome.CANCELED, "shut_down", "the instruction node has shut down")

    def _feedback(self, run: RunTracker) -> RunInstruction.Feedback:
        with self._changed:
            policy, driver = self._policy, self._driver
        chunks = max(policy.chunks - run.first_step + 1, 1) if run.first_step else 0
        return RunInstruction.Feedback(
            policy_state=policy.state, driver_state=driver.state, chunks=chunks, elapsed=run.elapsed_s
        )

    def _result(self, result: Any, run: RunTracker, ended: Ended) -> Any:
        result.outcome = getattr(RunInstruction.Result, ended.outcome.name)
        result.reason_code = ended.reason_code
        result.reason = ended.reason
        result.instruction_id = run.instruction_id
        result.duration = run.elapsed_s
        return result

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)


def _one_line(err: FineVLAError) -> str:
    return "; ".join(line.strip() for line in str(err).splitlines())


def main(args: list[str] | None = None) -> int:
    """Runs the node until SIGINT; 2 where its parameters or its contract are wrong."""
    # One thread for events, the rest for waiting callers.
    return run_node(INSTRUCTION_NODE, InstructionNode, args, threads=8)


if __name__ == "__main__":
    sys.exit(main())
