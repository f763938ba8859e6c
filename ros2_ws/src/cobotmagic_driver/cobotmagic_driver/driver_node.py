"""Node `finevla_driver`: commands of the selected source to both arms, joint feedback and state out."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from finevla_msgs.msg import DriverState
from finevla_perception.qos import latched, reliable
from finevla_perception.run import run_node
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from sensor_msgs.msg import JointState

from cobotmagic_driver import convert
from cobotmagic_driver.backend import ArmBackend, ArmFeedback
from cobotmagic_driver.core import DriverCore
from cobotmagic_driver.diagnose import diagnostics
from cobotmagic_driver.dry_run import DryRunArm
from cobotmagic_driver.inputs import Inputs
from cobotmagic_driver.loop import DriverLoop
from cobotmagic_driver.operator_services import OperatorServices, wait_for
from cobotmagic_driver.params import DriverParams
from cobotmagic_driver.piper_backend import CanSettings, PiperBackend
from cobotmagic_driver.state_machine import POWERED
from finevla.contract import load_contract, services
from finevla.contract.compat import PRESETS
from finevla.contract.params import read
from finevla.errors import FineVLAError

STATE_PERIOD_NS = 100_000_000
DIAGNOSTICS_PERIOD_S = 1.0
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
        self._parking_pose = self.params.parking_pose(self.contract)
        self._make_publishers()
        self._operator = OperatorServices(
            self, self._get_loop, self._listen_to, self._parking_pose, self.params.reset_confirm_s
        )
        self._inputs: Inputs | None = None
        self.create_timer(DIAGNOSTICS_PERIOD_S, self._publish_diagnostics)

    # Parts --------------------------------------------------------------------------------------

    def _get_loop(self) -> DriverLoop | None:
        return self._loop

    def _listen_to(self, source: str) -> None:
        if self._inputs is not None:
            self._inputs.listen_to(source)

    def _make_publishers(self) -> None:
        topics = {side: [arm.feedback_topic] for side, arm in self.contract.arms.items()}
        for side, more in PRESETS[self.params.compat].items():
            topics[side].append(more.feedback)
        self._feedback_publishers = {
            side: [self.create_lifecycle_publisher(JointState, name, FEEDBACK_DEPTH) for name in names]
            for side, names in topics.items()
        }
        self._state_publisher = self.create_lifecycle_publisher(
            DriverState, self.contract.topics.driver_state, latched()
        )
        self._diagnostics_publisher = self.create_publisher(
            DiagnosticArray, services.DIAGNOSTICS, reliable(10)
        )

    def _make_loop(self) -> DriverLoop:
        params = self.params
        can = CanSettings(params.can_interface, params.bus_options())
        channels = {"left": params.can_channel_left, "right": params.can_channel_right}
        accepted = params.accepted()
        as_it_is = params.dry_run or params.crash_protection_level < 0
        crash_level = None if as_it_is else params.crash_protection_level
        backends: dict[str, ArmBackend] = {
            side: PiperBackend(
                dataclasses.replace(arm, can_channel=channels[side] or arm.can_channel),
                can,
                time.time_ns,
                self.contract.dh_is_offset,
                params.speed_percent,
                accepted,
                crash_level,
            )
            for side, arm in self.contract.arms.items()
        }
        if params.dry_run:
            backends = {side: DryRunArm(arm) for side, arm in backends.items()}
            self.get_logger().warning("dry run: the arms are listened to and sent nothing")
        self._core = DriverCore(self.contract, params.core_settings())
        return DriverLoop(
            self._core,
            backends,
            self.contract,
            time.time_ns,
            self._publish_feedback,
            self._publish_state,
            params.realtime_priority,
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
        more = PRESETS[self.params.compat]
        self._inputs = self._inputs or Inputs(self, self.contract, more, self._get_loop)
        self._inputs.listen_to(self.params.command_source)
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
            self._park()
            self._loop.settle()
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

    def _park(self) -> None:
        """The way to the parking pose, where it is wanted and the arms may move."""
        loop = self._loop
        if self.params.park_on_shutdown and loop is not None and loop.running and loop.state in POWERED:
            _success, message = wait_for(loop.park(self._parking_pose))
            self.get_logger().info(message)

    def _close(self) -> None:
        if self._loop is not None:
            self._park()
            self._loop.settle()
            self._loop.disconnect()
            self._loop = self._core = None

    def destroy_node(self) -> None:
        """Closes the channels before the node goes."""
        self._close()
        super().destroy_node()

    # Out ----------------------------------------------------------------------------------------

    def _publish_feedback(self, side: str, feedback: ArmFeedback) -> None:
        message = convert.joint_state(self.contract.arms[side], feedback)
        for publisher in self._feedback_publishers[side]:
            self._publish(publisher, message)

    def _publish_state(self, now_ns: int) -> None:
        if self._core is None or self._loop is None:
            return
        for line in self._loop.intervention_lines():
            self.get_logger().warning(line)
        machine = self._core.machine
        key = (machine.state, machine.reason_code, machine.source, machine.instruction_id)
        if key == self._state_key and now_ns < self._state_due_ns:
            return
        if key != self._state_key:
            self.get_logger().info(f"{machine.state.name} {machine.reason_code}: {machine.reason}")
        self._state_key, self._state_due_ns = key, now_ns + STATE_PERIOD_NS
        state = convert.driver_state(self._core, self.contract, now_ns, self.params.dry_run)
        self._publish(self._state_publisher, state)

    def _publish_diagnostics(self) -> None:
        if self._core is not None and self._loop is not None:
            message = diagnostics(self._core, self._loop.pacer.watch.report(), time.time_ns())
            self._publish(self._diagnostics_publisher, message)

    def _publish(self, publisher: Any, message: Any) -> None:
        try:
            publisher.publish(message)
        except RuntimeError:
            # At the end of the process the context goes first; the loop holds until the node follows.
            if self.context.ok():
                raise


def main(args: list[str] | None = None) -> int:
    """Runs the node until it is interrupted."""
    return run_node(services.DRIVER_NODE, DriverNode, args, threads=3, close=DriverNode.destroy_node)


if __name__ == "__main__":
    raise SystemExit(main())
