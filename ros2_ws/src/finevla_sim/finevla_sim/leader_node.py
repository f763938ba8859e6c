"""Node `finevla_leader`: takes the place of the policy in recordings and plays the leader arms.

It follows the same parsed instructions and reports on the same status topic as the policy does, so
`RunInstruction` works unchanged. The driver must run with `command_source: leader`.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from finevla_msgs.msg import DriverState, InstructionStatus, ParsedInstruction, SceneTruth
from finevla_perception.convert import joint_values, msgify_joints, ns_to_stamp, stamp_to_ns
from finevla_perception.qos import INSTRUCTION_STATUS_DEPTH, latched
from finevla_perception.run import run_node
from numpy.typing import NDArray
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import JointState

from finevla.contract import load_contract, services
from finevla.contract.params import read
from finevla.contract.robot import ARM_SIDES
from finevla.errors import FineVLAError, InstructionError
from finevla_sim.convert import seen_of
from finevla_sim.leader import Ending, LeaderPlayer, Seen
from finevla_sim.params import TRUTH_TOPIC, LeaderParams
from finevla_sim.wish import whole_goal, wish_of

READY = (DriverState.ENABLED, DriverState.ACTIVE)
FOLLOWING = "leader"
"""Source in the driver's state while it follows the leader arms."""


class LeaderNode(Node):
    """Subscribes instruction, truth, feedback and driver state; publishes the leader joints."""

    def __init__(self, **node_args: Any) -> None:
        super().__init__(services.LEADER_NODE, **node_args)
        self.params = read(self, LeaderParams, ParameterDescriptor)
        self.contract = load_contract(self.params.contract_file)
        self._player = LeaderPlayer(self.contract, self.params.rest_s, self.params.timeout_s)
        self._joints: dict[str, NDArray[np.float64]] = {}
        self._seen: Seen | None = None
        self._driver = DriverState.DISCONNECTED
        self._followed = False
        self._driver_reason = "the driver has not been heard yet"
        self._instruction = ""
        self._born_ns = time.time_ns()
        self._make_publishers()
        self._make_subscriptions()
        self.create_timer(1.0 / self.params.rate_hz, self._on_tick)

    def _make_publishers(self) -> None:
        self._leaders = {
            side: self.create_publisher(JointState, self.contract.arms[side].leader_topic, 10)
            for side in ARM_SIDES
        }
        self._status = self.create_publisher(
            InstructionStatus, self.contract.topics.instruction_status, latched(INSTRUCTION_STATUS_DEPTH)
        )

    def _make_subscriptions(self) -> None:
        topics = self.contract.topics
        for side in ARM_SIDES:
            self.create_subscription(
                JointState,
                self.contract.arms[side].feedback_topic,
                lambda message, side=side: self._on_joints(side, message),
                qos_profile_sensor_data,
            )
        self.create_subscription(SceneTruth, TRUTH_TOPIC, self._on_truth, qos_profile_sensor_data)
        self.create_subscription(DriverState, topics.driver_state, self._on_driver, latched())
        self.create_subscription(
            ParsedInstruction, topics.instruction_parsed, self._on_instruction, latched()
        )

    # In -----------------------------------------------------------------------------------------

    def _on_joints(self, side: str, message: JointState) -> None:
        arm = self.contract.arms[side]
        try:
            self._joints[side] = joint_values(message, arm.wire_names, arm.feedback_topic)
        except FineVLAError as err:
            self.get_logger().warning(str(err), throttle_duration_sec=1.0)

    def _on_truth(self, message: SceneTruth) -> None:
        self._seen = seen_of(message)

    def _on_driver(self, message: DriverState) -> None:
        self._driver, self._driver_reason = message.state, message.reason
        self._followed = message.state == DriverState.ACTIVE and message.source == FOLLOWING
        if self._player.playing and message.state not in READY:
            self._player.stop()
            self._finish(Ending("driver_hold", f"the driver does not follow any more: {message.reason}"))

    def _on_instruction(self, message: ParsedInstruction) -> None:
        if stamp_to_ns(message.header.stamp) < self._born_ns or message.id == self._instruction:
            return
        if self._player.playing:
            self._player.stop()
            self._report(InstructionStatus.SUPERSEDED, "", "a newer instruction took its place")
        self._instruction = message.id
        try:
            self._begin(message.text)
        except FineVLAError as err:
            self._report(InstructionStatus.REJECTED, "not_possible", str(err))
            return
        self._report(InstructionStatus.APPLIED, "", "the leader arms follow it")

    def _begin(self, text: str) -> None:
        if self._seen is None or len(self._joints) < len(ARM_SIDES) or self._driver not in READY:
            raise InstructionError(
                "the scripted leader cannot begin",
                expected="truth of the simulation, feedback of both arms and an enabled driver",
                found=f"truth {self._seen is not None}, arms {sorted(self._joints)}, driver: "
                f"{self._driver_reason}",
                remedy=f"start sim and driver, then call {services.DRIVER_ENABLE}",
            )
        goal = whole_goal(wish_of(text, self._seen.spec))
        self._player.start(goal, self._seen, self._measured(), time.time_ns())

    # Out ----------------------------------------------------------------------------------------

    def _measured(self) -> NDArray[np.float64]:
        return np.concatenate([self._joints[side] for side in ARM_SIDES])

    def _on_tick(self) -> None:
        if len(self._joints) < len(ARM_SIDES):
            return
        now = time.time_ns()
        if not self._followed:
            self._player.mirror(self._measured())
        if self._player.playing and self._seen is not None:
            self._advance(self._seen, now)
        command = self._player.command(now)
        for side in ARM_SIDES:
            arm = self.contract.arms[side]
            part = command[self.contract.arm_slice(side)]
            self._leaders[side].publish(msgify_joints(arm.wire_names, part, now))

    def _advance(self, seen: Seen, now_ns: int) -> None:
        try:
            ending = self._player.advance(seen, self._measured(), now_ns)
        except FineVLAError as err:
            self._player.stop()
            ending = Ending("not_possible", str(err))
        if ending is not None:
            self._finish(ending)

    def _finish(self, ending: Ending) -> None:
        self._report(InstructionStatus.FINISHED, ending.code, ending.reason)

    def _report(self, state: int, code: str, reason: str) -> None:
        message = InstructionStatus(id=self._instruction, state=state, reason_code=code, reason=reason)
        message.header.stamp = ns_to_stamp(time.time_ns())
        message.step = 1 if state == InstructionStatus.APPLIED else 0
        self._status.publish(message)
        self.get_logger().info(f"{self._instruction}: {code or state} {reason}")


def main(args: list[str] | None = None) -> int:
    """Runs the node until it is interrupted."""
    return run_node(services.LEADER_NODE, LeaderNode, args)


if __name__ == "__main__":
    raise SystemExit(main())
