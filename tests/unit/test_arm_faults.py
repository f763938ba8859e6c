"""Every fault of the emulated arms changes what it should and nothing else, and is gone once cleared."""

from __future__ import annotations

import dataclasses
import math
import threading

import numpy as np
import pytest
from finevla_sim import arm_faults as af
from finevla_sim import motor_faults as mf
from finevla_sim.arm_health import ArmHealth, GripperSettings, JointLimit
from finevla_sim.fault import Fault
from finevla_sim.faults import FAULTS, parse_fault, usage
from finevla_sim.faulty_arm import FaultyArm
from finevla_sim.piper_device import FrameSet, PiperDevice

from finevla.contract import load_contract
from finevla.errors import SimulationError

CONTRACT = load_contract()
SPEC = CONTRACT.arms["left"]
HOME = CONTRACT.home[CONTRACT.arm_slice("left")]
ENABLE = (0x471, bytes([7, 2, 0, 0, 0, 0, 0, 0]))
MODE = (0x151, bytes([1, 1, 100, 0, 0, 0, 0, 0]))
TARGET_12 = (0x155, (20000).to_bytes(4) + (50000).to_bytes(4))
QUERIES = [
    *((0x472, bytes([motor, content, 0, 0, 0, 0, 0, 0])) for motor in range(1, 7) for content in (1, 2)),
    *((0x477, bytes([what] + [0] * 7)) for what in (1, 2, 4)),
    (0x4AF, bytes([1] + [0] * 7)),
]


class Rig:
    """One arm whose time the test moves."""

    def __init__(self, seed: int = 0) -> None:
        self.now_ns = 0
        device = PiperDevice(SPEC, HOME, FrameSet.FULL, lambda q: tuple(q))
        self.arm = FaultyArm(device, lambda: self.now_ns, np.random.default_rng(seed))
        self.arm.receive(*ENABLE)
        self.arm.receive(*MODE)

    def tick(self, n: int = 1, truth: np.ndarray | None = None) -> list[list[tuple[int, bytes]]]:
        """The frames of each of n ticks of 200 Hz."""
        out = []
        for _ in range(n):
            joints = self.arm.advance(0.005)
            out.append(self.arm.feedback(joints if truth is None else truth))
            self.now_ns += 5_000_000
        return out

    def everything(self) -> tuple:
        """What a client could learn within 50 ms: all frames, all answers, where the arm is going."""
        said = self.tick(10)
        answers = [self.arm.receive(*query) for query in QUERIES]
        self.arm.receive(*TARGET_12)
        return said, answers, self.arm.device.enabled


def ids(ticks) -> set[int]:
    return {can_id for frames in ticks for can_id, _ in frames}


def differing(fault: Fault) -> tuple[set[int], set[int]]:
    """Ids that differ from a sound arm's in feedback, and in answers to queries."""
    sound, faulty = Rig(), Rig()
    faulty.arm.inject(fault)
    (said, answers, _), (said_too, answers_too, _) = sound.everything(), faulty.everything()
    feedback = {
        can_id
        for one, other in zip(said, said_too, strict=True)
        for can_id in set(dict(one)) | set(dict(other))
        if dict(one).get(can_id) != dict(other).get(can_id)
    }
    asked = {
        frames[0][0]
        for one, other in zip(answers, answers_too, strict=True)
        for frames in [one or other]
        if one != other
    }
    return feedback, asked


MOTORS = set(range(0x261, 0x267))
CHANGES: dict[type[Fault], tuple[Fault, set[int], set[int]]] = {
    type(fault): (fault, feedback, answers)
    for fault, feedback, answers in [
        (af.DriftingEncoder(2, 0.2), {0x2A5, 0x252, 0x2A2}, set()),
        (af.EncoderGlitch(7, 0.01, 1.0), {0x2A8}, set()),
        (af.WrongLimits(), set(), {0x473}),
        (af.WrongStroke(100), set(), {0x47E}),
        (af.OtherFirmware("S-V1.5-2"), set(), {0x4AF}),
        (af.SilentFirmware(), set(), {0x4AF}),
        (af.SlowFirmware(1.0), set(), {0x4AF}),
        (af.MotorsOff(), MOTORS, set()),
        (af.TeachMode(), {0x2A1}, set()),
        (mf.OverTemperature(3, 95.0), {0x263}, set()),
        (mf.UnderVoltage(18.0), MOTORS, set()),
        (mf.OverCurrent(4, 12.0), {0x254, 0x264}, set()),
        (mf.Collision(3), {0x263, 0x2A1}, set()),
        (mf.MotorFault(6, 7), {0x266}, set()),
        (mf.JointOffline(5), {0x255, 0x265, 0x2A1}, set()),
        (mf.ArmError(0xE, 0x0100), {0x2A1}, set()),
    ]
}


@pytest.mark.parametrize("kind", CHANGES, ids=lambda kind: kind.kind())
def test_a_fault_changes_its_frames_and_no_others(kind):
    fault, feedback, answers = CHANGES[kind]
    assert differing(fault) == (feedback, answers)


OF_THE_BUS = {af.FrameLoss, af.Burst, af.Delay, af.BusOff, af.StuckJoint, af.LeaderMode}


def test_every_fault_is_listed_described_and_tested():
    assert set(FAULTS.values()) == set(CHANGES) | OF_THE_BUS
    for name, fault in FAULTS.items():
        assert fault.kind() == name
        assert fault.description().endswith(".")
        assert f"  {name}" in usage()
    assert af.BusOff.kind() == "bus_off"


@pytest.mark.parametrize("kind", FAULTS)
def test_a_cleared_fault_leaves_nothing(kind):
    """Motors that lost power stay off, as after a real loss: the test enables them again."""
    sound, faulty = Rig(), Rig()
    faulty.arm.inject(FAULTS[kind]())
    for rig in (sound, faulty):
        rig.tick(50)
        rig.arm.receive(*ENABLE)
        rig.now_ns += 3_000_000_000
    faulty.arm.clear(kind)
    assert faulty.arm.faults == ()
    faulty.tick(1)  # what was held back comes
    sound.tick(1)
    for rig in (sound, faulty):
        rig.arm.receive(*ENABLE)
    assert faulty.everything() == sound.everything()


def test_a_fault_of_bounded_time_ends_by_itself_and_others_stay():
    rig = Rig()
    rig.arm.inject(mf.Collision(1), seconds=0.02)
    rig.arm.inject(mf.Collision(2))
    assert [fault.motor for fault in rig.arm.faults] == [1, 2]
    rig.tick(4)
    assert rig.arm.faults == (mf.Collision(2),)
    rig.arm.inject(mf.MotorFault(2, 7))
    rig.arm.clear(mf.Collision)
    assert rig.arm.faults == (mf.MotorFault(2, 7),)
    rig.arm.clear()
    assert rig.arm.faults == ()


def test_lost_frames_are_lost_in_both_directions_by_chance():
    rig = Rig(seed=4)
    whole = sum(len(frames) for frames in Rig().tick(200))
    rig.arm.inject(af.FrameLoss(0.3))
    kept = sum(len(frames) for frames in rig.tick(200))
    assert kept / whole == pytest.approx(0.7, abs=0.03)
    answered = sum(bool(rig.arm.receive(*ENABLE)) for _ in range(1000))
    assert answered / 1000 == pytest.approx(0.49, abs=0.05)  # the command and its answer


def test_a_burst_holds_frames_back_and_sends_them_at_once_in_their_order():
    rig, sound = Rig(), Rig()
    rig.arm.inject(af.Burst(period_s=0.1, length_s=0.05))
    ticks, expected = rig.tick(20), sound.tick(20)
    assert ticks[:10] == [[]] * 10
    assert ticks[10] == [frame for frames in expected[:11] for frame in frames]
    assert ticks[11:] == expected[11:]


def test_delayed_frames_come_later_and_complete():
    rig, sound = Rig(), Rig()
    rig.arm.inject(af.Delay(0.02))
    ticks, expected = rig.tick(20), sound.tick(20)
    assert ticks[:4] == [[]] * 4
    assert ticks[4:] == expected[:-4]


def test_a_bus_off_arm_neither_hears_nor_speaks_but_still_goes_to_its_target():
    rig = Rig()
    rig.arm.receive(*TARGET_12)
    rig.arm.inject(af.BusOff())
    assert rig.tick(100) == [[]] * 100
    assert rig.arm.receive(0x150, bytes([1] + [0] * 7)) == []
    assert not rig.arm.device.stopped
    assert rig.arm.advance(1.0)[0] == pytest.approx(math.radians(20.0))


def test_a_stuck_joint_stays_and_the_others_move_and_it_follows_again_without_a_jump():
    rig = Rig()
    rig.arm.inject(af.StuckJoint(2))
    rig.arm.receive(*TARGET_12)
    rig.tick(200)
    stuck = rig.arm.advance(0.0)
    assert stuck[0] == pytest.approx(math.radians(20.0))
    assert stuck[1] == HOME[1]
    rig.arm.clear(af.StuckJoint)
    step = rig.arm.advance(0.005)[1] - HOME[1]
    assert 0.0 < abs(step) <= SPEC.joints[1].velocity * 0.005 + 1e-12
    rig.tick(200)
    assert rig.arm.advance(0.0)[1] == pytest.approx(math.radians(50.0))


def test_an_encoder_drifts_at_its_rate_and_the_arm_itself_does_not():
    rig = Rig()
    rig.arm.inject(af.DriftingEncoder(1, 0.1))
    first, *_, last = rig.tick(201)
    read = [int.from_bytes(dict(frames)[0x2A5][:4], signed=True) for frames in (first, last)]
    assert math.radians((read[1] - read[0]) / 1000) == pytest.approx(0.1, abs=1e-4)
    assert np.array_equal(rig.arm.advance(0.0), HOME)


def test_wrong_limits_are_also_kept_to():
    rig = Rig()
    rig.arm.inject(af.WrongLimits(1, -10.0, 10.0, 1.0, 65.535))
    rig.arm.receive(*TARGET_12)
    assert np.array_equal(rig.arm.advance(1.0), HOME)
    assert dict(rig.tick(1)[0])[0x2A1][1] == 4
    (limits,) = rig.arm.receive(0x472, bytes([1, 1] + [0] * 6))
    assert limits == (0x473, bytes.fromhex("01 0064 ff9c 03e8 00"))
    (acceleration,) = rig.arm.receive(0x472, bytes([1, 2] + [0] * 6))
    assert acceleration == (0x47C, bytes.fromhex("01 ffff 0000000000"))


def test_slow_firmware_answers_in_its_time():
    rig = Rig()
    rig.arm.inject(af.SlowFirmware(0.02))
    assert rig.arm.receive(0x4AF, bytes([1] + [0] * 7)) == []
    assert [0x4AF in ids([frames]) for frames in rig.tick(6)] == [False] * 4 + [True, False]


def test_motors_without_power_cannot_be_enabled_until_it_is_back():
    rig = Rig()
    rig.arm.inject(af.MotorsOff())
    rig.arm.receive(*ENABLE)
    assert not rig.arm.device.enabled
    rig.arm.clear()
    assert not rig.arm.device.enabled
    rig.arm.receive(*ENABLE)
    assert rig.arm.device.enabled


def test_a_leader_sends_its_joints_as_commands_and_obeys_none():
    rig = Rig()
    rig.arm.inject(af.LeaderMode())
    rig.arm.receive(*TARGET_12)
    said = rig.tick(5)
    assert ids(said) == {0x151, 0x155, 0x156, 0x157, 0x159} | set(range(0x251, 0x257)) | MOTORS
    assert np.array_equal(rig.arm.advance(1.0), HOME)
    rig.arm.clear()
    assert 0x2A5 in ids(rig.tick(1))
    assert 0x155 not in ids(rig.tick(1))


def test_an_arm_that_is_taught_follows_no_target():
    rig = Rig()
    rig.arm.receive(*TARGET_12)
    rig.arm.inject(af.TeachMode())
    assert np.array_equal(rig.arm.advance(1.0), HOME)
    assert dict(rig.tick(1)[0])[0x2A1][3] == 1


def test_faults_from_other_threads_while_the_arm_runs():
    rig = Rig()
    ends = threading.Event()

    def disturb() -> None:
        while not ends.is_set():
            rig.arm.inject(af.Delay(0.001), seconds=0.002)
            rig.arm.inject(mf.Collision(1))
            rig.arm.clear()

    threads = [threading.Thread(target=disturb) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        frames = [frame for said in rig.tick(200) for frame in said]
    finally:
        ends.set()
        for thread in threads:
            thread.join()
    rig.arm.clear()
    frames += [frame for said in rig.tick(1) for frame in said]
    assert len(frames) == sum(len(said) for said in Rig().tick(201))


def test_health_and_identity_can_be_set_without_a_fault():
    rig = Rig()
    device = rig.arm.device
    device.health = dataclasses.replace(ArmHealth(), status=0xE, error_code=0x2001).motor(
        2, driver_c=-5.0, motor_c=81.0, supply_v=23.7, bus_current_a=1.5, phase_current_a=-2.25
    )
    limits = (JointLimit(-1.0, 1.0, 2.0, 4.0), *device.identity.limits[1:])
    device.identity = dataclasses.replace(
        device.identity, limits=limits, gripper=GripperSettings(120, 100, 3), crash_levels=(1, 2, 3, 4, 5, 6)
    )
    frames = dict(rig.tick(1)[0])
    assert frames[0x262].hex() == "00ed" + "fffb" + "51" + "40" + "05dc"
    assert frames[0x252][2:4].hex() == "f736"
    assert frames[0x2A1].hex() == "010e010000002001"
    assert rig.arm.receive(0x477, bytes([4] + [0] * 7)) == [(0x47E, bytes.fromhex("7864030000000000"))]
    assert rig.arm.receive(0x477, bytes([2] + [0] * 7)) == [(0x47B, bytes.fromhex("0102030405060000"))]


@pytest.mark.parametrize(
    ("text", "fault", "seconds"),
    [
        ("collision 3", mf.Collision(3), None),
        ("over_temperature 3 95", mf.OverTemperature(3, 95.0), None),
        ("over_temperature 3 300 driver for 2.5", mf.OverTemperature(3, 300.0, "driver"), 2.5),
        ("bus_off for 1", af.BusOff(), 1.0),
        ("other_firmware S-V1.6-3", af.OtherFirmware("S-V1.6-3"), None),
        ("frame_loss", af.FrameLoss(), None),
    ],
)
def test_faults_are_asked_for_by_text(text, fault, seconds):
    assert parse_fault(text.split()) == (fault, seconds)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "colision 3",
        "collision 7",
        "collision 0",
        "collision x",
        "collision 1 2",
        "motor_fault 1 6",
        "frame_loss 1.5",
        "burst 1 2",
        "delay -1",
        "stuck_joint 8",
        "over_temperature 1 200",
        "bus_off for",
        "bus_off for ever",
        "bus_off for 0",
        "bus_off for nan",
        "drifting_encoder 2 nan",
        "wrong_limits 1 -4000 10",
    ],
)
def test_wrong_faults_are_refused_by_name(text):
    with pytest.raises(SimulationError, match="fault"):
        parse_fault(text.split())
