"""Parameters of the nodes of this package; robot facts are in the contract."""

from __future__ import annotations

from dataclasses import dataclass

from finevla.contract.params import param
from finevla_perception.devices import OPENERS


@dataclass(frozen=True, slots=True)
class InstructionParams:
    """Parameters of `finevla_instruction`."""

    contract_file: str = param("", "Robot contract in YAML; empty: the one that ships with finevla.")
    run_timeout_s: float = param(
        90.0, "Longest time of RunInstruction where the caller names none.", lower=1.0, upper=3600.0
    )
    apply_timeout_s: float = param(
        10.0, "RunInstruction ends when nobody follows it within this time.", lower=0.1, upper=600.0
    )
    policy_lost_s: float = param(
        5.0, "RunInstruction ends when the policy is silent for this long.", lower=0.5, upper=60.0
    )


@dataclass(frozen=True, slots=True)
class CameraParams:
    """Parameters of `finevla_camera`: one process per camera."""

    contract_file: str = param("", "Robot contract in YAML; empty: the one that ships with finevla.")
    camera: str = param("cam_high", "Name of the camera in the contract.")
    driver: str = param("v4l2", "What gives the images.", choices=tuple(OPENERS))
    device: str = param(
        "",
        "v4l2: a path or number (empty: /dev/video0). realsense: a serial number, in quotes (empty: the only "
        "one). video: path of a film.",
    )
    loop: bool = param(True, "video: whether the film begins again; else the node ends with it.")
    rate_hz: float = param(0.0, "Frames per second; 0: the rate of the contract.", lower=0.0, upper=240.0)
    jpeg_quality: int = param(90, "Quality of the compressed images.", lower=1, upper=100)
    publish_raw: bool = param(True, "Whether to publish raw images besides the compressed ones.")
    reopen_s: float = param(1.0, "Pause before a lost device is opened again.", lower=0.1, upper=60.0)
