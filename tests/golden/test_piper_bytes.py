"""The emulated arm against the vendor's unmodified piper_sdk 0.6.2, byte by byte and value by value."""

from __future__ import annotations

import dataclasses
import math

import can
import numpy as np
import pytest
from finevla_sim.arm_health import ArmHealth, Foc
from finevla_sim.piper_device import FrameSet, PiperDevice
from finevla_sim.pose import xyz_rpy
from piper_sdk import C_PiperForwardKinematics
from piper_sdk.piper_msgs.msg_v2 import ArmMsgType, PiperMessage
from piper_sdk.protocol.protocol_v2 import C_PiperParserV2

from finevla.contract import load_contract
from finevla.contract.kinematics import dh_table, forward

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


def test_limits_and_accelerations_are_set_as_the_sdk_sets_them():
    arm = device()
    can_id, data = encoded(
        ArmMsgType.PiperMsgMotorAngleLimitMaxSpdSet,
        arm_motor_angle_limit_max_spd_set={
            "motor_num": 2,
            "max_angle_limit": 900,
            "min_angle_limit": 0x7FFF,
            "max_joint_spd": 1500,
        },
    )
    assert (can_id, data.hex()) == (0x474, "02" + "0384" + "7fff" + "05dc" + "00")
    answers = arm.receive(can_id, data)
    assert answers == [(0x476, bytes.fromhex("7400000000000000"))]
    assert decoded(answers).arm_feedback_resp_set_instruction.instruction_index == 0x74
    limits = arm.receive(0x472, bytes([2, 1, 0, 0, 0, 0, 0, 0]))
    assert limits == [(0x473, bytes.fromhex("02" + "0384" + "0000" + "05dc" + "00"))]
    joint = encoded(
        ArmMsgType.PiperMsgJointConfig,
        arm_joint_config={
            "joint_motor_num": 7,
            "set_motor_current_pos_as_zero": 0xAE,
            "acc_param_config_is_effective_or_not": 0xAE,
            "max_joint_acc": 250,
        },
    )
    assert (joint[0], joint[1].hex()) == (0x475, "07ae" + "ae00fa" + "000000")
    answers = arm.receive(*joint)
    assert answers == [(0x476, bytes.fromhex("7500000000000000"))]
    assert decoded(answers).arm_feedback_resp_set_instruction.is_set_zero_successfully == 0
    for motor in range(1, 7):
        answer = arm.receive(0x472, bytes([motor, 2, 0, 0, 0, 0, 0, 0]))
        assert answer == [(0x47C, bytes([motor]) + bytes.fromhex("09c4" + "0000000000"))]
        assert decoded(answer).arm_feedback_current_motor_max_acc_limit.max_joint_acc == 2500
    assert arm.receive(0x477, bytes([0, 2, 0, 0, 0, 0, 0, 0])) == [(0x476, bytes.fromhex("7700000000000000"))]
    assert arm.receive(0x472, bytes([2, 1] + [0] * 6)) == device().receive(0x472, bytes([2, 1] + [0] * 6))


def test_settings_of_tool_and_gripper_come_back_in_their_answers():
    arm = device()
    first = arm.receive(0x477, bytes([4] + [0] * 7))
    assert first == [(0x47E, bytes.fromhex("6446010000000000"))]
    assert decoded(first).arm_gripper_teaching_param_feedback.max_range_config == 70
    gripper = encoded(
        ArmMsgType.PiperMsgGripperTeachingPendantParamConfig,
        arm_gripper_teaching_param_config={
            "teaching_range_per": 150,
            "max_range_config": 100,
            "teaching_friction": 4,
        },
    )
    assert (gripper[0], gripper[1].hex()) == (0x47D, "9664040000000000")
    assert arm.receive(*gripper) == [(0x476, bytes.fromhex("7d00000000000000"))]
    param = decoded(arm.receive(0x477, bytes([4] + [0] * 7))).arm_gripper_teaching_param_feedback
    assert (param.teaching_range_per, param.max_range_config, param.teaching_friction) == (150, 100, 4)
    tool = encoded(
        ArmMsgType.PiperMsgEndVelAccParamConfig,
        arm_end_vel_acc_param_config={
            "end_max_linear_vel": 500,
            "end_max_angular_vel": 0x7FFF,
            "end_max_linear_acc": 400,
            "end_max_angular_acc": 300,
        },
    )
    assert (tool[0], tool[1].hex()) == (0x479, "01f4" + "7fff" + "0190" + "012c")
    assert arm.receive(*tool) == [(0x476, bytes.fromhex("7900000000000000"))]
    answer = arm.receive(0x477, bytes([1] + [0] * 7))
    assert answer == [(0x478, bytes.fromhex("01f4" + "0bb8" + "0190" + "012c"))]
    assert decoded(answer).arm_feedback_current_end_vel_acc_param.end_max_linear_vel == 500


def leader_config(role: int, *offsets: int) -> tuple[int, bytes]:
    names = ("feedback_offset", "ctrl_offset", "linkage_offset")
    fields = {"linkage_config": role, **dict(zip(names, offsets, strict=False))}
    return encoded(ArmMsgType.PiperMsgMasterSlaveModeConfig, arm_ms_config=fields)


def test_a_leader_sends_its_joints_as_the_commands_that_the_sdk_reads():
    arm = device(frame_set=FrameSet.FULL)
    leader = leader_config(0xFA)
    assert (leader[0], leader[1].hex()) == (0x470, "fa00000000000000")
    assert arm.receive(*leader) == [(0x476, bytes.fromhex("7000000000000000"))]
    assert arm.leader
    sent = dict(arm.feedback(np.array([math.radians(1.0), 0.5, -0.5, 0.0, 0.0, math.radians(-2.0), 0.0123])))
    assert not set(sent) & set(range(0x2A1, 0x2A9))
    assert sent[0x155][:4].hex() == "000003e8"
    assert sent[0x157][4:].hex() == "fffff830"
    assert sent[0x159].hex() == "0000300c" + "0000" + "01" + "00"
    assert sent[0x151].hex() == "0101640000000000"
    message = decoded(sent.items())
    assert message.arm_joint_ctrl.joint_1 == 1000
    assert message.arm_gripper_ctrl.grippers_angle == 12300
    assert message.arm_motion_ctrl_2.move_mode == 1
    arm.receive(*leader_config(0xFC))
    assert not arm.leader
    after = dict(arm.feedback(HOME))
    assert 0x2A5 in after
    assert 0x155 not in after


def test_ids_of_a_leader_and_of_its_follower_can_be_moved():
    leader, follower = device(), device()
    leader.receive(*leader_config(0xFA, 0x20, 0, 0x10))
    sent = dict(leader.feedback(HOME))
    assert {0x165, 0x166, 0x167, 0x169, 0x2C1, 0x2C5, 0x2C8} < set(sent)
    assert sent[0x2C1][0] == 6, "linkage teaching"
    follower.receive(*leader_config(0xFC, 0x10, 0x10, 0))
    follower.receive(*ENABLE_ALL)
    follower.receive(*CAN_JOINTS_FULL_SPEED)
    assert 0x2B5 in dict(follower.feedback(HOME))
    follower.receive(0x155, (20000).to_bytes(4) + (50000).to_bytes(4))
    assert np.array_equal(follower.advance(1.0), HOME), "ids and mode frames without the offset are others'"
    follower.receive(0x161, CAN_JOINTS_FULL_SPEED[1])
    follower.receive(0x165, (20000).to_bytes(4) + (50000).to_bytes(4))
    assert follower.advance(1.0)[0] == pytest.approx(math.radians(20.0))


def test_a_leader_that_must_be_restarted_follows_only_then():
    arm = device()
    arm.identity = dataclasses.replace(arm.identity, follows_after_restart=True)
    arm.receive(*leader_config(0xFA))
    arm.receive(*leader_config(0xFC))
    assert arm.leader
    arm.restart()
    assert not arm.leader
    assert not arm.enabled


def test_teaching_is_reported_and_ends_with_a_reset_only():
    arm = device()
    arm.receive(*ENABLE_ALL)
    start = encoded(ArmMsgType.PiperMsgMotionCtrl_1, arm_motion_ctrl_1={"grag_teach_ctrl": 1})
    assert (start[0], start[1].hex()) == (0x150, "0000010000000000")
    arm.receive(*start)
    status = decoded(arm.feedback(HOME)).arm_status_msgs
    assert (status.ctrl_mode, status.teach_status) == (2, 1)
    arm.receive(*CAN_JOINTS_FULL_SPEED)
    arm.receive(0x155, (20000).to_bytes(4) + (50000).to_bytes(4))
    assert np.array_equal(arm.advance(1.0), HOME)
    arm.receive(0x150, bytes([2] + [0] * 7))
    assert not arm.teaching


def test_health_is_read_back_by_the_sdk():
    arm = device(frame_set=FrameSet.FULL)
    arm.health = dataclasses.replace(ArmHealth(), status=7, error_code=0x0204, gripper_bits=1 << 5).motor(
        3, Foc.COLLISION, driver_c=61.0, motor_c=-4.0, supply_v=23.9, bus_current_a=1.25, phase_current_a=-0.5
    )
    frames = dict(arm.feedback(HOME))
    assert frames[0x263].hex() == "00ef" + "003d" + "fc" + "10" + "04e2"
    assert frames[0x253][2:4].hex() == "fe0c"
    assert frames[0x2A1].hex() == "0007000000000204"
    message = decoded(frames.items())
    motor = message.arm_low_spd_feedback_3
    assert (motor.vol, motor.foc_temp, motor.motor_temp, motor.bus_current) == (239, 61, -4, 1250)
    assert motor.foc_status.collision_status
    assert not motor.foc_status.stall_status
    assert message.arm_high_spd_feedback_3.current == -500
    assert message.arm_status_msgs.arm_status == 7
    assert message.arm_status_msgs.err_status.communication_status_joint_3
    assert message.arm_status_msgs.err_status.joint_2_angle_limit
    assert message.gripper_feedback.foc_status.driver_error_status


def test_a_firmware_text_is_sent_in_frames_of_eight():
    arm = device()
    arm.identity = dataclasses.replace(arm.identity, firmware="H-V1.2-1S-V1.8-2x")
    assert arm.receive(0x4AF, bytes([1] + [0] * 7)) == [
        (0x4AF, b"H-V1.2-1"),
        (0x4AF, b"S-V1.8-2"),
        (0x4AF, b"x" + bytes(7)),
    ]
    arm.identity = dataclasses.replace(arm.identity, firmware=None)
    assert arm.receive(0x4AF, bytes([1] + [0] * 7)) == []


def test_the_largest_opening_is_the_stroke_that_the_gripper_is_set_to():
    arm = device()
    arm.receive(*ENABLE_ALL)
    arm.receive(*CAN_JOINTS_FULL_SPEED)
    for stroke_mm in (70, 100):
        arm.receive(0x47D, bytes([100, stroke_mm, 1, 0, 0, 0, 0, 0]))
        arm.receive(0x159, (150_000).to_bytes(4) + bytes.fromhex("03e8" + "01" + "00"))
        assert arm.advance(1.0)[6] == pytest.approx(stroke_mm / 1000)
