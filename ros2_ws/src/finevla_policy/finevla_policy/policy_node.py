"""The policy as a lifecycle node: subscriptions, publishers and transitions around the pure loop.

configure loads the bundle, or refuses it with every difference, and warms it up within the latency
budget; activate makes it listen to instructions. Callbacks hold one lock for microseconds; the
inference runs in its own thread.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from finevla_msgs import msg as messages
from finevla_msgs.srv import LoadCheckpoint
from finevla_perception.convert import numpify, stamp_to_ns
from finevla_perception.qos import INSTRUCTION_STATUS_DEPTH, command, latched, publish, reliable
from finevla_perception.run import run_node
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from std_srvs.srv import Trigger

from finevla.contract import ActionChunk, RobotContract, load_contract
from finevla.contract.params import read
from finevla.contract.services import DIAGNOSTICS, POLICY_CANCEL, POLICY_LOAD_CHECKPOINT, POLICY_NODE
from finevla.errors import BundleError, FineVLAError
from finevla_policy.convert import chunk_msg, driver_view, report_msg, status_msg
from finevla_policy.loading import Loader, accepted, bundle_loader
from finevla_policy.loop import PolicyLoop
from finevla_policy.loop_types import DriverView, Job, Latencies, Outcome, Report, SendChunk, Status
from finevla_policy.params import PolicyParams
from finevla_policy.streams import Streams
from finevla_policy.worker import InferenceWorker, PolicyLike

WATCH_PERIOD_S = 0.05
HEARTBEAT_PERIOD_S = 1.0
DIAGNOSTICS_PERIOD_S = 1.0


class PolicyNode(LifecycleNode):  # type: ignore[misc]
    """Node `finevla_policy`: frames and instructions in, action chunks out.

    Args:
        load: Makes a policy from the path of a bundle; the real loader by default.
        node_args: Further arguments of `LifecycleNode`, such as `context`.
    """

    def __init__(self, load: Loader | None = None, **node_args: Any) -> None:
        super().__init__(POLICY_NODE, **node_args)
        self._params: PolicyParams = read(self, PolicyParams, ParameterDescriptor)
        self._contract: RobotContract = load_contract(self._params.contract_file)
        self._load = load or bundle_loader(self._contract, self._params.inference_threads)
        self._lock = threading.RLock()
        self._latencies = Latencies()
        self._driver: DriverView | None = None
        self._worker: InferenceWorker | None = None
        self._last_status: Status | None = None
        config = self._params.loop_config()
        self._loop = PolicyLoop(self._contract, config, self._now_ns, self._check_instruction)
        self._create_interfaces()
        self._streams = Streams(self, self._contract, self._params, self._on_frames)
        self._publish_status()

    def _create_interfaces(self) -> None:
        topics = self._contract.topics
        self._chunks = self.create_publisher(messages.ActionChunk, topics.action_chunk, command())
        self._status = self.create_publisher(messages.PolicyStatus, topics.policy_status, latched())
        self._reports = self.create_publisher(
            messages.InstructionStatus, topics.instruction_status, latched(INSTRUCTION_STATUS_DEPTH)
        )
        self.create_subscription(
            messages.ParsedInstruction, topics.instruction_parsed, self._on_instruction, latched()
        )
        self.create_subscription(messages.DriverState, topics.driver_state, self._on_driver, latched())
        self.create_subscription(messages.EpisodeMark, topics.episode_mark, self._on_mark, latched())
        self._diagnostics = self.create_publisher(DiagnosticArray, DIAGNOSTICS, reliable(10))
        self.create_timer(DIAGNOSTICS_PERIOD_S, self._on_diagnostics)
        self.create_timer(WATCH_PERIOD_S, self._on_watch)
        self.create_timer(HEARTBEAT_PERIOD_S, self._publish_status)
        self.create_service(Trigger, POLICY_CANCEL, self._on_cancel)
        # Loading takes seconds: in its own group it leaves frames and watch alone.
        group = MutuallyExclusiveCallbackGroup()
        self.create_service(
            LoadCheckpoint, POLICY_LOAD_CHECKPOINT, self._on_load_checkpoint, callback_group=group
        )

    # ---- lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Loads, checks and warms up the bundle; a refusal leaves the node unconfigured."""
        path = self._params.bundle
        try:
            policy = accepted(self._load(path), self._contract, self._params.latency_budget_s, path)
            self._streams.open(policy.cameras)
        except FineVLAError as err:
            self.get_logger().error(str(err))
            self._idle("bundle_refused", str(err))
            return TransitionCallbackReturn.FAILURE
        self._worker = InferenceWorker(policy, numpify, self._next_job, self._on_answer)
        self.get_logger().info(f"loaded {policy.checkpoint_id}, cameras {', '.join(policy.cameras)}")
        self._idle("not_activated", "loaded, waiting for activation")
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Listens to instructions that are said from now on."""
        if self._worker is None:
            return TransitionCallbackReturn.FAILURE
        self._streams.reset()
        with self._event():
            self._loop.activate(self._worker.policy.checkpoint_id)
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Ends the instruction, if any, with a hold."""
        self._idle("not_activated", "loaded, waiting for activation")
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lets the bundle go."""
        self._release()
        self._idle("not_configured", "no bundle is loaded")
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Holds and lets everything go."""
        self._idle("shut_down", "the policy has shut down")
        self._release()
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """After a transition that raised: holds, lets everything go and starts over unconfigured."""
        self._idle("transition_failed", "a transition failed unexpectedly; see the log of the policy node")
        self._release()
        return super().on_error(state)

    def _idle(self, code: str, reason: str) -> None:
        with self._event():
            self._loop.deactivate(code, reason)

    def _release(self) -> None:
        self._streams.close()
        if self._worker is not None and not self._worker.stop():
            self.get_logger().error("the inference thread does not come back; end this process")
        self._worker = None

    def close(self) -> None:
        """Holds, then frees the thread; for the end of the process."""
        self._idle("shut_down", "the policy has shut down")
        self._release()

    # ---- events

    @contextmanager
    def _event(self) -> Iterator[None]:
        """Runs one event of the loop under the lock and publishes what follows from it."""
        with self._lock:
            yield
            for effect in self._loop.take_effects():
                if isinstance(effect, SendChunk):
                    publish(self, self._chunks, chunk_msg(effect, self._contract, self._now_ns()))
                else:
                    publish(self, self._reports, report_msg(effect, self._now_ns()))
                    self._log(effect)
            if self._loop.status != self._last_status:
                self._publish_status()
            worker = self._worker
        if worker is not None:
            worker.wake()

    def _log(self, report: Report) -> None:
        self.get_logger().info(f"{report.instruction_id}: {report.outcome} {report.reason}".rstrip())
        if report.outcome is Outcome.FINISHED:
            self.get_logger().info(f"since activation {self._streams.losses()}")

    def _on_instruction(self, msg: messages.ParsedInstruction) -> None:
        with self._event():
            self._loop.instruct(msg.id, msg.text, stamp_to_ns(msg.header.stamp))

    def _on_driver(self, msg: messages.DriverState) -> None:
        self._driver = driver_view(msg, self._now_ns())

    def _on_mark(self, msg: messages.EpisodeMark) -> None:
        if msg.kind == messages.EpisodeMark.START:
            self._streams.anchor(stamp_to_ns(msg.frame_origin) or None)
        elif msg.kind in (messages.EpisodeMark.STOP, messages.EpisodeMark.DISCARD):
            self._streams.anchor(None)

    def _on_diagnostics(self) -> None:
        if (message := self._streams.diagnostics()) is not None:
            publish(self, self._diagnostics, message)

    def _on_frames(self, frames: list[Any]) -> None:
        with self._event():
            for frame in frames:
                self._loop.observe(frame)

    def _on_watch(self) -> None:
        if not self._loop.running:
            return
        with self._event():
            self._loop.watch(self._streams.ages_ns(self._now_ns()), self._driver)

    def _next_job(self) -> Job | None:
        with self._lock:
            return self._loop.next_job()

    def _on_answer(self, job: Job, answer: ActionChunk | Exception, seconds: float) -> None:
        with self._event():
            self._latencies.add(seconds)
            if isinstance(answer, ActionChunk):
                self._loop.succeed(job, answer)
            else:
                self.get_logger().error(f"inference failed: {answer}")
                self._loop.fail(job, answer)

    def _check_instruction(self, text: str) -> None:
        if self._worker is not None:
            self._worker.policy.check_instruction(text)

    # ---- services

    def _on_cancel(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        with self._event():
            response.success = self._loop.cancel()
        response.message = "the arms hold" if response.success else "no instruction is being followed"
        return response

    def _on_load_checkpoint(
        self, request: LoadCheckpoint.Request, response: LoadCheckpoint.Response
    ) -> LoadCheckpoint.Response:
        try:
            policy = self._swap(request.path)
        except FineVLAError as err:
            self.get_logger().error(f"load_checkpoint refused: {err}")
            response.message = str(err)
            return response
        response.success = True
        response.checkpoint_id = policy.checkpoint_id
        response.message = f"{policy.checkpoint_id} answers from the next inference on"
        return response

    def _swap(self, path: str) -> PolicyLike:
        worker = self._worker
        if worker is None:
            raise BundleError("the policy node is not configured", remedy="configure it first")
        policy = accepted(self._load(path), self._contract, self._params.latency_budget_s, path)
        if set(policy.cameras) - set(self._streams.cameras):
            raise BundleError(
                "the bundle needs other cameras than the running one",
                where=path,
                expected=f"cameras within {self._streams.cameras}",
                found=policy.cameras,
                remedy="start the policy node with this bundle, or clean it up and configure it again",
            )
        with self._event():
            if self._loop.running:
                policy.check_instruction(self._loop.text)
        worker.swap(policy)
        with self._event():
            self._loop.change_checkpoint(policy.checkpoint_id)
        return policy

    # ---- helpers

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    def _publish_status(self) -> None:
        with self._lock:
            status = self._loop.status
            self._last_status = status
            checkpoint = self._worker.policy.checkpoint_id if self._worker is not None else ""
            msg = status_msg(status, checkpoint, self._latencies, self._now_ns())
            publish(self, self._status, msg)


def main(args: list[str] | None = None) -> int:
    """Runs the node until SIGINT; 2 where its parameters or its contract are wrong."""
    return run_node(POLICY_NODE, PolicyNode, args, threads=2, close=PolicyNode.close)


if __name__ == "__main__":
    sys.exit(main())
