"""One emulated Piper arm: CAN frames in, joint commands and feedback frames out. No sockets, no clock.

The arm behaves as the driver sees the real one: it moves only when all six motors are on and CAN
control is selected, it follows joint targets no faster than the speed that the mode frame allows,
a stop (0x150, 1) freezes it until a reset (0x150, 2), and a reset takes the power away.
Nothing falls here: an arm without power stays where it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from finevla.contract.robot import ArmSpec
from finevla.contract.units import counts_from_m, counts_from_rad, m_from_counts, rad_from_counts
from finevla_sim import piper_frames as frames
from finevla_sim.piper_frames import Frame, Id

FEEDBACK_HZ = 200
"""Rate of joint, gripper, pose, status and high-speed frames."""

FIRMWARE = b"S-V1.8-2"
ALL_MOTORS = (7, 0xFF)
JOINTS = 6
CAN_CONTROL = 1
MOVE_JOINT = 1
ARM_NORMAL, ARM_STOPPED, ARM_TARGET_OVER_LIMIT = 0, 1, 4
MOTOR_ON, GRIPPER_HOMED = 1 << 6, 1 << 7
SUPPLY_DECIVOLT, TEMPERATURE_C = 240, 30
ACCELERATION_LIMIT = 5000
END_LIMITS = (1000, 3000, 1000, 3000)
GRIPPER_PARAMETERS = (100, 70, 1)

EndPose = Callable[[NDArray[np.float64]], Sequence[float]]
"""Six joint angles in rad to x, y, z in m and roll, pitch, yaw in rad."""


class FrameSet(StrEnum):
    """Which feedback an arm sends.

    FULL is what a real arm sends: 14 kinds at 200 Hz and 6 at 40 Hz, 3040 frames a second. REDUCED
    sends what the driver reads: joints and gripper at 200 Hz, status and motors at 20 Hz.
    """

    FULL = "full"
    REDUCED = "reduced"


@dataclass(frozen=True, slots=True)
class _Schedule:
    """Every how many ticks of 200 Hz a group of frames is sent; 0: never."""

    status: int
    motors: int
    pose: int
    high_speed: int


_SCHEDULES = {FrameSet.FULL: _Schedule(1, 5, 1, 1), FrameSet.REDUCED: _Schedule(10, 10, 0, 0)}


class PiperDevice:
    """State of one arm between its bus and its joints.

    Args:
        arm: Limits and speeds.
        pose: Joints at power on, shape (7,), rad and m.
        frame_set: Which feedback is sent.
        end_pose: Forward kinematics for the pose frames; without it the full set has none.
    """

    def __init__(
        self,
        arm: ArmSpec,
        pose: NDArray[np.float64],
        frame_set: FrameSet = FrameSet.REDUCED,
        end_pose: EndPose | None = None,
    ) -> None:
        self._lower = np.array([joint.lower for joint in arm.joints])
        self._upper = np.array([joint.upper for joint in arm.joints])
        self._velocity = np.array([joint.velocity for joint in arm.joints])
        self._command = np.array(pose, dtype=np.float64)
        self._target = self._command.copy()
        self._schedule = _SCHEDULES[frame_set]
        self._end_pose = end_pose
        self._tick = 0
        self._motors = [False] * JOINTS
        self._gripper_on = False
        self._control_mode = 0
        self._move_mode = 0
        self._speed_percent = 0
        self._arm_status = ARM_NORMAL
        self._gripper_effort = 0
        self._crash_levels = (0,) * JOINTS
        self._handlers: dict[int, Callable[[bytes], list[Frame]]] = {
            Id.COMMAND_STOP: self._on_stop,
            Id.COMMAND_MODE: self._on_mode,
            Id.COMMAND_GRIPPER: self._on_gripper,
            Id.COMMAND_ENABLE: self._on_enable,
            Id.QUERY_LIMITS: self._on_query_limits,
            Id.QUERY_PARAMETERS: self._on_query_parameters,
            Id.COMMAND_CRASH_LEVELS: self._on_crash_levels,
            Id.FIRMWARE: lambda _data: [(Id.FIRMWARE, FIRMWARE)],
        }
        for index, can_id in enumerate(frames.JOINT_COMMANDS):
            self._handlers[can_id] = self._joint_handler(2 * index)

    @property
    def enabled(self) -> bool:
        """True while all six motors hold torque."""
        return all(self._motors)

    @property
    def stopped(self) -> bool:
        """True after an emergency stop, until a reset."""
        return self._arm_status == ARM_STOPPED

    def receive(self, can_id: int, data: bytes) -> list[Frame]:
        """Takes one frame from the bus; unknown ids and short frames are ignored, as the arm does.

        Returns:
            The frames that the arm answers at once.
        """
        handler = self._handlers.get(can_id)
        if handler is None or len(data) != 8:
            return []
        return handler(data)

    def advance(self, dt_s: float) -> NDArray[np.float64]:
        """Moves the command toward the target for `dt_s`.

        Returns:
            The joint command now, shape (7,), rad and m; unchanged while the arm may not move.
        """
        if self.enabled and not self.stopped and self._control_mode == CAN_CONTROL:
            reach = self._velocity * (dt_s * self._speed_percent / 100.0)
            if not self._gripper_on:
                reach[JOINTS] = 0.0
            else:
                reach[JOINTS] = self._velocity[JOINTS] * dt_s
            step = np.clip(self._target - self._command, -reach, reach)
            self._command = self._command + step
        return self._command.copy()

    def feedback(
        self, measured: NDArray[np.float64], velocity: NDArray[np.float64] | None = None
    ) -> list[Frame]:
        """The frames of one tick of 200 Hz.

        Args:
            measured: Joints, shape (7,), rad and m.
            velocity: Joint speeds, shape (7,), rad/s and m/s; zero if not given.
        """
        due = self._schedule
        out: list[Frame] = []
        angles = [counts_from_rad(float(value)) for value in measured[:JOINTS]]
        for index, can_id in enumerate(frames.JOINT_FEEDBACK):
            out.append((can_id, frames.pair(angles[2 * index], angles[2 * index + 1])))
        bits = (MOTOR_ON if self._gripper_on else 0) | GRIPPER_HOMED
        opening = counts_from_m(float(measured[JOINTS]))
        out.append((Id.GRIPPER, frames.gripper(opening, self._gripper_effort, bits)))
        if self._due(due.status):
            out.append((Id.STATUS, self._status(measured)))
        if self._due(due.pose) and self._end_pose is not None:
            out += self._pose_frames(self._end_pose(measured[:JOINTS]))
        if self._due(due.high_speed):
            out += self._high_speed_frames(measured, velocity)
        if self._due(due.motors):
            out += self._motor_frames()
        self._tick += 1
        return out

    def _due(self, every: int) -> bool:
        return every > 0 and self._tick % every == 0

    def _status(self, measured: NDArray[np.float64]) -> bytes:
        moving = bool(np.abs(self._target - measured)[:JOINTS].max() > math.radians(1.0))
        return frames.status(self._control_mode, self._arm_status, self._move_mode, 0, int(moving), 0, 0)

    def _pose_frames(self, pose: Sequence[float]) -> list[Frame]:
        counts = [counts_from_m(v) for v in pose[:3]] + [counts_from_rad(v) for v in pose[3:6]]
        return [
            (can_id, frames.pair(counts[2 * i], counts[2 * i + 1]))
            for i, can_id in enumerate(frames.END_POSE_FEEDBACK)
        ]

    def _high_speed_frames(
        self, measured: NDArray[np.float64], velocity: NDArray[np.float64] | None
    ) -> list[Frame]:
        speeds = np.zeros(JOINTS) if velocity is None else velocity
        return [
            (
                Id.HIGH_SPEED_1 + i,
                frames.high_speed(round(float(speeds[i]) * 1000), 0, round(float(measured[i]) * 1000)),
            )
            for i in range(JOINTS)
        ]

    def _motor_frames(self) -> list[Frame]:
        return [
            (
                Id.LOW_SPEED_1 + i,
                frames.low_speed(SUPPLY_DECIVOLT, TEMPERATURE_C, TEMPERATURE_C, MOTOR_ON if on else 0, 0),
            )
            for i, on in enumerate(self._motors)
        ]

    def _joint_handler(self, first: int) -> Callable[[bytes], list[Frame]]:
        where = slice(first, first + 2)

        def handle(data: bytes) -> list[Frame]:
            if self._control_mode != CAN_CONTROL or self._move_mode != MOVE_JOINT or self.stopped:
                return []
            wanted = np.array([rad_from_counts(c) for c in frames.unpack_pair(data)])
            slack = rad_from_counts(1)
            if (wanted < self._lower[where] - slack).any() or (wanted > self._upper[where] + slack).any():
                self._arm_status = ARM_TARGET_OVER_LIMIT
                return []
            self._arm_status = ARM_NORMAL
            self._target[where] = wanted
            return []

        return handle

    def _on_stop(self, data: bytes) -> list[Frame]:
        if data[0] == 1:
            self._arm_status = ARM_STOPPED
            self._target = self._command.copy()
        elif data[0] == 2:
            self._arm_status = ARM_NORMAL
            self._control_mode = self._move_mode = 0
            self._motors = [False] * JOINTS
            self._gripper_on = False
        return []

    def _on_mode(self, data: bytes) -> list[Frame]:
        self._control_mode, self._move_mode = data[0], data[1]
        self._speed_percent = min(data[2], 100)
        return []

    def _on_gripper(self, data: bytes) -> list[Frame]:
        opening, effort, code, _zero = frames.unpack_gripper(data)
        self._gripper_on = bool(code & 1)
        self._gripper_effort = effort
        if self._gripper_on and not self.stopped:
            wanted = m_from_counts(opening)
            self._target[JOINTS] = min(max(wanted, self._lower[JOINTS]), self._upper[JOINTS])
        return []

    def _on_enable(self, data: bytes) -> list[Frame]:
        motor, flag = data[0], data[1]
        chosen = range(JOINTS) if motor in ALL_MOTORS else [motor - 1]
        was_enabled = self.enabled
        for index in chosen:
            if 0 <= index < JOINTS and flag in (1, 2):
                self._motors[index] = flag == 2
        if self.enabled and not was_enabled:
            self._target[:JOINTS] = self._command[:JOINTS]
        return [self._acknowledge(Id.COMMAND_ENABLE)]

    def _on_query_limits(self, data: bytes) -> list[Frame]:
        motor, content = data[0], data[1]
        if not 1 <= motor <= JOINTS:
            return []
        if content == 2:
            return [(Id.ACCELERATION_LIMIT, frames.acceleration_limit(motor, ACCELERATION_LIMIT))]
        tenths = [round(math.degrees(bound[motor - 1]) * 10) for bound in (self._upper, self._lower)]
        speed = round(self._velocity[motor - 1] * 1000)
        return [(Id.ANGLE_LIMITS, frames.angle_limits(motor, tenths[0], tenths[1], speed))]

    def _on_query_parameters(self, data: bytes) -> list[Frame]:
        answers = {
            1: (Id.END_LIMITS, frames.four_words(END_LIMITS)),
            2: (Id.CRASH_LEVELS, frames.padded(*self._crash_levels)),
            4: (Id.GRIPPER_PARAMETERS, frames.padded(*GRIPPER_PARAMETERS)),
        }
        return [answers[data[0]]] if data[0] in answers else []

    def _on_crash_levels(self, data: bytes) -> list[Frame]:
        self._crash_levels = tuple(data[:JOINTS])
        return [self._acknowledge(Id.COMMAND_CRASH_LEVELS)]

    @staticmethod
    def _acknowledge(can_id: int) -> Frame:
        return (Id.ACKNOWLEDGE, frames.padded(can_id & 0xFF))
