"""Parameters of the sim node and the leader node."""

from __future__ import annotations

from dataclasses import dataclass

from finevla.contract.params import param
from finevla.sim.tasks import task_names
from finevla_sim.piper_device import FrameSet

TRUTH_TOPIC = "/finevla/sim/truth"
DISABLED_CAMERAS = "disabled_cameras"
"""String array, may be set while the node runs: cameras of the contract that send nothing."""


@dataclass(frozen=True, slots=True)
class SimParams:
    """Parameters of finevla_sim."""

    contract_file: str = param("", "Robot contract in YAML; empty: the one that ships with finevla.")
    task: str = param(task_names()[0], "Task of the first scene.", choices=task_names())
    seed: int = param(0, "Seed of the first scene.", lower=0)
    render: bool = param(True, "Whether there are cameras; without, no Vulkan device is needed.")
    camera_rate_hz: float = param(10.0, "Rate of all cameras.", lower=0.5, upper=60.0)
    truth_rate_hz: float = param(20.0, "Rate of the truth topic; 0: never.", lower=0.0, upper=50.0)
    can_port: int = param(29536, "TCP port of both CAN buses on loopback; 0: any.", lower=0, upper=65535)
    can_port_file: str = param("", "File into which the port is written once the arms answer.")
    frame_set: str = param(
        FrameSet.REDUCED.value,
        "Feedback frames of the arms: all of a real arm, or those that the driver reads.",
        choices=tuple(item.value for item in FrameSet),
    )


@dataclass(frozen=True, slots=True)
class LeaderParams:
    """Parameters of finevla_leader."""

    contract_file: str = param("", "Robot contract in YAML; empty: the one that ships with finevla.")
    rate_hz: float = param(100.0, "Rate of the leader joints.", lower=10.0, upper=200.0)
    rest_s: float = param(1.0, "Rest at the goal before the instruction is over.", lower=0.0, upper=10.0)
    timeout_s: float = param(60.0, "An instruction that takes longer is given up.", lower=1.0, upper=300.0)
