"""Parameters of `finevla_lifecycle_manager`."""

from __future__ import annotations

from dataclasses import dataclass

from finevla.contract.params import param
from finevla.contract.services import DRIVER_NODE, POLICY_NODE
from finevla_system.bringup_plan import Plan


@dataclass(frozen=True, slots=True)
class ManagerParams:
    """One line per parameter; units are in the names."""

    contract_file: str = param("", "Robot contract in YAML; empty: the one that ships with finevla.")
    nodes: tuple[str, ...] = param((DRIVER_NODE, POLICY_NODE), "Lifecycle nodes in the order of bring-up.")
    patient_nodes: tuple[str, ...] = param(
        (DRIVER_NODE,), "Nodes whose configuration is tried again: their counterpart may come later."
    )
    activate: bool = param(True, "Whether to activate the nodes after all are configured.")
    enable_arms: bool = param(False, "Whether to enable the motors after activation; for simulation.")
    service_timeout_s: float = param(60.0, "Wait this long for a node to appear.", lower=0.1, upper=600.0)
    transition_timeout_s: float = param(60.0, "Wait this long for a transition.", lower=0.1, upper=600.0)
    configure_patience_s: float = param(
        60.0, "Try to configure a patient node for this long.", lower=0.0, upper=600.0
    )
    heartbeat_timeout_s: float = param(3.0, "Silence of a topic that is reported.", lower=0.2, upper=60.0)
    watch_streams: bool = param(False, "Whether to watch camera and joint topics too; costs processor time.")
    stay: bool = param(True, "Whether to stay and watch after the bring-up; else exit with its result.")

    def plan(self) -> Plan:
        """The part that the pure plan needs."""
        return Plan(
            nodes=tuple(name for name in self.nodes if name),
            activate=self.activate,
            patient_nodes=self.patient_nodes,
            service_timeout_s=self.service_timeout_s,
            configure_patience_s=self.configure_patience_s,
        )
