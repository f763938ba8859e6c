"""What comes from one Piper: the SDK's parser in, whole samples and health out. Runs in the SDK's thread."""

from __future__ import annotations

import math
import struct
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cobotmagic_driver.backend import ArmFeedback, ArmHealth
from cobotmagic_driver.codec import ArmCodec
from finevla.contract.frame import NS_PER_S

STATUS, LAST_JOINT_FRAME = 0x2A1, 0x2A7
JOINT_LIMITS = 0x473
SAMPLE_FRAMES = frozenset({STATUS, 0x2A5, 0x2A6, LAST_JOINT_FRAME, 0x2A8})
POSE_FRAMES = frozenset({0x2A2, 0x2A3, 0x2A4})
HIGH_SPEED_FRAMES = range(0x251, 0x257)
MOTOR_FRAMES = frozenset(range(0x261, 0x267))
JOINT_TARGETS = frozenset({0x155, 0x156, 0x157})
HIGH_SPEED_EVERY = 20
"""Of so many frames with a motor's speed and current (200 Hz) one is parsed: they are for a person's eyes."""
HEALTH_EVERY = 10
"""Every how many polls temperatures, currents and fault bits are collected."""
SAMPLES_KEPT = 400
SENT_KEPT = 256
EPOCH_TOLERANCE_NS = NS_PER_S
"""A bus stamp further from our clock than this is not in our epoch and is not used."""
FOREIGN_TO_TELL = 3
"""So many joint targets of somebody else in a row are another program, not a leftover on the bus."""
FAULT_BITS = {
    "voltage_too_low": "undervoltage",
    "motor_overheating": "motor over-temperature",
    "driver_overcurrent": "overcurrent",
    "driver_overheating": "driver over-temperature",
    "collision_status": "collision",
    "driver_error_status": "driver error",
    "stall_status": "stall",
}


class PiperReader:
    """Takes every frame of one bus; hands out samples whose joints belong together.

    The SDK's parser costs some twenty locks a frame, so frames that nobody looks at (end pose, most of
    the motors' speeds) are not parsed: of 3040 frames a second that an arm sends, 1300 are.

    Args:
        sdk: The SDK's interface; parses frames and holds the newest values.
        clock: Nanoseconds since the epoch.
    """

    def __init__(self, sdk: Any, clock: Callable[[], int]) -> None:
        self._sdk, self._clock = sdk, clock
        # The SDK keeps one object per channel for the life of the process, with the values of old frames.
        self._unseen, self._unseen_motors = set(SAMPLE_FRAMES), set(MOTOR_FRAMES)
        self._unseen_speeds = set(HIGH_SPEED_FRAMES)
        self.seen: Counter[int] = Counter()
        """How many frames of each id have come since the connection."""
        self.limits: dict[int, tuple[float, float, float]] = {}
        """Lower and upper limit (rad) and largest speed (rad/s) of each joint that has answered, from 1."""
        self._samples: deque[tuple[int, tuple[int, ...]]] = deque(maxlen=SAMPLES_KEPT)
        self._sent: deque[bytes] = deque(maxlen=SENT_KEPT)
        self._foreign = self._polls = self._speeds = 0
        self._enabled = False
        self._faults: tuple[str, ...] = ()
        self._health = ArmHealth()

    # In the SDK's thread ------------------------------------------------------------------------

    def on_frame(self, message: Any) -> None:
        """Takes one frame.

        The SDK keeps the newest value of each joint only. A sample is taken here, when the last of the
        three joint frames of a cycle has come: so all joints of it belong together and none is lost.
        """
        can_id = message.arbitration_id
        self.seen[can_id] += 1
        if can_id in POSE_FRAMES or (can_id in HIGH_SPEED_FRAMES and self._skip_speed(can_id)):
            return
        if can_id in JOINT_TARGETS:
            self._compare(bytes(message.data))
            return
        self._sdk.ParseCANFrame(message)
        self._unseen.discard(can_id)
        self._unseen_motors.discard(can_id)
        if can_id == JOINT_LIMITS:
            self._take_limits()
        if can_id == LAST_JOINT_FRAME and not self._unseen:
            self._take_sample(message.timestamp)

    def _take_limits(self) -> None:
        """The SDK's newest answer is right; its list of all joints holds the last one six times (0.6.2)."""
        told = self._sdk.GetCurrentMotorAngleLimitMaxVel().current_motor_angle_limit_max_vel
        degrees = told.min_angle_limit / 10.0, told.max_angle_limit / 10.0
        lower, upper = (math.radians(value) for value in degrees)
        self.limits[told.motor_num] = (lower, upper, told.max_joint_spd / 1000.0)

    def _skip_speed(self, can_id: int) -> bool:
        if can_id in self._unseen_speeds:
            self._unseen_speeds.discard(can_id)
            return False
        if can_id == HIGH_SPEED_FRAMES[0]:
            self._speeds += 1
        return self._speeds % HIGH_SPEED_EVERY != 0

    def _take_sample(self, timestamp_s: float) -> None:
        now, stamp = self._clock(), round(timestamp_s * NS_PER_S)
        state = self._sdk.GetArmJointMsgs().joint_state
        opening = self._sdk.GetArmGripperMsgs().gripper_state.grippers_angle
        joints = (state.joint_1, state.joint_2, state.joint_3, state.joint_4, state.joint_5, state.joint_6)
        in_epoch = abs(now - stamp) <= EPOCH_TOLERANCE_NS
        self._samples.append((stamp if in_epoch else now, (*joints, opening)))

    def _compare(self, data: bytes) -> None:
        """Joint targets that come back are ours (a bus may echo them) or another program's."""
        self._foreign = 0 if data in self._sent else self._foreign + 1

    # In the driver's thread ---------------------------------------------------------------------

    def note_sent(self, joints: Sequence[int]) -> None:
        """Remembers joint targets that are about to be sent, six counts of 0.001 degree."""
        for first in (0, 2, 4):
            self._sent.append(struct.pack(">ii", joints[first], joints[first + 1]))

    @property
    def is_leader(self) -> bool:
        """True where the arm sends targets for a follower instead of feedback, as leader arms do."""
        return not JOINT_TARGETS.isdisjoint(self.seen) and LAST_JOINT_FRAME not in self.seen

    def forget_torque(self) -> None:
        """Believes in torque again only after every motor has spoken anew."""
        self._unseen_motors = set(MOTOR_FRAMES)
        self._enabled = False

    def poll(self) -> list[ArmFeedback]:
        """All samples since the last call, oldest first."""
        if not self._samples:
            return []
        status = self._sdk.GetArmStatus().arm_status
        if self._polls % HEALTH_EVERY == 0 or not self._enabled:
            self._read_motors(int(status.ctrl_mode))
        self._polls += 1
        foreign = self._foreign >= FOREIGN_TO_TELL
        if foreign:
            self._foreign = 0
        return [
            ArmFeedback(
                values=self._values(counts),
                stamp_ns=stamp_ns,
                enabled=self._enabled,
                arm_status=int(status.arm_status),
                error_code=int(status.err_code),
                faults=self._faults,
                foreign_commands=foreign,
                health=self._health,
            )
            for stamp_ns, counts in (self._samples.popleft() for _ in range(len(self._samples)))
        ]

    @staticmethod
    def _values(counts: tuple[int, ...]) -> NDArray[np.float64]:
        return ArmCodec.decode(counts)

    def _read_motors(self, control_mode: int) -> None:
        slow, fast = self._sdk.GetArmLowSpdInfoMsgs(), self._sdk.GetArmHighSpdInfoMsgs()
        numbers = range(1, 7)
        motors = [getattr(slow, f"motor_{number}") for number in numbers]
        on = all(motor.foc_status.driver_enable_status for motor in motors)
        heard = not self._unseen_motors
        self._enabled = on and heard
        self._faults = tuple(
            f"motor {number} {name}"
            for number, motor in zip(numbers, motors, strict=True)
            for bit, name in FAULT_BITS.items()
            if heard and getattr(motor.foc_status, bit)
        )
        currents = [getattr(fast, f"motor_{number}").current for number in numbers]
        self._health = ArmHealth(
            firmware=self.firmware,
            motor_celsius=tuple(float(motor.motor_temp) for motor in motors) if heard else (),
            driver_celsius=tuple(float(motor.foc_temp) for motor in motors) if heard else (),
            motor_ampere=() if self._unseen_speeds else tuple(value / 1000 for value in currents),
            supply_volt=tuple(motor.vol / 10 for motor in motors) if heard else (),
            control_mode=control_mode,
        )

    @property
    def firmware(self) -> str:
        """Version as the arm spells it; empty before it has answered."""
        found = self._sdk.GetPiperFirmwareVersion()
        return found if isinstance(found, str) else ""
