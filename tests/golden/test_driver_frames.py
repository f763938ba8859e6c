"""Every frame that the driver puts on the bus, byte by byte, through the vendor's unmodified SDK."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from types import SimpleNamespace

import can
import numpy as np
import pytest
from cobotmagic_driver.piper_backend import CanSettings, PiperBackend
from cobotmagic_driver.piper_questions import Questions
from cobotmagic_driver.piper_reader import SAMPLE_FRAMES, PiperReader

from finevla.contract import load_contract
from finevla.errors import DriverError

CONTRACT = load_contract()
ARM = CONTRACT.arms["left"]
POSE = np.array([math.radians(v) for v in (30.0, 90.0, -45.0, -1.5, 0.001, -0.001)] + [0.0355])


class Wire:
    """One arm's backend, and whoever listens on its bus."""

    def __init__(self) -> None:
        self.bus = can.Bus(ARM.can_channel, interface="virtual")
        self.backend = PiperBackend(ARM, CanSettings("virtual", {}), time.time_ns)
        self.backend.connect()
        self.heard()

    def heard(self) -> list[str]:
        """The frames since the last call, as id and hex."""
        frames = []
        while (message := self.bus.recv(0.05)) is not None:
            frames.append(f"{message.arbitration_id:03X} {bytes(message.data).hex()}")
        return frames

    def close(self) -> None:
        self.backend.disconnect()
        self.bus.shutdown()


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    wire = Wire()
    yield wire
    wire.close()


MODE = "151 0101640000000000"  # CAN control, MOVE J, 100 %, position mode
GRIPPER = "159 00008aac03e80100"  # 35.5 mm, 1 N m, on, no new zero
JOINTS = ["155 0000753000015f90", "156 ffff5038fffffa24", "157 00000001ffffffff"]


def test_the_first_targets_set_the_mode_and_the_gripper_too(wire):
    wire.backend.send(POSE)
    assert wire.heard() == [MODE, *JOINTS, GRIPPER]


def test_further_targets_are_three_joint_frames_and_the_gripper_where_it_changed(wire):
    wire.backend.send(POSE)
    assert wire.heard() == JOINTS
    wire.backend.send(np.append(POSE[:6], 0.0))
    assert wire.heard() == [*JOINTS, "159 0000000003e80100"]


def test_targets_beyond_the_limits_leave_as_the_limits(wire):
    wire.backend.send(np.array([9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0]))
    joints = [joint.upper for joint in ARM.joints]
    counts = [math.floor(math.degrees(value) * 1000 + 1e-6) for value in joints[:6]]
    text = "".join(f"{count & 0xFFFFFFFF:08x}" for count in counts)
    frames = wire.heard()
    assert [frame[4:] for frame in frames[:3]] == [text[:16], text[16:32], text[32:48]]
    assert frames[3] == "159 0001117003e80100"


def test_enabling_asks_all_motors_holds_the_gripper_and_moves_nothing(wire):
    wire.backend.request_enable(POSE)
    assert wire.heard() == ["471 0702000000000000", MODE, GRIPPER]


def test_stop_and_reset_are_0x150_and_nothing_else_cuts_the_power(wire):
    wire.backend.stop()
    assert wire.heard() == ["150 0100000000000000"]
    wire.backend.reset()
    assert wire.heard() == ["150 0200000000000000"]


def questions(wire) -> Questions:
    reader, sdk = wire.backend._connected()
    return Questions(sdk, reader, lambda: None)


def test_the_questions_at_start_up_change_nothing(wire):
    questions(wire).facts(6)
    asked = set(wire.heard())
    limits = {f"472 0{motor}01000000000000" for motor in range(1, 7)}
    assert asked == {"4AF 0100000000000000", "477 0400000003000000", *limits}


def test_collision_protection_is_set_asked_for_and_missed(wire):
    with pytest.raises(DriverError, match="collision protection"):
        questions(wire).set_crash_level(3, "left")
    assert set(wire.heard()) == {"47A 0303030303030000", "477 0200000003000000"}


def test_a_sample_is_what_the_sdk_would_have_parsed():
    """The reader unpacks five frames itself, because the SDK's parser is slow; both must agree."""
    from finevla_sim.piper_device import PiperDevice
    from piper_sdk.piper_msgs.msg_v2 import PiperMessage
    from piper_sdk.protocol.protocol_v2 import C_PiperParserV2

    device = PiperDevice(ARM, POSE)
    reader = PiperReader(SimpleNamespace(ParseCANFrame=lambda _: None), time.time_ns)
    rng = np.random.default_rng(5)
    low, high = (np.array([getattr(joint, key) for joint in ARM.joints]) for key in ("lower", "upper"))
    for _ in range(20):
        message = PiperMessage()
        told = rng.integers(0, 256, 8, dtype=np.uint8)
        told[:2] = rng.integers(0, 3), rng.integers(0, 16)  # what the SDK has names for
        frames = [(0x2A1, bytes(told))]
        frames += [frame for frame in device.feedback(rng.uniform(low, high)) if frame[0] != 0x2A1]
        for can_id, data in frames:
            frame = can.Message(arbitration_id=can_id, data=data, is_extended_id=False, timestamp=time.time())
            C_PiperParserV2().DecodeMessage(frame, message)
            if can_id in SAMPLE_FRAMES:
                reader.on_frame(frame)
        joints = message.arm_joint_feedback
        theirs = [getattr(joints, f"joint_{number}") for number in range(1, 7)]
        assert reader._joints == theirs
        assert reader._opening == message.gripper_feedback.grippers_angle
        status = message.arm_status_msgs
        assert (reader._mode, reader._status, reader._errors) == (
            int(status.ctrl_mode),
            int(status.arm_status),
            int(status.err_code),
        )
