"""Where message classes meet the types of the loop."""

from __future__ import annotations

from array import array

from finevla_msgs.msg import ActionChunk as ActionChunkMsg
from finevla_msgs.msg import DriverState, InstructionStatus, PolicyStatus
from finevla_perception.convert import name_of, ns_to_stamp

from finevla.contract import ActionChunk, RobotContract
from finevla_policy.loop_types import DriverView, Latencies, Report, SendChunk, State, Status


def chunk_msg(effect: SendChunk, contract: RobotContract, now_ns: int) -> ActionChunkMsg:
    """A chunk with its names; times in ns become stamps."""
    chunk: ActionChunk = effect.chunk
    msg = ActionChunkMsg(
        t0=ns_to_stamp(chunk.t0_ns),
        dt=float(chunk.dt_s) if chunk.horizon else 0.0,
        names=list(contract.joint_names),
        horizon=chunk.horizon,
        targets=array("d", chunk.targets.ravel()),
        observation_stamp=ns_to_stamp(chunk.observation_stamp_ns),
        instruction_id=chunk.instruction_id,
        checkpoint_id=chunk.checkpoint_id,
        sequence=effect.sequence,
    )
    msg.header.stamp = ns_to_stamp(now_ns)
    return msg


def report_msg(report: Report, now_ns: int) -> InstructionStatus:
    """What became of an instruction."""
    msg = InstructionStatus(
        id=report.instruction_id,
        state=getattr(InstructionStatus, report.outcome.name),
        reason_code=report.reason_code,
        reason=report.reason,
        step=report.step,
    )
    msg.header.stamp = ns_to_stamp(now_ns)
    return msg


def status_msg(status: Status, checkpoint_id: str, latencies: Latencies, now_ns: int) -> PolicyStatus:
    """The heartbeat of the policy."""
    msg = PolicyStatus(
        state=getattr(PolicyStatus, State(status.state).name),
        reason_code=status.reason_code,
        reason=status.reason,
        checkpoint_id=checkpoint_id,
        instruction_id=status.instruction_id,
        chunks=status.chunks,
        latency_s=latencies.newest_s,
        latency_p95_s=latencies.p95_s,
    )
    msg.header.stamp = ns_to_stamp(now_ns)
    return msg


def driver_view(msg: DriverState, received_ns: int) -> DriverView:
    """The driver state as the loop sees it."""
    state = name_of(DriverState, msg.state)
    return DriverView(state, msg.reason_code, msg.reason, msg.instruction_id, received_ns)
