"""The emulated arm against the vendor's unmodified piper_sdk 0.6.2, byte by byte and value by value."""

from __future__ import annotations

import math

import can
import numpy as np
import pytest
from finevla_sim.piper_device import FrameSet, PiperDevice
from finevla_sim.pose import xyz_rpy
from piper_sdk import C_PiperForwardKinematics
from piper_sdk.piper_msgs.msg_v2 import ArmMsgType, PiperMessage
from piper_sdk.protocol.protocol_v2 import C_PiperParserV2

from finevla.contract import load_contract
from finevla.sim.kinematics import dh_table, forward

CONTRACT = load_contract()
ARM = CONTRACT.arms["left"]
HOME = CONTRACT.home[CONTRACT.arm_slice("left")]
ENABLE_ALL = (0x471, bytes([7, 2, 0, 0, 0, 0, 0, 0]))
CAN_JOINTS_FULL_SPEED = (0x151, bytes([1, 1, 100, 0, 0, 0, 0, 0]))


def device(**options) -> PiperDevice:
    return PiperDevice(ARM, HOME, **options)


def decoded(frames) -> PiperMessage:
    """What the SDK makes of frames, in the order in which they come."""
    parser, message = C_PiperParserV2(), PiperMessage()
    for can_id, data in frames:
        frame = can.Message(arbitration_id=can_id, data=data, is_extended_id=False, timestamp=1.0)
        assert parser.DecodeMessage(frame, message), hex(can_id)
    return message


def encoded(kind: ArmMsgType, **parts) -> tuple[int, bytes]:
    """A command as the SDK puts it on the bus."""
    message, frame = PiperMessage(), can.Message()
    message.type_ = kind
    for name, fields in parts.items():
        for field, value in fields.items():
            setattr(getattr(message, name), field, value)
    assert C_PiperParserV2().EncodeMessage(message, frame)
    return frame.arbitration_id, bytes(frame.data)


def test_joint_feedback_bytes_are_big_endian_thousandths_of_a_degree():
    pose = np.array([math.radians(1.0), math.radians(-2.5), 0.0, 0.0, 0.0, math.radians(-0.001), 0.0123])
    frames = dict(device().feedback(pose))
    assert frames[0x2A5].hex() == "000003e8" + "fffff63c"
    assert frames[0x2A7].hex() == "00000000" + "ffffffff"
    assert frames[0x2A8].hex() == "0000300c" + "0000" + "80" + "00"


def test_the_sdk_reads_back_every_joint_and_the_gripper():
    rng = np.random.default_rng(3)
    for pose in rng.uniform(*[[getattr(j, k) for j in ARM.joints] for k in ("lower", "upper")], (20, 7)):
        message = decoded(device().feedback(pose))
        joints = [getattr(message.arm_joint_feedback, f"joint_{k}") for k in range(1, 7)]
        assert np.allclose(np.radians(np.array(joints) / 1000), pose[:6], atol=math.radians(0.0005) * 1.01)
        assert message.gripper_feedback.grippers_angle == pytest.approx(pose[6] * 1e6, abs=0.51)


def test_the_full_set_is_that_of_a_real_arm_3040_frames_a_second():
    arm = device(frame_set=FrameSet.FULL, end_pose=lambda q: (0.0,) * 6)
    sent = [can_id for _ in range(200) for can_id, _ in arm.feedback(HOME)]
    assert len(sent) == 3040
    assert sent.count(0x2A5) == 200
    assert sent.count(0x251) == 200
    assert sent.count(0x266) == 40


def test_end_pose_frames_agree_with_the_sdk_kinematics():
    table, sdk = dh_table(CONTRACT.dh_is_offset), C_PiperForwardKinematics(CONTRACT.dh_is_offset)
    rng = np.random.default_rng(5)
    for _ in range(10):
        q = rng.uniform([j.lower for j in ARM.joints], [j.upper for j in ARM.joints])
        arm = device(frame_set=FrameSet.FULL, end_pose=lambda joints: xyz_rpy(forward(table, joints)))
        pose = decoded(arm.feedback(q)).arm_end_pose
        x, y, z, roll, pitch, yaw = sdk.CalFK(list(q[:6]))[-1]
        assert np.allclose([pose.X_axis, pose.Y_axis, pose.Z_axis], np.array([x, y, z]) * 1e3, atol=2.0)
        ours = np.radians(np.array([pose.RX_axis, pose.RY_axis, pose.RZ_axis]) / 1000)
        assert np.allclose(np.exp(1j * ours), np.exp(1j * np.radians([roll, pitch, yaw])), atol=1e-3)


def test_status_and_motor_frames_tell_that_motors_are_on_only_after_enable():
    arm = device(frame_set=FrameSet.FULL)
    before = decoded(arm.feedback(HOME))
    assert before.arm_status_msgs.ctrl_mode == 0
    assert not before.arm_low_spd_feedback_6.foc_status.driver_enable_status
    assert arm.receive(*ENABLE_ALL) == [(0x476, bytes([0x71, 0, 0, 0, 0, 0, 0, 0]))]
    arm.receive(*CAN_JOINTS_FULL_SPEED)
    after = [decoded(arm.feedback(HOME)) for _ in range(5)][-1]
    assert after.arm_status_msgs.ctrl_mode == 1
    assert after.arm_status_msgs.mode_feed == 1
    arm_again = device()
    arm_again.receive(*ENABLE_ALL)
    assert decoded(arm_again.feedback(HOME)).arm_low_spd_feedback_1.foc_status.driver_enable_status


def test_commands_of_the_sdk_move_the_arm_at_its_speed():
    arm = device()
    for frame in (
        encoded(
            ArmMsgType.PiperMsgMotorEnableDisableConfig, arm_motor_enable={"motor_num": 7, "enable_flag": 2}
        ),
        encoded(
            ArmMsgType.PiperMsgMotionCtrl_2,
            arm_motion_ctrl_2={"ctrl_mode": 1, "move_mode": 1, "move_spd_rate_ctrl": 50},
        ),
        encoded(ArmMsgType.PiperMsgJointCtrl_12, arm_joint_ctrl={"joint_1": 30000, "joint_2": 60000}),
        encoded(
            ArmMsgType.PiperMsgGripperCtrl,
            arm_gripper_ctrl={"grippers_angle": 20000, "grippers_effort": 1000, "status_code": 1},
        ),
    ):
        arm.receive(*frame)
    first = arm.advance(0.1)
    assert first[0] == pytest.approx(0.5 * ARM.joints[0].velocity * 0.1)
    for _ in range(100):
        last = arm.advance(0.1)
    assert last[0] == pytest.approx(math.radians(30.0))
    assert last[1] == pytest.approx(math.radians(60.0))
    assert last[6] == pytest.approx(0.020)


@pytest.mark.parametrize("missing", ["enable", "mode", "one motor"])
def test_an_arm_that_is_not_fully_on_does_not_move(missing):
    arm = device()
    if missing != "enable":
        arm.receive(*ENABLE_ALL)
    if missing != "mode":
        arm.receive(*CAN_JOINTS_FULL_SPEED)
    if missing == "one motor":
        arm.receive(0x471, bytes([3, 1, 0, 0, 0, 0, 0, 0]))
    arm.receive(0x155, (20000).to_bytes(4) + (50000).to_bytes(4))
    assert np.array_equal(arm.advance(1.0), HOME)


def test_a_stop_freezes_the_arm_and_a_reset_takes_its_power():
    arm = device()
    arm.receive(*ENABLE_ALL)
    arm.receive(*CAN_JOINTS_FULL_SPEED)
    arm.receive(0x155, (20000).to_bytes(4) + (50000).to_bytes(4))
    moved = arm.advance(0.02)
    arm.receive(0x150, bytes([1, 0, 0, 0, 0, 0, 0, 0]))
    arm.receive(0x155, (40000).to_bytes(4) + (50000).to_bytes(4))
    assert np.array_equal(arm.advance(1.0), moved)
    assert arm.stopped
    assert arm.enabled
    assert decoded(arm.feedback(moved)).arm_status_msgs.arm_status == 1
    arm.receive(0x150, bytes([2, 0, 0, 0, 0, 0, 0, 0]))
    assert not arm.stopped
    assert not arm.enabled
    assert np.array_equal(arm.advance(1.0), moved)


def test_a_target_beyond_a_limit_is_not_followed_but_reported():
    arm = device()
    arm.receive(*ENABLE_ALL)
    arm.receive(*CAN_JOINTS_FULL_SPEED)
    arm.receive(0x155, (170000).to_bytes(4) + (50000).to_bytes(4))
    assert np.array_equal(arm.advance(1.0), HOME)
    assert decoded(arm.feedback(HOME)).arm_status_msgs.arm_status == 4


def test_queries_are_answered_as_the_sdk_expects():
    arm = device()
    limits = decoded(arm.receive(0x472, bytes([4, 1, 0, 0, 0, 0, 0, 0])))
    answer = limits.arm_feedback_current_motor_angle_limit_max_spd
    assert (answer.motor_num, answer.max_angle_limit, answer.min_angle_limit) == (4, 1000, -1000)
    assert answer.max_joint_spd == 3000
    assert decoded(arm.receive(0x4AF, bytes([1] + [0] * 7))).firmware_data == b"S-V1.8-2"
    acceleration = decoded(arm.receive(0x472, bytes([2, 2, 0, 0, 0, 0, 0, 0])))
    assert acceleration.arm_feedback_current_motor_max_acc_limit.max_joint_acc == 5000
    arm.receive(0x47A, bytes([1, 2, 3, 4, 5, 6, 0, 0]))
    crash = decoded(arm.receive(0x477, bytes([2] + [0] * 7)))
    assert crash.arm_crash_protection_rating_feedback.joint_3_protection_level == 3


@pytest.mark.parametrize("frame", [(0x155, b"\0" * 7), (0x7FF, b"\0" * 8), (0x472, bytes([9, 1] + [0] * 6))])
def test_frames_that_mean_nothing_are_ignored(frame):
    assert device().receive(*frame) == []
