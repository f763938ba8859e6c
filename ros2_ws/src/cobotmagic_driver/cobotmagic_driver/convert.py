"""Messages to the driver's types and back; the only module here that knows message fields."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from finevla_msgs.msg import ActionChunk as ActionChunkMsg
from finevla_msgs.msg import ArmState, DriverState
from finevla_perception.convert import joint_values, msgify_joints, ns_to_stamp, stamp_to_ns
from numpy.typing import NDArray
from sensor_msgs.msg import JointState

from cobotmagic_driver.backend import ArmFeedback
from cobotmagic_driver.core import DriverCore
from finevla.contract.frame import ActionChunk
from finevla.contract.joints import reorder
from finevla.contract.robot import ArmSpec, RobotContract
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


def joint_state(arm: ArmSpec, feedback: ArmFeedback) -> JointState:
    """Feedback of one arm under the names that CobotMagic's own topics use."""
    message = msgify_joints(arm.wire_names, feedback.values, feedback.stamp_ns)
    message.header.frame_id = f"{arm.side}_base"
    return message


def driver_state(core: DriverCore, contract: RobotContract, now_ns: int) -> DriverState:
    """What the driver is doing, for the state topic."""
    machine = core.machine
    message = DriverState()
    message.header.stamp = ns_to_stamp(now_ns)
    message.state = int(machine.state)
    message.reason_code, message.reason = machine.reason_code, machine.reason
    message.source, message.instruction_id = machine.source, machine.instruction_id
    message.chunk_age = core.chunk_age_s(now_ns)
    message.arms = [_arm_state(core, side, now_ns) for side in contract.arms]
    _set_counts(message, core.interventions)
    return message


def _set_counts(message: DriverState, counts: Mapping[str, int]) -> None:
    message.interventions = list(counts)
    message.intervention_counts = list(counts.values())


def _arm_state(core: DriverCore, side: str, now_ns: int) -> ArmState:
    message = ArmState()
    message.side = side
    message.feedback_age = core.feedback_age_s(side, now_ns)
    feedback = core.feedback(side)
    if feedback is not None:
        message.connected = True
        message.enabled = feedback.enabled
        message.arm_status = feedback.arm_status
        message.error_code = feedback.error_code
    return message
