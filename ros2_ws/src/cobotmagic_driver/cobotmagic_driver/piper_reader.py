"""What comes from one Piper: frames into the SDK's parser, whole samples and health out."""

from __future__ import annotations

import math
import struct
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any

from cobotmagic_driver.backend import ArmFeedback, ArmHealth
from cobotmagic_driver.codec import ArmCodec
from finevla.contract.frame import NS_PER_S

STATUS, GRIPPER, LAST_JOINT_FRAME = 0x2A1, 0x2A8, 0x2A7
JOINT_FRAMES = {0x2A5: 0, 0x2A6: 2, LAST_JOINT_FRAME: 4}
"""Frames with two joints each, and the place of the first of them."""
SAMPLE_FRAMES = frozenset({STATUS, GRIPPER, *JOINT_FRAMES})
FRAME_BYTES = 8
PAIR, STATUS_LAYOUT = struct.Struct(">ii"), struct.Struct(">6BH")
JOINT_LIMITS = 0x473
MOTOR_FRAMES = frozenset(range(0x261, 0x267))
JOINT_TARGETS = frozenset({0x155, 0x156, 0x157})
ANSWERS = frozenset({JOINT_LIMITS, 0x476, 0x478, 0x47B, 0x47C, 0x47E, 0x4AF})
WANTED_FRAMES = SAMPLE_FRAMES | MOTOR_FRAMES | JOINT_TARGETS | ANSWERS
"""What is read; end poses and the motors' speeds at 200 Hz, nine of fifteen frames, are not."""
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

    The SDK's parser takes some twenty locks for a frame, 70 microseconds, of which two arms with all
    their frames need more than a third of a core. So the five frames of a sample are unpacked here (a
    golden test compares them with the SDK's parser), and what nobody looks at (end pose, speeds of the
    motors) is left alone. The SDK parses the rest.

    Args:
        sdk: The SDK's interface; parses frames and holds the newest values.
        clock: Nanoseconds since the epoch.
    """

    def __init__(self, sdk: Any, clock: Callable[[], int]) -> None:
        self._sdk, self._clock = sdk, clock
        # The SDK keeps one object per channel for the life of the process, with the values of old frames.
        self._unseen, self._unseen_motors = set(SAMPLE_FRAMES), set(MOTOR_FRAMES)
        self.seen: Counter[int] = Counter()
        """How many frames of each id have come since the connection."""
        self.limits: dict[int, tuple[float, float, float]] = {}
        """Lower and upper limit (rad) and largest speed (rad/s) of each joint that has answered, from 1."""
        self._samples: deque[tuple[int, tuple[int, ...]]] = deque(maxlen=SAMPLES_KEPT)
        self._sent: deque[bytes] = deque(maxlen=SENT_KEPT)
        self._foreign = self._polls = 0
        self._joints, self._opening = [0] * 6, 0
        self._mode = self._status = self._errors = 0
        self._enabled = False
        self._faults: tuple[str, ...] = ()
        self._health = ArmHealth()

    # In -----------------------------------------------------------------------------------------

    def on_frame(self, message: Any) -> None:
        """Takes one frame.

        A sample is taken when the last of the three joint frames of a cycle has come: so all joints of it
        belong together and none is lost.
        """
        can_id = message.arbitration_id
        self.seen[can_id] += 1
        if can_id not in WANTED_FRAMES:
            return
        if can_id in JOINT_TARGETS:
            self._compare(bytes(message.data))
        elif can_id in SAMPLE_FRAMES:
            self._unpack(can_id, message)
        else:
            self._sdk.ParseCANFrame(message)
            self._unseen_motors.discard(can_id)
            if can_id == JOINT_LIMITS:
                self._take_limits()

    def _unpack(self, can_id: int, message: Any) -> None:
        data = message.data
        if len(data) != FRAME_BYTES:
            return  # the SDK's parser would refuse it too
        if can_id in JOINT_FRAMES:
            place = JOINT_FRAMES[can_id]
            self._joints[place : place + 2] = PAIR.unpack(data)
        elif can_id == GRIPPER:
            self._opening = PAIR.unpack(data)[0]
        else:
            self._mode, self._status, *_rest, self._errors = STATUS_LAYOUT.unpack(data)
        self._unseen.discard(can_id)
        if can_id == LAST_JOINT_FRAME and not self._unseen:
            self._take_sample(message.timestamp)

    def _take_limits(self) -> None:
        """The SDK's newest answer is right; its list of all joints holds the last one six times (0.6.2)."""
        told = self._sdk.GetCurrentMotorAngleLimitMaxVel().current_motor_angle_limit_max_vel
        degrees = told.min_angle_limit / 10.0, told.max_angle_limit / 10.0
        lower, upper = (math.radians(value) for value in degrees)
        self.limits[told.motor_num] = (lower, upper, told.max_joint_spd / 1000.0)

    def _take_sample(self, timestamp_s: float) -> None:
        now, stamp = self._clock(), round(timestamp_s * NS_PER_S)
        in_epoch = abs(now - stamp) <= EPOCH_TOLERANCE_NS
        self._samples.append((stamp if in_epoch else now, (*self._joints, self._opening)))

    def _compare(self, data: bytes) -> None:
        """Joint targets that come back are ours (a bus may echo them) or another program's."""
        self._foreign = 0 if data in self._sent else self._foreign + 1

    # Out ----------------------------------------------------------------------------------------

    def note_sent(self, joints: Sequence[int]) -> None:
        """Remembers joint targets that are about to be sent, six counts of 0.001 degree."""
        for first in (0, 2, 4):
            self._sent.append(PAIR.pack(joints[first], joints[first + 1]))

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
        if self._polls % HEALTH_EVERY == 0 or not self._enabled:
            self._read_motors(self._mode)
        self._polls += 1
        foreign = self._foreign >= FOREIGN_TO_TELL
        if foreign:
            self._foreign = 0
        return [
            ArmFeedback(
                values=ArmCodec.decode(counts),
                stamp_ns=stamp_ns,
                enabled=self._enabled,
                arm_status=self._status,
                error_code=self._errors,
                faults=self._faults,
                foreign_commands=foreign,
                health=self._health,
            )
            for stamp_ns, counts in (self._samples.popleft() for _ in range(len(self._samples)))
        ]

    def _read_motors(self, control_mode: int) -> None:
        slow = self._sdk.GetArmLowSpdInfoMsgs()
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
        self._health = ArmHealth(
            firmware=self.firmware,
            motor_celsius=tuple(float(motor.motor_temp) for motor in motors) if heard else (),
            driver_celsius=tuple(float(motor.foc_temp) for motor in motors) if heard else (),
            motor_ampere=tuple(motor.bus_current / 1000 for motor in motors) if heard else (),
            supply_volt=tuple(motor.vol / 10 for motor in motors) if heard else (),
            control_mode=control_mode,
        )

    @property
    def firmware(self) -> str:
        """Version as the arm spells it; empty before it has answered."""
        found = self._sdk.GetPiperFirmwareVersion()
        return found if isinstance(found, str) else ""
