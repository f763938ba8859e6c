"""Messages to the driver's types and back; with `diagnose` the only module that knows message fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from finevla_msgs.msg import ActionChunk as ActionChunkMsg
from finevla_msgs.msg import ArmState, DriverState
from finevla_perception.convert import joint_values, msgify_joints, ns_to_stamp, stamp_to_ns
from numpy.typing import NDArray
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory

from cobotmagic_driver.backend import ArmFeedback, ArmHealth
from cobotmagic_driver.core import DriverCore
from cobotmagic_driver.sources import JointPath
from finevla.contract.frame import NS_PER_S, ActionChunk
from finevla.contract.joints import reorder
from finevla.contract.robot import ARM_SIDES, ArmSpec, RobotContract
from finevla.contract.services import JOINT_COMMAND, JOINT_TRAJECTORY
from finevla.contract.urdf import base_frame
from finevla.errors import ContractError


def chunk_from_msg(message: ActionChunkMsg, contract: RobotContract, topic: str) -> ActionChunk:
    """A chunk with its columns in contract order.

    Raises:
        ContractError: Names, sizes or step do not fit, or a target is not finite.
    """
    horizon, width = message.horizon, len(message.names)
    if horizon == 0:
        targets = np.zeros((0, contract.dof))
    elif len(message.targets) != horizon * width or not message.dt > 0.0:
        raise ContractError(
            "an action chunk contradicts itself",
            where=topic,
            expected=f"{horizon} rows of {width} targets and dt > 0",
            found=f"{len(message.targets)} targets, dt {message.dt}",
            remedy="send horizon * len(names) targets, row after row",
        )
    else:
        order = reorder(message.names, range(width), contract.joint_names, topic).astype(int)
        targets = np.asarray(message.targets, dtype=np.float64).reshape(horizon, width)[:, order]
        if not np.isfinite(targets).all():
            raise ContractError(
                "a target of an action chunk is not a finite number",
                where=topic,
                found=[contract.joint_names[i] for i in np.flatnonzero(~np.isfinite(targets).all(axis=0))],
                remedy="look at what the policy put out",
            )
    return ActionChunk(
        t0_ns=stamp_to_ns(message.t0),
        dt_s=message.dt,
        targets=targets,
        observation_stamp_ns=stamp_to_ns(message.observation_stamp),
        instruction_id=message.instruction_id,
        checkpoint_id=message.checkpoint_id,
    )


def leader_from_msg(message: JointState, arm: ArmSpec) -> NDArray[np.float64]:
    """Joints of one leader arm in contract order, shape (7,), rad and m.

    Raises:
        ContractError: A joint is missing, extra, duplicate or not finite.
    """
    return joint_values(message, arm.wire_names, arm.leader_topic)


def command_from_msg(message: JointState, contract: RobotContract) -> NDArray[np.float64]:
    """Joint targets of both arms by contract name, shape (14,), rad and m.

    Raises:
        ContractError: A joint is missing, extra, duplicate or not finite: nothing is filled in.
    """
    return joint_values(message, contract.joint_names, JOINT_COMMAND)


def path_from_msg(message: JointTrajectory, contract: RobotContract, now_ns: int) -> JointPath:
    """A trajectory of one arm or both, with or without grippers; a zero stamp means now, as in ROS.

    Raises:
        ContractError: The names are not those of whole arms, or times or sizes contradict each other.
    """
    expected = _whole_arms(message.joint_names, contract)
    if expected is None:
        raise _bad_path(
            "the six joints of one arm or of both, with or without their gripper", list(message.joint_names)
        )
    rows = [reorder(message.joint_names, p.positions, expected, JOINT_TRAJECTORY) for p in message.points]
    offsets = [point.time_from_start for point in message.points]
    times = np.array([offset.sec + offset.nanosec / NS_PER_S for offset in offsets], dtype=np.float64)
    if not rows or (times < 0.0).any() or (np.diff(times) <= 0.0).any():
        raise _bad_path("at least one point, and times that increase from zero or later", times.tolist())
    places = {name: place for place, name in enumerate(contract.joint_names)}
    start_ns = stamp_to_ns(message.header.stamp) or now_ns
    return JointPath(start_ns, times, tuple(places[name] for name in expected), np.stack(rows))


def _whole_arms(names: Sequence[str], contract: RobotContract) -> list[str] | None:
    """The names that are expected where these came, in contract order; None: they fit no arm."""
    expected: list[str] = []
    for side in ARM_SIDES:
        *joints, gripper = contract.arms[side].names
        if set(names) & {*joints, gripper}:
            expected += [*joints, *([gripper] if gripper in names else [])]
    return expected if set(names) == set(expected) else None


def _bad_path(expected: str, found: object) -> ContractError:
    return ContractError(
        "a joint trajectory cannot be followed",
        where=JOINT_TRAJECTORY,
        expected=expected,
        found=found,
        remedy="send whole arms: joints that a trajectory does not name keep their place",
    )


def joint_state(arm: ArmSpec, feedback: ArmFeedback) -> JointState:
    """Feedback of one arm under the names that CobotMagic's own topics use."""
    message = msgify_joints(arm.wire_names, feedback.values, feedback.stamp_ns)
    message.header.frame_id = base_frame(arm.side)
    return message


def driver_state(core: DriverCore, contract: RobotContract, now_ns: int, dry_run: bool) -> DriverState:
    """What the driver is doing, for the state topic."""
    machine = core.machine
    message = DriverState()
    message.header.stamp = ns_to_stamp(now_ns)
    message.state = int(machine.state)
    message.reason_code, message.reason = machine.reason_code, machine.reason
    message.source, message.instruction_id = machine.source, machine.instruction_id
    message.selected_source = core.commands.selected
    message.speed_scale, message.soft_start = core.limiter.speed_scale, core.limiter.soft
    message.dry_run = dry_run
    message.chunk_age = core.commands.chunk_age_s(now_ns)
    message.arms = [_arm_state(core, side, now_ns) for side in contract.arms]
    _set_counts(message, core.interventions)
    return message


def _set_counts(message: DriverState, counts: Mapping[str, int]) -> None:
    message.interventions = list(counts)
    message.intervention_counts = list(counts.values())


def _arm_state(core: DriverCore, side: str, now_ns: int) -> ArmState:
    message = ArmState()
    message.side = side
    message.feedback_age = core.arms.age_s(side, now_ns)
    feedback = core.arms.feedback(side)
    if feedback is not None:
        message.connected = True
        message.enabled = feedback.enabled
        message.arm_status = feedback.arm_status
        message.error_code = feedback.error_code
        message.faults = list(feedback.faults)
        _set_health(message, feedback.health)
    return message


def _set_health(message: ArmState, health: ArmHealth) -> None:
    message.control_mode, message.firmware = health.control_mode, health.firmware
    message.motor_temperature = health.motor_celsius
    message.driver_temperature = health.driver_celsius
    message.motor_current = health.motor_ampere
    message.supply_voltage = health.supply_volt
