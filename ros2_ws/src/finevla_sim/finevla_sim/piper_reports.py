"""The frames that a Piper sends of its own accord: pure functions of its joints and its health."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from finevla.contract.units import counts_from_m, counts_from_rad
from finevla_sim import piper_frames as frames
from finevla_sim.arm_health import JOINTS, ArmHealth, Foc
from finevla_sim.piper_frames import Frame, Id

GRIPPER_ON, GRIPPER_HOMED = 1 << 6, 1 << 7
LEADER_MODE = (1, 1, 100)
"""CAN control, MOVE J, full speed: what a leader tells its follower (0x151)."""


def joint_frames(measured: NDArray[np.float64], ids: Sequence[int]) -> list[Frame]:
    """Six angles (rad) as three frames: feedback, or the commands of a leader."""
    angles = [counts_from_rad(float(value)) for value in measured[:JOINTS]]
    return [(can_id, frames.pair(angles[2 * i], angles[2 * i + 1])) for i, can_id in enumerate(ids)]


def gripper_frame(opening_m: float, effort: int, health: ArmHealth, *, on: bool) -> Frame:
    """Gripper feedback 0x2A8: opening in m, effort in 0.001 N m."""
    bits = (GRIPPER_ON if on else 0) | GRIPPER_HOMED | health.gripper_bits
    return (Id.GRIPPER, frames.gripper(counts_from_m(opening_m), effort, bits))


def leader_frames(measured: NDArray[np.float64], effort: int, offset: int) -> list[Frame]:
    """A leader's joints as commands to its follower: 0x151, 0x155 to 0x157 and 0x159, moved by `offset`.

    piper_sdk, can_id.py: an arm that teaches "actively sends joint mode control frames".
    """
    opening = counts_from_m(float(measured[JOINTS]))
    out: list[Frame] = [(Id.COMMAND_MODE, frames.padded(*LEADER_MODE))]
    out += joint_frames(measured, frames.JOINT_COMMANDS)
    out.append((Id.COMMAND_GRIPPER, frames.gripper(opening, effort, 1)))
    return [(can_id + offset, data) for can_id, data in out]


def pose_frames(pose: Sequence[float]) -> list[Frame]:
    """Tool pose: x, y, z in m and roll, pitch, yaw in rad."""
    counts = [counts_from_m(v) for v in pose[:3]] + [counts_from_rad(v) for v in pose[3:6]]
    ids = frames.END_POSE_FEEDBACK
    return [(can_id, frames.pair(counts[2 * i], counts[2 * i + 1])) for i, can_id in enumerate(ids)]


def high_speed_frames(
    measured: NDArray[np.float64], velocity: NDArray[np.float64] | None, health: ArmHealth
) -> list[Frame]:
    """0x251 to 0x256: speed, current and position of each motor."""
    speeds = np.zeros(JOINTS) if velocity is None else velocity
    return [
        (
            Id.HIGH_SPEED_1 + i,
            frames.high_speed(
                round(float(speeds[i]) * 1000),
                round(motor.phase_current_a * 1000),
                round(float(measured[i]) * 1000),
            ),
        )
        for i, motor in enumerate(health.motors)
    ]


def motor_frames(health: ArmHealth, enabled: Sequence[bool]) -> list[Frame]:
    """0x261 to 0x266: voltage, temperatures, status bits and current of each motor's driver."""
    return [
        (
            Id.LOW_SPEED_1 + i,
            frames.low_speed(
                round(motor.supply_v * 10),
                round(motor.driver_c),
                round(motor.motor_c),
                motor.bits | (Foc.ENABLED if on else 0),
                round(motor.bus_current_a * 1000),
            ),
        )
        for i, (motor, on) in enumerate(zip(health.motors, enabled, strict=True))
    ]
