"""Parameters of the driver node. The defaults are those of a real robot."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cobotmagic_driver.core_types import CoreSettings
from cobotmagic_driver.safety import SafetySettings
from cobotmagic_driver.state_machine import LEADER, POLICY
from finevla.contract.params import param
from finevla.errors import LaunchError


@dataclass(frozen=True, slots=True)
class DriverParams:
    """Parameters of finevla_driver."""

    contract_file: str = param("", "Robot contract in YAML; empty: the one that ships with finevla.")
    can_interface: str = param("socketcan", "python-can interface: socketcan, slcan, socketcand, virtual.")
    can_channel_left: str = param("", "CAN channel of the left arm; empty: the contract's.")
    can_channel_right: str = param("", "CAN channel of the right arm; empty: the contract's.")
    can_options: str = param(
        "{}",
        "Further keywords of the interface as JSON, for socketcand such as "
        '{"host": "127.0.0.1", "port": 29536, "tcp_tune": true}.',
    )
    can_port_file: str = param("", "File that holds the port of a socketcand server; overrides can_options.")
    command_source: str = param(POLICY, "What commands the arms.", choices=(POLICY, LEADER))
    enable_on_activate: bool = param(False, "Switch the motors on when the node is activated.")
    speed_percent: int = param(100, "Share of the arm's own top speed it may use, %.", lower=1, upper=100)
    blend_s: float = param(0.1, "Time over which a new chunk takes over.", lower=0.0, upper=1.0)
    chunk_timeout_s: float = param(1.0, "Hold after this long without a chunk.", lower=0.05, upper=10.0)
    leader_timeout_s: float = param(0.2, "Hold after this long without a leader.", lower=0.01, upper=2.0)
    feedback_timeout_s: float = param(0.1, "Fault after this long without joints.", lower=0.02, upper=5.0)
    connect_timeout_s: float = param(5.0, "Wait so long for an arm to answer.", lower=0.1, upper=60.0)
    enable_timeout_s: float = param(5.0, "Wait so long for torque.", lower=0.1, upper=30.0)
    home_speed_rad_s: float = param(0.8, "Peak joint speed on the way home.", lower=0.05, upper=3.0)
    home_tolerance_rad: float = param(0.05, "An arm this near to home is home.", lower=0.001, upper=0.5)
    velocity_scale: float = param(1.0, "Share of the contract's joint speeds allowed.", lower=0.01, upper=1.0)
    jump_rad: float = param(0.5, "A command that leaps further is refused.", lower=0.01, upper=3.0)
    start_jump_rad: float = param(0.2, "A first target further away starts softly.", lower=0.0, upper=3.0)
    soft_start_fraction: float = param(0.2, "Share of the speed in a soft start.", lower=0.01, upper=1.0)
    reset_confirm_s: float = param(10.0, "Time for the second call of reset_stop.", lower=1.0, upper=60.0)

    def core_settings(self) -> CoreSettings:
        """The numbers that the core needs."""
        return CoreSettings(
            command_source=self.command_source,
            blend_s=self.blend_s,
            chunk_timeout_s=self.chunk_timeout_s,
            leader_timeout_s=self.leader_timeout_s,
            feedback_timeout_s=self.feedback_timeout_s,
            enable_timeout_s=self.enable_timeout_s,
            home_speed_rad_s=self.home_speed_rad_s,
            home_tolerance_rad=self.home_tolerance_rad,
            safety=SafetySettings(
                velocity_scale=self.velocity_scale,
                jump_rad=self.jump_rad,
                start_jump_rad=self.start_jump_rad,
                soft_start_fraction=self.soft_start_fraction,
            ),
        )

    def bus_options(self) -> Mapping[str, Any]:
        """The keywords of the CAN interface.

        Raises:
            LaunchError: `can_options` is no JSON object, or `can_port_file` cannot be read.
        """
        try:
            options = json.loads(self.can_options)
            if not isinstance(options, dict):
                raise TypeError(f"it is a {type(options).__name__}")
        except (ValueError, TypeError) as err:
            raise LaunchError(
                "the parameter can_options is not a JSON object",
                expected='such as {"host": "127.0.0.1", "port": 29536, "tcp_tune": true}',
                found=f"{self.can_options!r}: {err}",
                remedy="quote it so that the shell and YAML leave it alone",
            ) from err
        if not self.can_port_file:
            return options
        try:
            return {**options, "port": int(Path(self.can_port_file).read_text())}
        except (OSError, ValueError) as err:
            raise LaunchError(
                "the file that should hold the CAN server's port cannot be read",
                where=self.can_port_file,
                found=err,
                remedy="start the sim node first; it writes this file (parameter can_port_file)",
            ) from err
