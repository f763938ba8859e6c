"""Ordered bring-up of lifecycle nodes, pure: which transition follows which, and what is reported.

All nodes are configured first, in order; only when all are, they are activated in the same order.
Where one fails, those that were activated go back to inactive: a robot is up as a whole or stays
still. A node that comes back after a crash is configured and no more: what moves arms is activated
by a person.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Protocol

SILENT = "it does not answer; is its process running?"


class NodeState(StrEnum):
    """States of a lifecycle node, as its service names them, and what there is besides."""

    UNCONFIGURED = "unconfigured"
    INACTIVE = "inactive"
    ACTIVE = "active"
    FINALIZED = "finalized"
    LOST = "lost"
    """Its services do not answer."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to bring up and how long to wait. Times in s."""

    nodes: tuple[str, ...]
    activate: bool = True
    patient_nodes: tuple[str, ...] = ()
    """Nodes whose configuration is tried again until `configure_patience_s` is over."""
    service_timeout_s: float = 60.0
    configure_patience_s: float = 60.0
    retry_pause_s: float = 1.0


@dataclass(frozen=True, slots=True)
class NodeReport:
    """Where one node stands; `problem` is empty where nothing is wrong."""

    node: str
    state: NodeState
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """Where the whole stands."""

    nodes: tuple[NodeReport, ...] = field(default=())

    @property
    def ok(self) -> bool:
        """Whether no node has a problem."""
        return not any(entry.problem for entry in self.nodes)

    @property
    def summary(self) -> str:
        """One sentence: all is well, or which nodes have which problem."""
        states = ", ".join(f"{entry.node} {entry.state}" for entry in self.nodes)
        problems = "; ".join(f"{entry.node}: {entry.problem}" for entry in self.nodes if entry.problem)
        return f"{problems} ({states})" if problems else states

    def with_node(self, entry: NodeReport) -> Report:
        """The same report with one node's line replaced."""
        return Report(tuple(entry if old.node == entry.node else old for old in self.nodes))


class Port(Protocol):
    """How the plan reaches the nodes; every call may block for its own timeout."""

    def wait_for(self, node: str, timeout_s: float) -> bool:
        """Waits until the lifecycle services of a node are there."""

    def state(self, node: str) -> NodeState:
        """Asks a node for its state; LOST where it does not answer."""

    def change(self, node: str, transition: str) -> bool:
        """Makes a transition: configure, activate, deactivate or cleanup."""

    def reason(self, node: str) -> str:
        """What the node itself says about its newest trouble; may be empty."""

    def pause(self, seconds: float) -> None:
        """Waits."""

    def now_s(self) -> float:
        """Monotonic time."""


def bring_up(plan: Plan, port: Port) -> Report:
    """Configures, then activates the nodes of the plan in order."""
    report = Report(tuple(NodeReport(node, NodeState.LOST) for node in plan.nodes))
    for node in plan.nodes:
        entry = _configured(plan, port, node)
        report = report.with_node(entry)
        if entry.problem:
            return _with_states(report, port)
    if plan.activate:
        report = _activated(plan.nodes, port, report)
    return _with_states(report, port)


def shut_down(nodes: Sequence[str], port: Port) -> Report:
    """Deactivates and cleans up the nodes in reverse order; one that fails does not stop the others."""
    entries = []
    for node in reversed(nodes):
        problem = ""
        for state, transition in ((NodeState.ACTIVE, "deactivate"), (NodeState.INACTIVE, "cleanup")):
            if port.state(node) is state and not port.change(node, transition):
                problem = problem or f"it refused to {transition}"
        entries.append(NodeReport(node, port.state(node), problem))
    return Report(tuple(reversed(entries)))


def recover(entry: NodeReport, port: Port) -> NodeReport:
    """Looks after one node: notices that it is gone, and configures it when it is back, no more."""
    state = port.state(entry.node)
    was_up = entry.state in {NodeState.ACTIVE, NodeState.INACTIVE, NodeState.LOST}
    if state is NodeState.LOST:
        return NodeReport(entry.node, state, SILENT)
    if state is NodeState.UNCONFIGURED and was_up:
        if port.change(entry.node, "configure"):
            return NodeReport(
                entry.node,
                NodeState.INACTIVE,
                "it was restarted and waits inactive: look at the robot, then call bring_up",
            )
        return NodeReport(entry.node, port.state(entry.node), _failure(port, entry.node, "configure"))
    if state is NodeState.ACTIVE or entry.problem == SILENT:
        return NodeReport(entry.node, state)
    return replace(entry, state=state)


def _configured(plan: Plan, port: Port, node: str) -> NodeReport:
    if not port.wait_for(node, plan.service_timeout_s):
        return NodeReport(
            node, NodeState.LOST, f"its services did not appear within {plan.service_timeout_s:g} s"
        )
    end_s = port.now_s() + (plan.configure_patience_s if node in plan.patient_nodes else 0.0)
    while port.state(node) is NodeState.UNCONFIGURED and not port.change(node, "configure"):
        if port.now_s() >= end_s:
            return NodeReport(node, NodeState.UNCONFIGURED, _failure(port, node, "configure"))
        port.pause(plan.retry_pause_s)
    state = port.state(node)
    fine = state in {NodeState.INACTIVE, NodeState.ACTIVE}
    return NodeReport(node, state, "" if fine else f"it is {state} instead of configured")


def _activated(nodes: Sequence[str], port: Port, report: Report) -> Report:
    ours: list[str] = []
    for node in nodes:
        if port.state(node) is NodeState.ACTIVE:
            continue
        if not port.change(node, "activate"):
            problem = _failure(port, node, "activate")
            for done in reversed(ours):
                port.change(done, "deactivate")
            return report.with_node(NodeReport(node, NodeState.INACTIVE, problem))
        ours.append(node)
    return report


def _with_states(report: Report, port: Port) -> Report:
    return Report(tuple(replace(entry, state=port.state(entry.node)) for entry in report.nodes))


def _failure(port: Port, node: str, transition: str) -> str:
    reason = port.reason(node)
    return f"it refused to {transition}" + (f": {reason}" if reason else "; see its log")
