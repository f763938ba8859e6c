"""Node `finevla_description`: what RViz, Foxglove and other programs of ROS need to show the robot.

The URDF of the whole robot on `/robot_description`, latched, and the joints of both arms in one
message on `/joint_states`. The message carries only arms that were heard lately. Transforms are
computed from the two by ROS's own `robot_state_publisher`.
"""

from __future__ import annotations

import sys
import time
from functools import partial
from typing import Any

import numpy as np
from finevla_perception.convert import joint_values, msgify_joints, stamp_to_ns
from finevla_perception.qos import latched, publish, reliable
from finevla_perception.run import run_node
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import JointState
from std_msgs.msg import String

from cobotmagic_driver.description import Listener
from cobotmagic_driver.description_params import DescriptionParams
from finevla.contract import ARM_SIDES, load_contract
from finevla.contract.kinematics import FloatArray
from finevla.contract.params import read
from finevla.contract.services import DESCRIPTION_NODE, JOINT_STATES, ROBOT_DESCRIPTION
from finevla.contract.urdf import joint_state_names, joint_state_positions, robot_urdf
from finevla.errors import ContractError

REMIND_S = 10.0
"""How often a silent arm is named, s."""
PATIENCE_S = 5.0
"""Time that the driver has to come up before an arm counts as silent, s."""


class DescriptionNode(Node):  # type: ignore[misc]
    """Node `finevla_description`.

    Args:
        node_args: Further arguments of `Node`, such as `context`.
    """

    def __init__(self, **node_args: Any) -> None:
        super().__init__(DESCRIPTION_NODE, **node_args)
        params: DescriptionParams = read(self, DescriptionParams, ParameterDescriptor)
        self._contract = load_contract(params.contract_file)
        self._listener: Listener[JointState] = Listener(params.fresh_s)
        self._patient_until_s = time.monotonic() + PATIENCE_S
        self._stamp_ns = 0
        self._description = self.create_publisher(String, ROBOT_DESCRIPTION, latched())
        self._joints = self.create_publisher(JointState, JOINT_STATES, reliable(10))
        for side in ARM_SIDES:
            topic = self._contract.arms[side].feedback_topic
            self.create_subscription(
                JointState, topic, partial(self._on_joints, side), qos_profile_sensor_data
            )
        # Not the clock of the node: a simulation that stands still must not look like a silent arm.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(1.0 / params.rate_hz, self._on_timer, clock=steady)
        self._description.publish(String(data=robot_urdf(self._contract)))

    def _on_joints(self, side: str, message: JointState) -> None:
        self._listener.note(side, message, time.monotonic())

    def _on_timer(self) -> None:
        now_s = time.monotonic()
        fresh = self._listener.fresh(now_s)
        silent = [side for side in ARM_SIDES if side not in fresh]
        if silent and now_s > self._patient_until_s:
            topics = ", ".join(self._contract.arms[side].feedback_topic for side in silent)
            self.get_logger().warning(
                f"{' and '.join(silent)} arm silent: nothing on {topics}; {JOINT_STATES} is without it",
                throttle_duration_sec=REMIND_S,
            )
        values = {
            side: arm for side, message in fresh.items() if (arm := self._values(side, message)) is not None
        }
        stamp_ns = max((stamp_to_ns(fresh[side].header.stamp) for side in values), default=0)
        if values and stamp_ns != self._stamp_ns:
            self._stamp_ns = stamp_ns
            self._tell(values, stamp_ns)

    def _values(self, side: str, message: JointState) -> FloatArray | None:
        """The seven values of an arm; none, with a warning, where the message is not right."""
        arm = self._contract.arms[side]
        try:
            return joint_values(message, arm.wire_names, arm.feedback_topic)
        except ContractError as err:
            self.get_logger().warning(str(err), throttle_duration_sec=REMIND_S)
            return None

    def _tell(self, values: dict[str, FloatArray], stamp_ns: int) -> None:
        sides = tuple(values)
        names = joint_state_names(self._contract, sides)
        positions = joint_state_positions(self._contract, np.concatenate(list(values.values())), sides)
        publish(self, self._joints, msgify_joints(names, np.array(positions), stamp_ns))


def main(args: list[str] | None = None) -> int:
    """Runs the node until SIGINT; 2 where its parameters or its contract are wrong."""
    return run_node(DESCRIPTION_NODE, DescriptionNode, args)


if __name__ == "__main__":
    sys.exit(main())
