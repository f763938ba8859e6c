"""Where the lifecycle manager's reports become diagnostic messages."""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from finevla_perception.convert import ns_to_stamp
from finevla_perception.diagnose import status

from finevla_system.bringup_plan import NodeReport, NodeState, Report
from finevla_system.heartbeats import Heartbeat

PREFIX = "finevla"


def overall_status(report: Report, phase: str, robot: str) -> DiagnosticStatus:
    """The bring-up as a whole: OK when all nodes are as wanted, WARN while it goes on, else ERROR."""
    busy = phase == "bringing up"
    level = DiagnosticStatus.WARN if busy and report.ok else DiagnosticStatus.OK
    level = level if report.ok else DiagnosticStatus.ERROR
    text = f"{phase}: {report.summary}" if report.nodes else phase
    values = {"phase": phase, **{entry.node: str(entry.state) for entry in report.nodes}}
    return status(f"{PREFIX}: bring-up", level, text, values, robot)


def node_status(entry: NodeReport, robot: str) -> DiagnosticStatus:
    """One lifecycle node."""
    fine = not entry.problem and entry.state is not NodeState.LOST
    level = DiagnosticStatus.OK if fine else DiagnosticStatus.ERROR
    values = {"state": str(entry.state)}
    return status(f"{PREFIX}: {entry.node}", level, entry.problem or str(entry.state), values, robot)


def heartbeat_status(beat: Heartbeat, robot: str) -> DiagnosticStatus:
    """One watched topic; ERROR once it has fallen silent, STALE before its first message."""
    if beat.age_s is None:
        level, message = DiagnosticStatus.STALE, "no message yet"
    elif beat.alive:
        level, message = DiagnosticStatus.OK, "alive"
    else:
        level, message = DiagnosticStatus.ERROR, f"silent for {beat.age_s:.1f} s; check its node"
    return status(f"{PREFIX}: topic {beat.name}", level, message, {}, robot)


def diagnostics(statuses: list[DiagnosticStatus], now_ns: int) -> DiagnosticArray:
    """All statuses in one message."""
    msg = DiagnosticArray(status=statuses)
    msg.header.stamp = ns_to_stamp(now_ns)
    return msg
