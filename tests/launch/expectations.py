"""What a brought-up robot must show: ONE list, used by two tests of the same launch file.

`tests/launch/test_bringup.py` through `finevla launch`, and `launch/test/test_bringup_launch_pytest.py`
through ROS's own launch (`colcon test`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import rclpy
from finevla_msgs.msg import DriverState, Instruction, InstructionStatus, PolicyStatus
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import Image, JointState

from finevla.contract import ARM_SIDES, load_contract, services
from finevla.sim.goal import Goal
from finevla.sim.language import render
from finevla.sim.tasks import sample_scene

CONTRACT = load_contract()
TASK, SEED = "pick_lift", 0
NODES = (
    services.SIM_NODE,
    services.DRIVER_NODE,
    services.DESCRIPTION_NODE,
    services.INSTRUCTION_NODE,
    services.POLICY_NODE,
    services.LIFECYCLE_MANAGER_NODE,
)
LIFECYCLE_NODES = (services.DRIVER_NODE, services.POLICY_NODE)
LATCHED = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
INSTRUCTION_ID = "expectation"
MOVED_RAD, STILL_RAD = 0.3, 0.1


def topics() -> dict[str, str]:
    """Topics that must be there, with their types."""
    named = CONTRACT.topics
    found = {
        named.instruction: "finevla_msgs/msg/Instruction",
        named.instruction_parsed: "finevla_msgs/msg/ParsedInstruction",
        named.instruction_status: "finevla_msgs/msg/InstructionStatus",
        named.action_chunk: "finevla_msgs/msg/ActionChunk",
        named.policy_status: "finevla_msgs/msg/PolicyStatus",
        named.driver_state: "finevla_msgs/msg/DriverState",
        services.ROBOT_DESCRIPTION: "std_msgs/msg/String",
        services.JOINT_STATES: "sensor_msgs/msg/JointState",
    }
    for camera in CONTRACT.cameras.values():
        found[camera.raw_topic] = "sensor_msgs/msg/Image"
        found[camera.compressed_topic] = "sensor_msgs/msg/CompressedImage"
        found[camera.info_topic] = "sensor_msgs/msg/CameraInfo"
    for side in ARM_SIDES:
        found[CONTRACT.arms[side].feedback_topic] = "sensor_msgs/msg/JointState"
    return found


@dataclass
class Observer:
    """A node that looks at the robot from outside, in a context and a thread of its own."""

    domain_id: int
    driver: DriverState | None = None
    policy: PolicyStatus | None = None
    pictures: dict[str, Image] = field(default_factory=dict)
    first: dict[str, np.ndarray] = field(default_factory=dict)
    travel: dict[str, float] = field(default_factory=dict)
    statuses: list[InstructionStatus] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=self.domain_id)
        self.node = rclpy.create_node("finevla_expectations", context=self.context)
        listen = self.node.create_subscription
        named = CONTRACT.topics
        listen(DriverState, named.driver_state, lambda m: setattr(self, "driver", m), LATCHED)
        listen(PolicyStatus, named.policy_status, lambda m: setattr(self, "policy", m), LATCHED)
        listen(InstructionStatus, named.instruction_status, self.statuses.append, LATCHED)
        for name, camera in CONTRACT.cameras.items():
            listen(Image, camera.raw_topic, self._keep(self.pictures, name), qos_profile_sensor_data)
        for side in ARM_SIDES:
            listen(
                JointState, CONTRACT.arms[side].feedback_topic, self._follow(side), qos_profile_sensor_data
            )
        self.speak = self.node.create_publisher(Instruction, named.instruction, 1)
        self.states = {n: self.node.create_client(GetState, f"/{n}/get_state") for n in LIFECYCLE_NODES}
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.thread = threading.Thread(target=self.executor.spin, daemon=True)
        self.thread.start()

    @staticmethod
    def _keep(where: dict[str, Any], name: str) -> Callable[[Any], None]:
        return lambda message: where.__setitem__(name, message)

    def _follow(self, side: str) -> Callable[[JointState], None]:
        def note(message: JointState) -> None:
            arm = np.asarray(message.position)[: len(CONTRACT.arms[side].joints) - 1]
            start = self.first.setdefault(side, arm)
            self.travel[side] = max(self.travel.get(side, 0.0), float(np.abs(arm - start).max()))

        return note

    def lifecycle(self, name: str) -> int:
        """Id of the state that a lifecycle node is in; 0 where it does not answer."""
        if not self.states[name].service_is_ready():
            return 0
        future = self.states[name].call_async(GetState.Request())
        _wait(lambda: "" if future.done() else "no answer", 5.0)
        return future.result().current_state.id if future.done() else 0

    def close(self) -> None:
        """Ends the node and its thread."""
        self.executor.shutdown()
        self.thread.join()
        self.node.destroy_node()
        self.context.try_shutdown()


def _wait(problem: Callable[[], str], seconds: float) -> str:
    deadline = time.monotonic() + seconds
    while (found := problem()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def nodes_are_up(robot: Observer) -> str:
    """Every node runs."""
    missing = sorted(set(NODES) - set(robot.node.get_node_names()))
    return f"not up: {missing}" if missing else ""


def lifecycle_nodes_are_active(robot: Observer) -> str:
    """The lifecycle manager has activated driver and policy."""
    states = {name: robot.lifecycle(name) for name in LIFECYCLE_NODES}
    return "" if set(states.values()) == {State.PRIMARY_STATE_ACTIVE} else f"lifecycle states {states}"


def topics_have_their_types(robot: Observer) -> str:
    """Every topic of the contract is there, with its type."""
    present = dict(robot.node.get_topic_names_and_types())
    wrong = {name: present.get(name) for name, kind in topics().items() if present.get(name) != [kind]}
    return f"topics that are not as they should be: {wrong}" if wrong else ""


def cameras_see_something(robot: Observer) -> str:
    """Every camera sends pictures of the contract's size that are not one color."""
    for name, camera in CONTRACT.cameras.items():
        picture = robot.pictures.get(name)
        if picture is None:
            return f"no picture of {name}"
        if (picture.width, picture.height) != (camera.width, camera.height) or len(set(picture.data)) < 10:
            return f"{name} sends a picture of {picture.width}x{picture.height} with nothing on it"
    return ""


def arms_are_enabled_and_policy_is_idle(robot: Observer) -> str:
    """The motors hold, nothing moves, and the policy waits for an instruction."""
    if robot.driver is None or robot.driver.state not in {DriverState.ENABLED, DriverState.HOLD}:
        return f"driver: {robot.driver and (robot.driver.state, robot.driver.reason)}"
    if robot.policy is None or robot.policy.state != PolicyStatus.IDLE:
        return f"policy: {robot.policy and (robot.policy.state, robot.policy.reason)}"
    return "" if max(robot.travel.values(), default=1.0) < STILL_RAD else f"moved by itself: {robot.travel}"


def an_instruction_moves_the_named_arm(robot: Observer) -> str:
    """One sentence that names the left arm moves the left arm, and only it, until the policy settles."""
    mine = [status for status in robot.statuses if status.id == INSTRUCTION_ID]
    if not mine:
        goal = Goal(TASK, "left", sample_scene(TASK, SEED).colors[0])
        robot.speak.publish(Instruction(text=render(goal), id=INSTRUCTION_ID))
        return _wait(lambda: "" if robot.statuses else "nobody answers", 5.0) or "just said"
    if mine[-1].state not in {InstructionStatus.FINISHED, InstructionStatus.REJECTED}:
        return f"not finished: {robot.travel}"
    if mine[-1].reason_code != "settled":
        return f"ended by {mine[-1].reason_code}: {mine[-1].reason}"
    moved = robot.travel["left"] > MOVED_RAD and robot.travel["right"] < STILL_RAD
    return "" if moved else f"moved: {robot.travel}"


@dataclass(frozen=True)
class Expectation:
    """Something that must be seen within a time; the check returns what is wrong, or nothing."""

    check: Callable[[Observer], str]
    within_s: float

    @property
    def name(self) -> str:
        """Name of the expectation."""
        return self.check.__name__

    def problem(self, robot: Observer) -> str:
        """What is still wrong when the time is up; empty where the expectation is met."""
        return _wait(lambda: self.check(robot), self.within_s)


EXPECTATIONS = (
    Expectation(nodes_are_up, 120.0),
    Expectation(lifecycle_nodes_are_active, 180.0),
    Expectation(topics_have_their_types, 20.0),
    Expectation(cameras_see_something, 20.0),
    Expectation(arms_are_enabled_and_policy_is_idle, 20.0),
    Expectation(
        an_instruction_moves_the_named_arm, 180.0
    ),  # a slow machine simulates at a third of real time
)
