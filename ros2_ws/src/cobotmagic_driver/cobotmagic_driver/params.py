"""Parameters of the driver node. The defaults are those of a real robot."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cobotmagic_driver.core_types import CoreSettings
from cobotmagic_driver.guard import GuardSettings
from cobotmagic_driver.safety import SafetySettings
from cobotmagic_driver.startup import CHECKS
from cobotmagic_driver.state_machine import COMMAND_SOURCES, POLICY
from finevla.contract.compat import NONE, PRESETS
from finevla.contract.params import param
from finevla.contract.robot import RobotContract
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
    command_source: str = param(POLICY, "Whose commands are listened to first.", choices=COMMAND_SOURCES)
    compat: str = param(NONE, "Topic names of another driver to use too.", choices=tuple(PRESETS))
    dry_run: bool = param(False, "Listen to the arms and run everything, but send them nothing.")
    accept_mismatch: str = param(
        "", f"Start-up checks that may fail, with commas: {', '.join(CHECKS)}. Know what it means."
    )
    crash_protection_level: int = param(
        -1,
        "Collision protection to set in both arms: 1 most sensitive to 8, 0 none; -1: as it is.",
        lower=-1,
        upper=8,
    )
    enable_on_activate: bool = param(False, "Switch the motors on when the node is activated.")
    speed_percent: int = param(100, "Share of the arm's own top speed it may use, %.", lower=1, upper=100)
    blend_s: float = param(0.1, "Time over which a new chunk takes over.", lower=0.0, upper=1.0)
    chunk_timeout_s: float = param(1.0, "Hold after this long without a chunk.", lower=0.05, upper=10.0)
    leader_timeout_s: float = param(0.2, "Hold after this long without a leader.", lower=0.01, upper=2.0)
    command_age_s: float = param(1.0, "Refuse a command that is older.", lower=0.02, upper=10.0)
    accept_unstamped: bool = param(False, "Take joint commands whose stamp is zero.")
    feedback_timeout_s: float = param(0.1, "Fault after this long without joints.", lower=0.02, upper=5.0)
    following_error_rad: float = param(
        0.3, "A joint this far from its command for following_time_s is not following.", lower=0.02, upper=3.0
    )
    following_time_s: float = param(0.5, "See following_error_rad.", lower=0.05, upper=10.0)
    connect_timeout_s: float = param(5.0, "Wait so long for an arm to answer.", lower=0.1, upper=60.0)
    enable_timeout_s: float = param(5.0, "Wait so long for torque.", lower=0.1, upper=30.0)
    home_speed_rad_s: float = param(0.8, "Peak joint speed on the way home.", lower=0.05, upper=3.0)
    park_pose: str = param("", "Parking pose, 14 numbers with commas, rad and m; empty: all joints at zero.")
    park_on_shutdown: bool = param(False, "Move to the parking pose before the driver ends, if it may move.")
    home_tolerance_rad: float = param(0.05, "An arm this near to home is home.", lower=0.001, upper=0.5)
    velocity_scale: float = param(1.0, "Share of the contract's joint speeds allowed.", lower=0.01, upper=1.0)
    acceleration_rad_s2: float = param(5.0, "Largest joint acceleration.", lower=0.1, upper=50.0)
    jerk_rad_s3: float = param(200.0, "Largest joint jerk.", lower=1.0, upper=10000.0)
    limit_margin_rad: float = param(0.005, "Stay so far inside of the joint limits.", lower=0.0, upper=0.5)
    guard: bool = param(True, "Keep the arms from each other, from the table and inside the workspace.")
    table_z_m: float = param(0.0, "Height of the table top over the arms' bases.", lower=-1.0, upper=1.0)
    arm_margin_m: float = param(0.005, "Smallest gap between the two arms.", lower=0.0, upper=0.5)
    workspace_m: str = param(
        "", "Box for hands and wrists, x y z of two corners, 6 numbers with commas; empty: the guard's own."
    )
    jump_rad: float = param(0.5, "A command that leaps further is refused.", lower=0.01, upper=3.0)
    start_jump_rad: float = param(0.2, "A first target further away starts softly.", lower=0.0, upper=3.0)
    soft_start_fraction: float = param(0.2, "Share of the speed in a soft start.", lower=0.01, upper=1.0)
    realtime_priority: int = param(0, "SCHED_FIFO priority of the loop; 0: none.", lower=0, upper=90)
    reset_confirm_s: float = param(10.0, "Time for the second call of reset_stop.", lower=1.0, upper=60.0)

    def core_settings(self) -> CoreSettings:
        """The numbers that the core needs."""
        return CoreSettings(
            command_source=self.command_source,
            blend_s=self.blend_s,
            chunk_timeout_s=self.chunk_timeout_s,
            leader_timeout_s=self.leader_timeout_s,
            command_age_s=self.command_age_s,
            accept_unstamped=self.accept_unstamped,
            feedback_timeout_s=self.feedback_timeout_s,
            following_error_rad=self.following_error_rad,
            following_time_s=self.following_time_s,
            enable_timeout_s=self.enable_timeout_s,
            home_speed_rad_s=self.home_speed_rad_s,
            home_tolerance_rad=self.home_tolerance_rad,
            safety=SafetySettings(
                velocity_scale=self.velocity_scale,
                acceleration_rad_s2=self.acceleration_rad_s2,
                jerk_rad_s3=self.jerk_rad_s3,
                limit_margin_rad=self.limit_margin_rad,
                guard=self.guard_settings() if self.guard else None,
                jump_rad=self.jump_rad,
                start_jump_rad=self.start_jump_rad,
                soft_start_fraction=self.soft_start_fraction,
            ),
        )

    def guard_settings(self) -> GuardSettings:
        """Distances to keep.

        Raises:
            LaunchError: `workspace_m` is no box.
        """
        settings = GuardSettings(table_z_m=self.table_z_m, arm_margin_m=self.arm_margin_m)
        if not self.workspace_m:
            return settings
        try:
            corners = _numbers(self.workspace_m, 6)
            return dataclasses.replace(settings, workspace_lower_m=corners[:3], workspace_upper_m=corners[3:])
        except ValueError as err:
            raise LaunchError(
                "the parameter workspace_m is not a box",
                expected="six finite numbers, the lower corner first, such as -0.3,-0.8,-0.01,0.75,0.8,0.8",
                found=f"{self.workspace_m}: {err}",
                remedy="give x, y, z of both corners in m, in the frame of the contract",
            ) from err

    def accepted(self) -> frozenset[str]:
        """Names of the start-up checks that may fail.

        Raises:
            LaunchError: There is no check of that name.
        """
        names = frozenset(name.strip() for name in self.accept_mismatch.split(",") if name.strip())
        if not names <= set(CHECKS):
            raise LaunchError(
                "the parameter accept_mismatch names a check that does not exist",
                expected=", ".join(CHECKS),
                found=", ".join(sorted(names - set(CHECKS))),
                remedy="correct the name, or leave the parameter empty",
            )
        return names

    def parking_pose(self, contract: RobotContract) -> NDArray[np.float64]:
        """Where the arms are parked, shape (14,), rad and m, within the limits.

        Raises:
            LaunchError: It is not fourteen finite numbers within the limits.
        """
        if not self.park_pose:
            return np.clip(np.zeros(contract.dof), contract.lower, contract.upper)
        try:
            pose = np.array(_numbers(self.park_pose, contract.dof))
            if not ((contract.lower <= pose) & (pose <= contract.upper)).all():
                raise ValueError("a joint is beyond its limits")
        except ValueError as err:
            raise LaunchError(
                "the parameter park_pose is not a pose of the robot",
                expected=f"{contract.dof} numbers within the joint limits: {', '.join(contract.joint_names)}",
                found=f"{self.park_pose}: {err}",
                remedy="move the arms to where they shall rest and copy the joints of the feedback topics",
            ) from err
        return pose

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


def _numbers(text: str, count: int) -> tuple[float, ...]:
    """Numbers with commas.

    Raises:
        ValueError: There are more or fewer, or one is none.
    """
    numbers = tuple(float(word) for word in text.split(","))
    if len(numbers) != count:
        raise ValueError(f"{len(numbers)} numbers")
    return numbers
