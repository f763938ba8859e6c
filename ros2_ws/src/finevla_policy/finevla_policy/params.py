"""Parameters of `finevla_policy`; tuning only, robot facts are in the contract."""

from __future__ import annotations

from dataclasses import dataclass

from finevla.contract import REPLAN_FRAMES
from finevla.contract.params import param
from finevla_policy.loop_types import LoopConfig


@dataclass(frozen=True, slots=True)
class PolicyParams:
    """One line per parameter; units are in the names."""

    bundle: str = param("", "Directory of the bundle; empty: the one that ships with finevla.")
    contract_file: str = param("", "Robot contract in YAML; empty: the one that ships with finevla.")
    image_transport: str = param("raw", "Which camera topics to read.", choices=("raw", "compressed"))
    watch_all_cameras: bool = param(True, "Hold when any camera of the contract dies, used or not.")
    inference_threads: int = param(1, "Threads of torch; one is fastest for small models.", lower=1, upper=64)
    latency_budget_s: float = param(
        0.2,
        "Largest time of one inference after warm-up; a slower one is refused.",
        lower=0.001,
        upper=10.0,
    )
    replan_frames: int = param(REPLAN_FRAMES, "Frames between two inferences.", lower=1, upper=100)
    camera_stale_s: float = param(1.0, "Hold when a camera is silent for this long.", lower=0.05, upper=10.0)
    joints_stale_s: float = param(
        0.3, "Hold when an arm's feedback is silent this long.", lower=0.02, upper=10.0
    )
    frame_stale_s: float = param(1.5, "Hold when no frame comes about for this long.", lower=0.2, upper=20.0)
    driver_stale_s: float = param(
        1.0, "Hold when the driver state is silent for this long; 0: do not watch it.", lower=0.0, upper=20.0
    )
    inference_stuck_s: float = param(2.0, "Hold when one inference takes this long.", lower=0.1, upper=60.0)
    instruction_timeout_s: float = param(60.0, "Longest time of one instruction.", lower=1.0, upper=3600.0)
    settle_arm_rad: float = param(
        0.05, "An arm joint moving less within a chunk rests.", lower=0.0, upper=1.0
    )
    settle_gripper_m: float = param(0.008, "A gripper moving less in a chunk rests.", lower=0.0, upper=0.1)
    settle_inferences: int = param(3, "Chunks at rest in a row that end an instruction.", lower=1, upper=1000)
    settle_min_run_s: float = param(1.0, "No instruction ends by rest before this.", lower=0.0, upper=60.0)

    def loop_config(self) -> LoopConfig:
        """The part that the pure loop needs."""
        names = LoopConfig.__dataclass_fields__
        return LoopConfig(**{name: getattr(self, name) for name in names})
