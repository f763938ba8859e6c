"""An AgileX Piper through the vendor's unmodified `piper_sdk`, on any bus that python-can knows.

`ResetPiper` and `DisableArm` are never called; `EmergencyStop(2)` only in `reset`, because all three
make the arm fall.
"""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import can
import numpy as np
from numpy.typing import NDArray
from piper_sdk import C_PiperInterface_V2, LogLevel

from cobotmagic_driver import startup
from cobotmagic_driver.backend import ArmFeedback
from cobotmagic_driver.can_link import require_link
from cobotmagic_driver.codec import ArmCodec
from cobotmagic_driver.piper_questions import Questions
from cobotmagic_driver.piper_reader import WANTED_FRAMES, PiperReader
from finevla.contract.robot import ArmSpec
from finevla.errors import DriverError

ALL_MOTORS = 7
CAN_CONTROL, MOVE_JOINT, POSITION_MODE = 1, 1, 0
GRIPPER_ON = 1
STOP, RESUME = 1, 2
MOST_FRAMES = 1000
"""So many frames are read at once: a third of a second of a whole arm."""
SERVER_TIMEOUT_S = 2.0
MODE_EVERY = 100
"""Every how many targets the control mode is repeated, so that an arm that lost it gets it back."""
GRIPPER_EVERY = 20
"""Every how many targets an unchanged gripper target is repeated."""
ID_MASK = 0x7FF
log = logging.getLogger(__name__)


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
        accept_mismatch: Names of the start-up checks that may fail, see `startup`.
        crash_level: Collision protection to set in the arm: 0 none, 1 the most sensitive, 8 the least; None:
            leave it as it is.
    """

    def __init__(
        self,
        arm: ArmSpec,
        can: CanSettings,
        clock: Callable[[], int],
        dh_is_offset: int = 1,
        speed_percent: int = 100,
        accept_mismatch: Collection[str] = (),
        crash_level: int | None = None,
    ) -> None:
        self._arm = arm
        self._can = can
        self._clock = clock
        self._dh_is_offset = dh_is_offset
        self._speed_percent = speed_percent
        self._accept_mismatch, self._crash_level = accept_mismatch, crash_level
        self._codec = ArmCodec(arm)
        self._sdk: Any = None
        self._reader: PiperReader | None = None
        self._sends = 0
        self._gripper_sent: int | None = None
        self._broken = False

    def connect(self) -> None:
        """Opens the bus and starts the SDK's reader; see `ArmBackend`.

        Raises:
            DriverError: The bus cannot be opened.
        """
        self._require_bus()
        # The SDK hands no further keywords to python-can; python-can reads them from this variable.
        os.environ["CAN_CONFIG"] = json.dumps(dict(self._can.options))
        channel = self._arm.can_channel
        sdk = C_PiperInterface_V2(
            channel,
            judge_flag=False,
            can_auto_init=False,
            dh_is_offset=self._dh_is_offset,
            logger_level=LogLevel.SILENT,  # it would print a line per frame that cannot be sent
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
        self._sdk, self._reader = sdk, PiperReader(sdk, self._clock)
        self._sends, self._gripper_sent = 0, None
        self._broken = False
        if self._can.interface == "socketcan":  # the kernel then drops what is not read
            filters = [{"can_id": wanted, "can_mask": ID_MASK} for wanted in sorted(WANTED_FRAMES)]
            sdk.GetCanBus().recv_bus.set_filters(filters)
        sdk.ConnectPort(piper_init=True, start_thread=False)

    def _require_bus(self) -> None:
        """Refuses what would fail later, or slowly: python-can tries a dead port for ten seconds."""
        if self._can.interface == "socketcan":
            require_link(self._arm.can_channel)
        if self._can.interface == "socketcand":
            self._require_server()

    def _require_server(self) -> None:
        address = (str(self._can.options.get("host")), int(self._can.options.get("port", 0)))
        try:
            socket.create_connection(address, SERVER_TIMEOUT_S).close()
        except OSError as err:
            raise self._no_bus(err) from err

    def why_silent(self) -> str:
        """What is known of an arm that sends no feedback after `connect`; empty: nothing."""
        if self._reader is None or not self._reader.is_leader:
            return ""
        return (
            f"the {self._arm.side} arm sends targets instead of feedback (0x155 to 0x157): it is "
            "configured as a leader."
        )

    def check(self) -> Sequence[str]:
        """Asks for firmware, limits and gripper, and compares; see `ArmBackend`."""
        reader, sdk = self._connected()
        questions = Questions(sdk, reader, lambda: self._drain(sdk.GetCanBus().recv_bus, reader))
        facts = questions.facts(len(self._arm.joints) - 1)
        found = startup.require(self._arm, self._dh_is_offset, facts, self._accept_mismatch)
        if self._crash_level is not None:
            questions.set_crash_level(self._crash_level, self._arm.side)
        return [f"{self._arm.side} arm: expected {one.expected}, found {one.found}" for one in found]

    def _connected(self) -> tuple[PiperReader, Any]:
        if self._reader is None:
            raise DriverError(
                "the arm is not connected",
                where=f"{self._arm.side} arm",
                remedy="call connect first",
            )
        return self._reader, self._sdk

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
            self._sdk.DisconnectPort()
            self._sdk = self._reader = None

    def poll(self) -> Sequence[ArmFeedback]:
        """All samples since the last call, oldest first."""
        reader, sdk = self._connected()
        self._drain(sdk.GetCanBus().recv_bus, reader)
        return reader.poll()

    def _drain(self, bus: Any, reader: PiperReader) -> None:
        """Reads what has come, in the caller's thread.

        The SDK would read in a thread of its own, which would hold the interpreter whenever the loop wants
        it: of two arms with all frames a fifth of the ticks then came late.
        """
        if self._broken:
            return
        try:
            for _ in range(MOST_FRAMES):
                message = bus.recv(0.0)
                if message is None:
                    return
                reader.on_frame(message)
        except (can.CanError, OSError) as err:
            self._broken = True  # the arm falls silent, and the core says what to do about that
            log.warning("the CAN bus of the %s arm broke: %s", self._arm.side, err)

    def request_enable(self, values: NDArray[np.float64]) -> None:
        """Asks once for torque, holding at the measured `values`: nothing moves, the gripper neither."""
        self._sdk.EnableArm(ALL_MOTORS)
        self._send_mode()
        self._send_gripper(self._codec.encode(values)[-1])

    def send(self, values: NDArray[np.float64]) -> None:
        """Sends joint targets, shape (7,), rad and m."""
        *joints, opening = self._codec.encode(values)
        if self._sends % MODE_EVERY == 0:
            self._send_mode()
        self._connected()[0].note_sent(joints)
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
        self._connected()[0].forget_torque()
        self._gripper_sent = None
