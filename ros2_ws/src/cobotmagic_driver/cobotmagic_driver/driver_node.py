"""Node `finevla_driver`: action chunks or leader joints to both arms, joint feedback and state out."""

from __future__ import annotations

import dataclasses
import time
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any

from finevla_msgs.msg import ActionChunk as ActionChunkMsg
from finevla_msgs.msg import DriverState
from finevla_perception.qos import command, latched
from finevla_perception.run import run_node
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import JointState
from std_srvs.srv import SetBool, Trigger

from cobotmagic_driver import convert
from cobotmagic_driver.backend import ArmFeedback
from cobotmagic_driver.core import DriverCore
from cobotmagic_driver.loop import Answer, DriverLoop
from cobotmagic_driver.params import DriverParams
from cobotmagic_driver.piper_backend import CanSettings, PiperBackend
from cobotmagic_driver.state_machine import LEADER, POLICY
from finevla.contract import load_contract, services
from finevla.contract.params import read
from finevla.errors import FineVLAError

STATE_PERIOD_NS = 100_000_000
OPERATION_TIMEOUT_S = 60.0
FEEDBACK_DEPTH = 50


class DriverNode(LifecycleNode):
    """Lifecycle: configure connects, activate starts the loop, deactivate holds and stops sending.

    The motors never lose power through a transition: switching off lets the arms fall.
    """

    def __init__(self, **node_args: Any) -> None:
        super().__init__(services.DRIVER_NODE, **node_args)
        self.params = read(self, DriverParams, ParameterDescriptor)
        self.contract = load_contract(self.params.contract_file)
        self._core: DriverCore | None = None
        self._loop: DriverLoop | None = None
        self._state_key: tuple[object, ...] = ()
        self._state_due_ns = 0
        self._reset_until_s = 0.0
        self._make_publishers()
        self._make_services()
        self._subscriptions_made = False

    # Parts --------------------------------------------------------------------------------------

    def _make_publishers(self) -> None:
        self._feedback_publishers = {
            side: self.create_lifecycle_publisher(JointState, arm.feedback_topic, FEEDBACK_DEPTH)
            for side, arm in self.contract.arms.items()
        }
        self._state_publisher = self.create_lifecycle_publisher(
            DriverState, self.contract.topics.driver_state, latched()
        )

    def _make_services(self) -> None:
        slow, quick = MutuallyExclusiveCallbackGroup(), MutuallyExclusiveCallbackGroup()
        make = self.create_service
        make(SetBool, services.DRIVER_ENABLE, self._on_enable, callback_group=slow)
        make(Trigger, services.DRIVER_HOME, self._on_home, callback_group=slow)
        make(Trigger, services.DRIVER_STOP, self._on_stop, callback_group=quick)
        make(Trigger, services.DRIVER_RESET_STOP, self._on_reset, callback_group=quick)

    def _make_subscriptions(self) -> None:
        if self._subscriptions_made:
            return
        group = MutuallyExclusiveCallbackGroup()
        if self.params.command_source == POLICY:
            self.create_subscription(
                ActionChunkMsg,
                self.contract.topics.action_chunk,
                self._on_chunk,
                command(),
                callback_group=group,
            )
        if self.params.command_source == LEADER:
            for side, arm in self.contract.arms.items():
                self.create_subscription(
                    JointState,
                    arm.leader_topic,
                    lambda message, side=side: self._on_leader(side, message),
                    qos_profile_sensor_data,
                    callback_group=group,
                )
        self._subscriptions_made = True

    def _make_loop(self) -> DriverLoop:
        params = self.params
        can = CanSettings(params.can_interface, params.bus_options())
        channels = {"left": params.can_channel_left, "right": params.can_channel_right}
        backends = {
            side: PiperBackend(
                dataclasses.replace(arm, can_channel=channels[side] or arm.can_channel),
                can,
                time.time_ns,
                self.contract.dh_is_offset,
                params.speed_percent,
            )
            for side, arm in self.contract.arms.items()
        }
        self._core = DriverCore(self.contract, params.core_settings())
        return DriverLoop(
            self._core, backends, self.contract, time.time_ns, self._publish_feedback, self._publish_state
        )

    # Lifecycle ----------------------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Opens both CAN channels and waits until both arms talk."""
        try:
            loop = self._make_loop()
            loop.connect(self.params.connect_timeout_s)
        except FineVLAError as err:
            self.get_logger().error(str(err))
            return TransitionCallbackReturn.FAILURE
        self._loop = loop
        self._make_subscriptions()
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Starts the loop; nothing moves before an enable and a command."""
        result = super().on_activate(state)
        if self._loop is not None:
            self._loop.start_thread()
            if self.params.enable_on_activate:
                self._loop.enable()
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Holds and stops sending; the arms keep their pose."""
        if self._loop is not None:
            self._loop.hold()
            time.sleep(2.0 / self.contract.rates_hz.feedback)
            self._loop.release()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Closes the channels; the arms keep their pose."""
        self._close()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Closes the channels; the arms keep their pose."""
        self._close()
        return super().on_shutdown(state)

    def _close(self) -> None:
        if self._loop is not None:
            self._loop.disconnect()
            self._loop = self._core = None

    def destroy_node(self) -> None:
        """Closes the channels before the node goes."""
        self._close()
        super().destroy_node()

    # Out ----------------------------------------------------------------------------------------

    def _publish_feedback(self, side: str, feedback: ArmFeedback) -> None:
        self._publish(
            self._feedback_publishers[side], convert.joint_state(self.contract.arms[side], feedback)
        )

    def _publish_state(self, now_ns: int) -> None:
        if self._core is None:
            return
        machine = self._core.machine
        key = (machine.state, machine.reason_code, machine.source, machine.instruction_id)
        if key == self._state_key and now_ns < self._state_due_ns:
            return
        if key != self._state_key:
            self.get_logger().info(f"{machine.state.name} {machine.reason_code}: {machine.reason}")
        self._state_key, self._state_due_ns = key, now_ns + STATE_PERIOD_NS
        self._publish(self._state_publisher, convert.driver_state(self._core, self.contract, now_ns))

    def _publish(self, publisher: Any, message: Any) -> None:
        try:
            publisher.publish(message)
        except RuntimeError:
            # At the end of the process the context goes first; the loop holds until the node follows.
            if self.context.ok():
                raise

    # In -----------------------------------------------------------------------------------------

    def _on_chunk(self, message: ActionChunkMsg) -> None:
        if self._loop is None:
            return
        try:
            chunk = convert.chunk_from_msg(message, self.contract, self.contract.topics.action_chunk)
        except FineVLAError as err:
            self._loop.count("malformed_chunk")
            self.get_logger().warning(str(err), throttle_duration_sec=1.0)
            return
        code = self._loop.on_chunk(chunk)
        if code:
            self.get_logger().warning(
                f"refused a chunk of instruction {chunk.instruction_id}: {code}", throttle_duration_sec=1.0
            )

    def _on_leader(self, side: str, message: JointState) -> None:
        if self._loop is None:
            return
        try:
            values = convert.leader_from_msg(message, self.contract.arms[side])
        except FineVLAError as err:
            self._loop.count("malformed_leader")
            self.get_logger().warning(str(err), throttle_duration_sec=1.0)
            return
        self._loop.on_leader(side, values)

    def _running(self) -> DriverLoop | None:
        return self._loop if self._loop is not None and self._loop.running else None

    def _finish(self, response: Trigger.Response, answer: Answer) -> Trigger.Response:
        response.success, response.message = answer
        return response

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        loop = self._running()
        if loop is None:
            return self._finish(response, (False, "the driver is not active"))
        if not request.data:
            loop.hold()
            text = "the arms hold; the motors stay on, because switching them off lets the arms fall"
            return self._finish(response, (True, text))
        return self._wait(response, loop.enable())

    def _on_home(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        loop = self._running()
        if loop is None:
            return self._finish(response, (False, "the driver is not active"))
        return self._wait(response, loop.home())

    def _wait(self, response: Trigger.Response, future: object) -> Trigger.Response:
        try:
            return self._finish(response, future.result(OPERATION_TIMEOUT_S))  # type: ignore[attr-defined]
        except FutureTimeoutError:
            return self._finish(response, (False, f"no answer within {OPERATION_TIMEOUT_S:g} s"))

    def _on_stop(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        refusal = "the driver is not connected to the arms" if self._loop is None else self._loop.stop()
        return self._finish(response, (not refusal, refusal or "both arms are stopped"))

    def _on_reset(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        now = time.monotonic()
        if self._loop is None:
            return self._finish(response, (False, "the driver is not connected to the arms"))
        if now > self._reset_until_s:
            self._reset_until_s = now + self.params.reset_confirm_s
            text = (
                "THE ARMS WILL FALL: a reset takes the power from the motors. Support both arms, then call "
                f"this service again within {self.params.reset_confirm_s:g} s"
            )
            return self._finish(response, (False, text))
        self._reset_until_s = 0.0
        refusal = self._loop.reset()
        return self._finish(response, (not refusal, refusal or "reset; the motors are off, call enable"))


def main(args: list[str] | None = None) -> int:
    """Runs the node until it is interrupted."""
    return run_node(services.DRIVER_NODE, DriverNode, args, threads=3, close=DriverNode.destroy_node)
