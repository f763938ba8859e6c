"""One emulated Piper arm: CAN frames in, joint commands and feedback frames out. No sockets, no clock.

The arm behaves as the driver sees the real one: it moves only when all six motors are on and CAN
control is selected, it follows joint targets no faster than the speed that the mode frame allows,
a stop (0x150, 1) freezes it until a reset (0x150, 2), and a reset takes the power away.
Nothing falls here: an arm without power stays where it is.

A leader obeys no command and sends its joints as commands, see `piper_role`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from finevla.contract.robot import ArmSpec
from finevla.contract.units import MM_PER_M, m_from_counts, rad_from_counts
from finevla_sim import piper_frames as frames
from finevla_sim import piper_reports as reports
from finevla_sim.arm_health import (
    JOINTS,
    SOUND,
    ArmHealth,
    ArmIdentity,
    Condition,
    ControlMode,
    Status,
)
from finevla_sim.piper_frames import Frame, Id
from finevla_sim.piper_replies import ALL_MOTORS, MARK, acknowledge, respond
from finevla_sim.piper_role import MOTIONS, PiperRole
from finevla_sim.piper_schedule import FEEDBACK_HZ, SCHEDULES, FrameSet
from finevla_sim.piper_schedule import Schedule as _Schedule

__all__ = ["FEEDBACK_HZ", "EndPose", "FrameSet", "PiperDevice"]

EVERY_MOTOR = (ALL_MOTORS, 0xFF)
MOVE_JOINT = 1
TEACH_START = 1
MOVING_RAD = math.radians(1.0)

EndPose = Callable[[NDArray[np.float64]], Sequence[float]]
"""Six joint angles in rad to x, y, z in m and roll, pitch, yaw in rad."""


class PiperDevice:
    """State of one arm between its bus and its joints.

    Args:
        arm: Limits and speeds.
        pose: Joints at power on, shape (7,), rad and m.
        frame_set: Which feedback is sent.
        end_pose: Forward kinematics for the pose frames; without it the full set has none.

    Attributes:
        health: How the arm fares; settable.
        identity: What its firmware is set to; settable, and changed by settings on the bus.
    """

    def __init__(
        self,
        arm: ArmSpec,
        pose: NDArray[np.float64],
        frame_set: FrameSet = FrameSet.REDUCED,
        end_pose: EndPose | None = None,
    ) -> None:
        self.health = ArmHealth()
        self.identity = self._first = ArmIdentity.of(arm)
        self._condition = SOUND
        self._gripper_limits = (arm.joints[JOINTS].lower, arm.joints[JOINTS].velocity)
        self._command = np.array(pose, dtype=np.float64)
        self._target = self._command.copy()
        self._schedule: _Schedule = SCHEDULES[frame_set]
        self._end_pose = end_pose
        self._tick = 0
        self._motors = [False] * JOINTS
        self._gripper_on = False
        self._control_mode = self._move_mode = self._teach = 0
        self._speed_percent = 0
        self._status: int = Status.NORMAL
        self._gripper_effort = 0
        self._role = PiperRole()
        self._handlers: dict[int, Callable[[bytes], list[Frame]]] = {
            Id.COMMAND_STOP: self._on_stop,
            Id.COMMAND_MODE: self._on_mode,
            Id.COMMAND_GRIPPER: self._on_gripper,
            Id.COMMAND_ENABLE: self._on_enable,
            Id.COMMAND_ROLE: self._on_role,
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
        return self._status == Status.STOPPED

    @property
    def leader(self) -> bool:
        """True while the arm sends commands instead of obeying them."""
        return self._role.leads or self._condition.leads

    @property
    def teaching(self) -> bool:
        """True while the arm is guided by hand, gravity compensated."""
        return self._control_mode == ControlMode.TEACH or self._condition.teaches

    @property
    def moving(self) -> bool:
        """True while the arm is on its way to a target."""
        return self._may_move() and not np.allclose(self._target, self._command, atol=1e-6)

    @property
    def condition(self) -> Condition:
        """What is done to the arm from outside."""
        return self._condition

    @condition.setter
    def condition(self, condition: Condition) -> None:
        self._condition = condition
        if not condition.powered:
            self._lose_power()

    def restart(self) -> None:
        """Power off and on: no torque, standby, a follower again if it was told to be one."""
        self._lose_power()
        self._status, self._teach = Status.NORMAL, 0
        self._control_mode = self._move_mode = 0
        self._target = self._command.copy()
        self._role.restart()

    def receive(self, can_id: int, data: bytes) -> list[Frame]:
        """Takes one frame from the bus; unknown ids and short frames are ignored, as the arm does.

        Returns:
            The frames that the arm answers at once.
        """
        if len(data) != 8:
            return []
        heard = self._role.heard(can_id)
        if heard is None or (heard in MOTIONS and self.leader):
            return []
        if heard in self._handlers:
            return self._handlers[heard](data)
        if heard == Id.SET_JOINT and data[5] == MARK and not self.stopped:
            self._status = Status.NORMAL
        reply = respond(self.identity, self._shown(), self._first, heard, data)
        if reply is None:
            return []
        self.identity, answers = reply
        return answers

    def advance(self, dt_s: float) -> NDArray[np.float64]:
        """Moves the command toward the target for `dt_s`.

        Returns:
            The joint command now, shape (7,), rad and m; unchanged while the arm may not move.
        """
        if self._may_move():
            speeds = [limit.velocity * self._speed_percent / 100.0 for limit in self._shown().limits]
            speeds.append(self._gripper_limits[1] if self._gripper_on else 0.0)
            reach = np.array(speeds) * dt_s
            for joint in self._condition.held:
                reach[joint - 1] = 0.0
            self._command = self._command + np.clip(self._target - self._command, -reach, reach)
        return self._command.copy()

    def feedback(
        self, measured: NDArray[np.float64], velocity: NDArray[np.float64] | None = None
    ) -> list[Frame]:
        """The frames of one tick of 200 Hz.

        Args:
            measured: Joints, shape (7,), rad and m.
            velocity: Joint speeds, shape (7,), rad/s and m/s; zero if not given.
        """
        health, due = self._condition.health(self.health), self._schedule
        out = reports.joint_frames(measured, frames.JOINT_FEEDBACK)
        opening = float(measured[JOINTS])
        out.append(reports.gripper_frame(opening, self._gripper_effort, health, on=self._gripper_on))
        if self._due(due.status):
            out.append((Id.STATUS, self._status_frame(measured, health)))
        if self._due(due.pose) and self._end_pose is not None:
            out += reports.pose_frames(self._end_pose(measured[:JOINTS]))
        out = self._role.addressed(out, leads=self.leader)
        if self.leader:
            out += reports.leader_frames(measured, self._gripper_effort, self._role.linkage)
        if self._due(due.high_speed):
            out += reports.high_speed_frames(measured, velocity, health)
        if self._due(due.motors):
            out += reports.motor_frames(health, self._motors)
        self._tick += 1
        return out

    def _shown(self) -> ArmIdentity:
        return self._condition.identity(self.identity)

    def _may_move(self) -> bool:
        obeys = self._control_mode == ControlMode.CAN and not (self.leader or self.teaching)
        return obeys and self.enabled and not self.stopped

    def _due(self, every: int) -> bool:
        return every > 0 and self._tick % every == 0

    def _status_frame(self, measured: NDArray[np.float64], health: ArmHealth) -> bytes:
        far = bool(np.abs(self._target - measured)[:JOINTS].max() > MOVING_RAD)
        mode, teach = self._control_mode, self._teach
        if self.leader:
            mode = ControlMode.LEADER
        elif self.teaching:
            mode, teach = ControlMode.TEACH, self._teach or TEACH_START
        status = health.status or self._status
        return frames.status(mode, status, self._move_mode, teach, int(far), 0, health.error_code)

    def _lose_power(self) -> None:
        self._motors = [False] * JOINTS
        self._gripper_on = False

    def _joint_handler(self, first: int) -> Callable[[bytes], list[Frame]]:
        where = slice(first, first + 2)

        def handle(data: bytes) -> list[Frame]:
            obeys = self._control_mode == ControlMode.CAN and self._move_mode == MOVE_JOINT
            if not obeys or self.stopped or self.teaching:
                return []
            wanted = [rad_from_counts(c) for c in frames.unpack_pair(data)]
            slack, limits = rad_from_counts(1), self._shown().limits[where]
            if any(
                not limit.lower - slack <= angle <= limit.upper + slack
                for angle, limit in zip(wanted, limits, strict=True)
            ):
                self._status = Status.OVER_LIMIT
                return []
            self._status = Status.NORMAL
            self._target[where] = wanted
            return []

        return handle

    def _on_stop(self, data: bytes) -> list[Frame]:
        if data[0] == 1:
            self._status = Status.STOPPED
            self._target = self._command.copy()
        elif data[0] == 2:
            self._status = Status.NORMAL
            self._control_mode = self._move_mode = self._teach = 0
            self._lose_power()
        if data[2]:
            self._teach = data[2]
            if data[2] == TEACH_START:
                self._control_mode = ControlMode.TEACH
        return []

    def _on_mode(self, data: bytes) -> list[Frame]:
        if self.teaching:  # only a reset ends it (piper_sdk, demo/V2/README, piper_ctrl_reset)
            return []
        self._control_mode, self._move_mode = data[0], data[1]
        self._speed_percent = min(data[2], 100)
        return []

    def _on_gripper(self, data: bytes) -> list[Frame]:
        opening, effort, code, _zero = frames.unpack_gripper(data)
        self._gripper_on = bool(code & 1) and self._condition.powered
        self._gripper_effort = effort
        if self._gripper_on and not self.stopped and not self.teaching:
            stroke_m = self._shown().gripper.stroke_mm / MM_PER_M
            self._target[JOINTS] = min(max(m_from_counts(opening), self._gripper_limits[0]), stroke_m)
        return []

    def _on_enable(self, data: bytes) -> list[Frame]:
        motor, flag = data[0], data[1]
        chosen = range(JOINTS) if motor in EVERY_MOTOR else [motor - 1]
        was_enabled = self.enabled
        for index in chosen:
            if 0 <= index < JOINTS and flag in {1, 2}:
                self._motors[index] = flag == 2 and self._condition.powered
        if self.enabled and not was_enabled:
            self._target[:JOINTS] = self._command[:JOINTS]
        return [acknowledge(Id.COMMAND_ENABLE)]

    def _on_role(self, data: bytes) -> list[Frame]:
        if self._role.configure(data, after_restart=self.identity.follows_after_restart):
            self._control_mode = self._move_mode = 0  # standby (piper_sdk, can_id.py)
        return [acknowledge(Id.COMMAND_ROLE)]
