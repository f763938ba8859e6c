"""The node that brings the others up in order, watches them, and never starts motion twice.

Its work runs in one thread: bring-up, then looking after the nodes, with requests of the two
services in between. Topics and diagnostics are served by the executor meanwhile.
"""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from finevla_msgs.msg import DriverState, PolicyStatus
from finevla_perception.qos import latched, publish, reliable
from finevla_perception.run import run_node
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.task import Future
from sensor_msgs.msg import Image, JointState
from std_srvs.srv import SetBool, Trigger

from finevla.contract import RobotContract, load_contract
from finevla.contract.params import read
from finevla.contract.services import (
    DIAGNOSTICS,
    DRIVER_ENABLE,
    DRIVER_NODE,
    LIFECYCLE_MANAGER_NODE,
    POLICY_NODE,
    SYSTEM_BRING_UP,
    SYSTEM_SHUTDOWN,
    SYSTEM_STATUS,
)
from finevla_system.bringup_plan import NodeReport, NodeState, Report, bring_up, recover, shut_down
from finevla_system.heartbeats import Heartbeats
from finevla_system.lifecycle_port import LifecyclePort
from finevla_system.manager_convert import diagnostics, heartbeat_status, node_status, overall_status
from finevla_system.manager_params import ManagerParams

PERIOD_S = 1.0
Task = Callable[[], None]


class LifecycleManager(Node):  # type: ignore[misc]
    """Node `finevla_lifecycle_manager`.

    Args:
        node_args: Further arguments of `Node`, such as `context`.
    """

    def __init__(self, **node_args: Any) -> None:
        super().__init__(LIFECYCLE_MANAGER_NODE, **node_args)
        self._params: ManagerParams = read(self, ManagerParams, ParameterDescriptor)
        self._contract: RobotContract = load_contract(self._params.contract_file)
        self._plan = self._params.plan()
        self._report = Report()
        self._phase = "starting"
        self._told: DiagnosticStatus | None = None
        self._troubles: dict[str, str] = {}
        self._beats = Heartbeats(self._params.heartbeat_timeout_s, time.monotonic)
        self.finished: Future = Future()
        """Done when there is nothing left to do; only where the node does not stay."""
        self._tasks: queue.Queue[Task] = queue.Queue()
        self._create_interfaces()
        self._thread = threading.Thread(target=self._work, name="bring-up", daemon=True)
        self._thread.start()

    @property
    def report(self) -> Report:
        """Where the nodes stand."""
        return self._report

    def _create_interfaces(self) -> None:
        group = ReentrantCallbackGroup()
        timeout_s = self._params.transition_timeout_s
        names = self._plan.nodes
        self._port = LifecyclePort(self, names, group, timeout_s, lambda node: self._troubles.get(node, ""))
        self._enable = self.create_client(SetBool, DRIVER_ENABLE, callback_group=group)
        self._diagnostics = self.create_publisher(DiagnosticArray, DIAGNOSTICS, reliable(10))
        self._status = self.create_publisher(DiagnosticStatus, SYSTEM_STATUS, latched())
        topics = self._contract.topics
        self._watch(DriverState, topics.driver_state, latched(), self._on_driver)
        self._watch(PolicyStatus, topics.policy_status, latched(), self._on_policy)
        if self._params.watch_streams:
            for camera in self._contract.cameras.values():
                self._watch(Image, camera.raw_topic, qos_profile_sensor_data, None)
            for arm in self._contract.arms.values():
                self._watch(JointState, arm.feedback_topic, qos_profile_sensor_data, None)
        self.create_timer(PERIOD_S, self._publish)
        services = MutuallyExclusiveCallbackGroup()
        self.create_service(
            Trigger, SYSTEM_BRING_UP, partial(self._on_request, self._bring_up), callback_group=services
        )
        self.create_service(
            Trigger, SYSTEM_SHUTDOWN, partial(self._on_request, self._shut_down), callback_group=services
        )

    def _watch(self, kind: type, topic: str, qos: Any, callback: Callable[[Any], None] | None) -> None:
        """Counts the messages of a topic as signs of life; without a callback they stay serialized."""
        self._beats.watch(topic)

        def on_message(msg: Any) -> None:
            self._beats.beat(topic)
            if callback is not None:
                callback(msg)

        self.create_subscription(kind, topic, on_message, qos, raw=callback is None)

    def _on_driver(self, msg: DriverState) -> None:
        self._troubles[DRIVER_NODE] = msg.reason

    def _on_policy(self, msg: PolicyStatus) -> None:
        self._troubles[POLICY_NODE] = msg.reason

    # ---- the working thread

    def _work(self) -> None:
        self._bring_up()
        if not self._params.stay:
            self.finished.set_result(None)
            return
        while not self._port.ending:
            try:
                task = self._tasks.get(timeout=PERIOD_S)
            except queue.Empty:
                task = self._look_after
            task()

    def _bring_up(self) -> None:
        self._tell("bringing up", Report(tuple(NodeReport(n, NodeState.LOST) for n in self._plan.nodes)))
        report = bring_up(self._plan, self._port)
        if report.ok and self._plan.activate and self._params.enable_arms:
            report = self._enabled(report)
        self._tell("up" if report.ok else "failed", report)

    def _enabled(self, report: Report) -> Report:
        answer = self._port.call(self._enable, SetBool.Request(data=True), self._params.transition_timeout_s)
        if answer is not None and answer.success:
            return report
        reason = answer.message if answer is not None else f"no answer from {DRIVER_ENABLE}"
        return report.with_node(NodeReport(DRIVER_NODE, NodeState.ACTIVE, f"not enabled: {reason}"))

    def _shut_down(self) -> None:
        self._tell("down", shut_down(self._plan.nodes, self._port))

    def _look_after(self) -> None:
        if self._phase == "down":
            return
        report = self._report
        for entry in report.nodes:
            if entry.state in {NodeState.ACTIVE, NodeState.INACTIVE} or self._was_up(entry):
                report = report.with_node(recover(entry, self._port))
        phase = self._phase if report.ok else "failed"
        self._tell("up" if report.ok and phase == "failed" else phase, report)

    def _was_up(self, entry: NodeReport) -> bool:
        return entry.state is NodeState.LOST and self._phase in {"up", "failed"}

    # ---- services, topics

    def _on_request(self, task: Task, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        done = threading.Event()

        def run() -> None:
            task()
            done.set()

        self._tasks.put(run)
        while not done.wait(PERIOD_S):
            if self._port.ending:
                response.message = "the lifecycle manager is shutting down"
                return response
        response.success = self._report.ok
        response.message = f"{self._phase}: {self._report.summary}"
        return response

    def _tell(self, phase: str, report: Report) -> None:
        self._phase, self._report = phase, report
        status = overall_status(report, phase, self._contract.name)
        if status == self._told or self._port.ending:
            return
        self._told = status
        # Two calls, because rclpy wants one severity per place in the code.
        if report.ok:
            self.get_logger().info(status.message)
        else:
            self.get_logger().error(status.message)
        publish(self, self._status, status)

    def _publish(self) -> None:
        robot = self._contract.name
        statuses = [overall_status(self._report, self._phase, robot)]
        statuses += [node_status(entry, robot) for entry in self._report.nodes]
        statuses += [heartbeat_status(beat, robot) for beat in self._beats.all()]
        publish(self, self._diagnostics, diagnostics(statuses, int(self.get_clock().now().nanoseconds)))

    def close(self) -> None:
        """Ends the working thread; the other nodes stay as they are."""
        self._port.stopping.set()
        self._thread.join(timeout=5.0)


def main(args: list[str] | None = None) -> int:
    """Runs until SIGINT, or until the bring-up ends where `stay` is false; 1 where that failed."""
    return run_node(
        LIFECYCLE_MANAGER_NODE,
        LifecycleManager,
        args,
        threads=3,
        close=LifecycleManager.close,
        until=lambda node: node.finished,
        code=lambda node: 1 if node.finished.done() and not node.report.ok else 0,
    )


if __name__ == "__main__":
    sys.exit(main())
