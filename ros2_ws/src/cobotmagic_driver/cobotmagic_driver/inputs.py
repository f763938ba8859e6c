"""What the driver listens to: commands of every source, stop requests, speed scale."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from finevla_msgs.msg import ActionChunk as ActionChunkMsg
from finevla_perception.convert import stamp_to_ns
from finevla_perception.qos import command, latched, reliable
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Float64
from trajectory_msgs.msg import JointTrajectory

from cobotmagic_driver import convert
from cobotmagic_driver.loop import DriverLoop
from cobotmagic_driver.state_machine import JOINTS, LEADER, POLICY, TRAJECTORY
from finevla.contract import services
from finevla.contract.compat import ArmTopics
from finevla.contract.robot import RobotContract
from finevla.errors import FineVLAError

STOP_DEPTH = 10


class Inputs:
    """Subscribes and hands every message to the loop that there is at the time.

    Args:
        node: Subscribes and logs.
        contract: Names and topics.
        more: Further topics by side, of another driver.
        loop: Gives the loop, or None where the driver is not connected.
    """

    def __init__(
        self,
        node: Node,
        contract: RobotContract,
        more: Mapping[str, ArmTopics],
        loop: Callable[[], DriverLoop | None],
    ) -> None:
        self._node, self._contract, self._more, self._loop = node, contract, more, loop
        self._log = node.get_logger()
        self._group, quick = MutuallyExclusiveCallbackGroup(), MutuallyExclusiveCallbackGroup()
        self._heard: set[str] = set()
        self._subscribe(Float64, services.DRIVER_SPEED_SCALE, self._on_speed_scale, reliable(1), quick)
        # Twice, because a latched publisher may have spoken before us, and others are not latched.
        for qos in (reliable(STOP_DEPTH), latched()):
            self._subscribe(Bool, services.DRIVER_STOP_REQUEST, self._on_stop, qos, quick)

    def listen_to(self, source: str) -> None:
        """Subscribes the topics of a source, once; they stay, and the arbiter refuses what is not selected.

        Not all from the beginning: leader arms that speak at 200 Hz while nobody wants to hear them would
        take a quarter of a core.
        """
        if source in self._heard:
            return
        self._heard.add(source)
        sensor = qos_profile_sensor_data
        if source == POLICY:
            self._subscribe(ActionChunkMsg, self._contract.topics.action_chunk, self._on_chunk, command())
        elif source == JOINTS:
            self._subscribe(JointState, services.JOINT_COMMAND, self._on_joints, sensor)
        elif source == TRAJECTORY:
            self._subscribe(JointTrajectory, services.JOINT_TRAJECTORY, self._on_trajectory, reliable(1))
        elif source == LEADER:
            streams = [(side, arm.leader_topic) for side, arm in self._contract.arms.items()]
            streams += [(side, topics.command) for side, topics in self._more.items()]
            for side, topic in streams:
                self._subscribe(JointState, topic, partial(self._on_leader, side), sensor)

    def _subscribe(
        self, kind: type, topic: str, callback: Callable[[Any], None], qos: Any, group: Any = None
    ) -> None:
        self._node.create_subscription(kind, topic, callback, qos, callback_group=group or self._group)

    def _on_chunk(self, message: ActionChunkMsg) -> None:
        loop = self._loop()
        if loop is None:
            return
        try:
            chunk = convert.chunk_from_msg(message, self._contract, self._contract.topics.action_chunk)
        except FineVLAError as err:
            self._malformed(loop, "malformed_chunk", err)
            return
        self._told(loop.on_chunk(chunk), f"a chunk of instruction {chunk.instruction_id}")

    def _on_leader(self, side: str, message: JointState) -> None:
        loop = self._loop()
        if loop is None:
            return
        try:
            values = convert.leader_from_msg(message, self._contract.arms[side])
        except FineVLAError as err:
            self._malformed(loop, "malformed_leader", err)
            return
        loop.on_leader(side, values, stamp_to_ns(message.header.stamp))

    def _on_joints(self, message: JointState) -> None:
        loop = self._loop()
        if loop is None:
            return
        try:
            values = convert.command_from_msg(message, self._contract)
        except FineVLAError as err:
            self._malformed(loop, "malformed_command", err)
            return
        loop.on_joints(values, stamp_to_ns(message.header.stamp))

    def _on_trajectory(self, message: JointTrajectory) -> None:
        loop = self._loop()
        if loop is None:
            return
        try:
            path = convert.path_from_msg(message, self._contract, time.time_ns())
        except FineVLAError as err:
            self._malformed(loop, "malformed_command", err)
            return
        self._told(loop.on_trajectory(path), "a trajectory")

    def _on_speed_scale(self, message: Float64) -> None:
        loop = self._loop()
        if loop is not None:
            loop.scale_speed(message.data)

    def _on_stop(self, message: Bool) -> None:
        loop = self._loop()
        if message.data and loop is not None:
            loop.stop()

    def _malformed(self, loop: DriverLoop, code: str, err: FineVLAError) -> None:
        loop.count(code)
        self._log.warning(str(err), throttle_duration_sec=1.0)

    def _told(self, code: str, what: str) -> None:
        if code:
            self._log.warning(f"refused {what}: {code}", throttle_duration_sec=1.0)
