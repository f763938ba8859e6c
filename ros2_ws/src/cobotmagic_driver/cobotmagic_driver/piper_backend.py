"""An AgileX Piper through the vendor's unmodified `piper_sdk`, on any bus that python-can knows.

`ResetPiper` and `DisableArm` are never called; `EmergencyStop(2)` only in `reset`, because all three
make the arm fall.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from piper_sdk import C_PiperInterface_V2, LogLevel

from cobotmagic_driver.backend import ArmFeedback
from cobotmagic_driver.codec import ArmCodec
from finevla.contract.robot import ArmSpec
from finevla.errors import DriverError

NS_PER_S = 1_000_000_000
ALL_MOTORS = 7
CAN_CONTROL, MOVE_JOINT, POSITION_MODE = 1, 1, 0
GRIPPER_ON = 1
STOP, RESUME = 1, 2
READER_EXIT_S = 1.1
"""The SDK's reader thread sees the end at most one second after `DisconnectPort`."""
SERVER_TIMEOUT_S = 2.0
MODE_EVERY = 100
"""Every how many targets the control mode is repeated, so that an arm that lost it gets it back."""
GRIPPER_EVERY = 20
"""Every how many targets an unchanged gripper target is repeated."""
MOTORS_EVERY = 10
"""Every how many polls the motors' slow status frames are looked at."""
LAST_JOINT_FRAME = 0x2A7
SAMPLE_FRAMES = frozenset({0x2A1, 0x2A5, 0x2A6, LAST_JOINT_FRAME, 0x2A8})
MOTOR_FRAMES = frozenset(range(0x261, 0x267))
SAMPLES_KEPT = 400
EPOCH_TOLERANCE_NS = NS_PER_S
"""A bus stamp further from our clock than this is not in our epoch and is not used."""
FAULT_BITS = {
    "voltage_too_low": "undervoltage",
    "motor_overheating": "motor over-temperature",
    "driver_overcurrent": "overcurrent",
    "driver_overheating": "driver over-temperature",
    "collision_status": "collision",
    "driver_error_status": "driver error",
    "stall_status": "stall",
}


@dataclass(frozen=True, slots=True)
class CanSettings:
    """How to reach an arm.

    Attributes:
        interface: python-can interface: socketcan, slcan, socketcand, virtual.
        options: Further keywords of that interface, such as host, port and tcp_tune of socketcand.
        attempts: How often to try to open the bus.
    """

    interface: str
    options: Mapping[str, Any]
    attempts: int = 3


class PiperBackend:
    """One Piper arm.

    Args:
        arm: Joints, limits and CAN channel.
        can: The bus.
        clock: Nanoseconds since the epoch.
        dh_is_offset: Zero shift of joints 2 and 3 by firmware generation, from the contract.
        speed_percent: Share of the arm's own top speed that it may use to follow targets.
    """

    def __init__(
        self,
        arm: ArmSpec,
        can: CanSettings,
        clock: Callable[[], int],
        dh_is_offset: int = 1,
        speed_percent: int = 100,
    ) -> None:
        self._arm = arm
        self._can = can
        self._clock = clock
        self._dh_is_offset = dh_is_offset
        self._speed_percent = speed_percent
        self._codec = ArmCodec(arm)
        self._sdk: Any = None
        self._polls = self._sends = 0
        self._enabled = False
        self._faults: tuple[str, ...] = ()
        self._gripper_sent: int | None = None
        self._unseen: set[int] = set()
        self._unseen_motors: set[int] = set()
        self._samples: deque[tuple[int, tuple[int, ...]]] = deque(maxlen=SAMPLES_KEPT)

    def connect(self) -> None:
        """Opens the bus and starts the SDK's reader; see `ArmBackend`.

        Raises:
            DriverError: The bus cannot be opened.
        """
        self._require_server()
        # The SDK hands no further keywords to python-can; python-can reads them from this variable.
        os.environ["CAN_CONFIG"] = json.dumps(dict(self._can.options))
        channel = self._arm.can_channel
        sdk = C_PiperInterface_V2(
            channel,
            judge_flag=False,
            can_auto_init=False,
            dh_is_offset=self._dh_is_offset,
            logger_level=LogLevel.ERROR,
        )
        for _attempt in range(self._can.attempts):
            try:
                sdk.CreateCanBus(channel, bustype=self._can.interface, judge_flag=False)
            except ConnectionError as err:
                raise self._no_bus(err) from err
            if sdk.GetCanBus().recv_bus is not None:
                break
        else:
            raise self._no_bus("the bus did not open")
        self._sdk = sdk
        self._polls = self._sends = 0
        self._samples.clear()
        # The SDK keeps one object per channel for the life of the process, with the values of old frames.
        self._unseen, self._unseen_motors = set(SAMPLE_FRAMES), set(MOTOR_FRAMES)
        self._gripper_sent, self._enabled = None, False
        sdk.GetCanBus().callback_function = self._on_frame
        sdk.ConnectPort(piper_init=True)

    def _require_server(self) -> None:
        """python-can would try a dead port for ten seconds without a pause."""
        if self._can.interface != "socketcand":
            return
        address = (str(self._can.options.get("host")), int(self._can.options.get("port", 0)))
        try:
            socket.create_connection(address, SERVER_TIMEOUT_S).close()
        except OSError as err:
            raise self._no_bus(err) from err

    def _no_bus(self, found: object) -> DriverError:
        return DriverError(
            f"the CAN bus of the {self._arm.side} arm cannot be opened",
            where=f"channel {self._arm.can_channel} of {self._can.interface}, {dict(self._can.options)}",
            found=found,
            remedy="bring the bus up (ip link set CHANNEL up type can bitrate 1000000), check the cable "
            "and the parameters can_interface, can_channel_left, can_channel_right and can_options",
        )

    def disconnect(self) -> None:
        """Closes the bus; the arm keeps holding its pose."""
        if self._sdk is not None:
            # The reader meets the closed socket; that is the ordinary end and no error to print.
            bus_log = logging.getLogger("can.interfaces")
            level = bus_log.level
            bus_log.setLevel(logging.CRITICAL)
            self._sdk.DisconnectPort()
            time.sleep(READER_EXIT_S)
            bus_log.setLevel(level)
            self._sdk = None

    def poll(self) -> Sequence[ArmFeedback]:
        """All samples since the last call, oldest first."""
        if not self._samples:
            return ()
        if self._polls % MOTORS_EVERY == 0 or not self._enabled:
            self._read_motors()
        self._polls += 1
        status = self._sdk.GetArmStatus().arm_status
        return [
            ArmFeedback(
                values=self._codec.decode(counts),
                stamp_ns=stamp_ns,
                enabled=self._enabled,
                arm_status=int(status.arm_status),
                error_code=int(status.err_code),
                faults=self._faults,
            )
            for stamp_ns, counts in (self._samples.popleft() for _ in range(len(self._samples)))
        ]

    def _on_frame(self, message: Any) -> None:
        """Runs in the SDK's reader thread for every frame.

        The SDK keeps the newest value of each joint only. A sample is taken here, when the last of the
        three joint frames of a cycle has come: so all joints of it belong together and none is lost.
        """
        self._sdk.ParseCANFrame(message)
        self._unseen.discard(message.arbitration_id)
        self._unseen_motors.discard(message.arbitration_id)
        if message.arbitration_id != LAST_JOINT_FRAME or self._unseen:
            return
        now = self._clock()
        stamp = round(message.timestamp * NS_PER_S)
        state = self._sdk.GetArmJointMsgs().joint_state
        opening = self._sdk.GetArmGripperMsgs().gripper_state.grippers_angle
        joints = (state.joint_1, state.joint_2, state.joint_3, state.joint_4, state.joint_5, state.joint_6)
        in_epoch = abs(now - stamp) <= EPOCH_TOLERANCE_NS
        self._samples.append((stamp if in_epoch else now, (*joints, opening)))

    def _read_motors(self) -> None:
        slow = self._sdk.GetArmLowSpdInfoMsgs()
        motors = [slow.motor_1, slow.motor_2, slow.motor_3, slow.motor_4, slow.motor_5, slow.motor_6]
        on = all(motor.foc_status.driver_enable_status for motor in motors)
        self._enabled = on and not self._unseen_motors
        self._faults = tuple(
            f"motor {number} {name}"
            for number, motor in enumerate(motors, 1)
            for bit, name in FAULT_BITS.items()
            if getattr(motor.foc_status, bit)
        )

    def request_enable(self, values: NDArray[np.float64]) -> None:
        """Asks once for torque, holding at the measured `values`: nothing moves, the gripper neither."""
        self._sdk.EnableArm(ALL_MOTORS)
        self._send_mode()
        self._send_gripper(self._codec.encode(values)[-1])
        self._enabled = False

    def send(self, values: NDArray[np.float64]) -> None:
        """Sends joint targets, shape (7,), rad and m."""
        *joints, opening = self._codec.encode(values)
        if self._sends % MODE_EVERY == 0:
            self._send_mode()
        self._sdk.JointCtrl(*joints)
        if opening != self._gripper_sent or self._sends % GRIPPER_EVERY == 0:
            self._send_gripper(opening)
        self._sends += 1

    def _send_mode(self) -> None:
        self._sdk.MotionCtrl_2(CAN_CONTROL, MOVE_JOINT, self._speed_percent, POSITION_MODE)

    def _send_gripper(self, opening: int) -> None:
        self._sdk.GripperCtrl(opening, self._codec.effort_counts, GRIPPER_ON, 0)
        self._gripper_sent = opening

    def stop(self) -> None:
        """Emergency stop. The arm stays stopped until `reset`."""
        self._sdk.EmergencyStop(STOP)

    def reset(self) -> None:
        """Ends an emergency stop. The motors lose power: THE ARM FALLS. Only on an operator's word."""
        self._sdk.EmergencyStop(RESUME)
        self._unseen_motors = set(MOTOR_FRAMES)
        self._enabled = False
        self._gripper_sent = None
