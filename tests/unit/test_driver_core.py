"""The driver's decisions, tick by tick, without threads, bus or ROS."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from arms import EPOCH_NS, TICK_NS, TICK_S, both, chunk_to
from cobotmagic_driver.core import DriverCore
from cobotmagic_driver.core_types import CoreSettings
from cobotmagic_driver.loop import DriverLoop
from cobotmagic_driver.state_machine import State
from driver_rig import CONTRACT, GOAL, DriverRig

from finevla.contract import ARM_SIDES, ActionChunk


@pytest.fixture
def rig() -> DriverRig:
    rig = DriverRig()
    rig.enable()
    return rig


def test_nothing_is_sent_before_an_enable():
    rig = DriverRig()
    assert rig.follow(0.1) == "not_enabled"
    assert rig.state == State.CONNECTED
    assert not rig.arms["left"].sent


def test_an_enabled_driver_holds_the_measured_pose(rig):
    assert rig.state == State.ENABLED
    assert np.array_equal(rig.sent(), CONTRACT.home)


def test_a_chunk_is_followed_in_time(rig):
    rig.follow(0.5)
    assert rig.state == State.ACTIVE
    assert rig.core.machine.source == "policy"
    assert np.allclose(rig.sent(), CONTRACT.home + (0.5 / 1.5) * (GOAL - CONTRACT.home), atol=1e-4)


def test_no_new_chunk_means_hold_at_the_measured_arms_with_the_gripper_as_commanded(rig):
    rig.follow(0.9)
    rig.arms["left"].send = lambda values: None  # the left arm is stuck where it is
    stuck = rig.arms["left"].pose
    stuck[6] = 0.06  # its gripper holds something
    commanded = rig.sent()[6]
    rig.run(0.2)
    assert (rig.state, rig.code) == (State.HOLD, "stale_chunk")
    rig.run(1.0)
    assert np.allclose(rig.core.limiter.command[:6], stuck[:6])
    assert rig.core.limiter.command[6] <= commanded < 0.06
    assert rig.core.machine.instruction_id == "one"


def test_hold_is_left_by_a_new_instruction_or_an_enable_only(rig):
    rig.follow(1.2)
    assert rig.state == State.HOLD
    assert rig.follow(0.1) == "instruction_ended"
    assert rig.state == State.HOLD
    assert rig.follow(0.1, "two") == ""
    assert rig.state == State.ACTIVE
    rig.run(1.2)
    assert rig.follow(0.1, "one") == "instruction_ended"
    rig.enable()
    assert rig.follow(0.1, "one") == ""
    assert rig.state == State.ACTIVE


def test_an_empty_chunk_holds_at_once(rig):
    rig.follow(0.3)
    empty = ActionChunk(rig.now_ns, 0.0, np.zeros((0, 14)), rig.now_ns, "one", "test")
    assert rig.loop.on_chunk(empty) == ""
    assert (rig.state, rig.code) == (State.HOLD, "hold_commanded")
    measured = rig.core.arms.measured()
    rig.run(0.6)
    held = rig.sent()
    assert np.abs(held - measured)[:6].max() < 0.02, "they brake"
    rig.run(0.2)
    assert np.array_equal(rig.sent(), held)


def test_a_new_chunk_takes_over_without_a_step(rig):
    rig.follow(0.4)
    before = rig.sent()
    shifted = chunk_to(CONTRACT, GOAL, rig.now_ns - 400_000_000)
    shifted = dataclasses.replace(shifted, targets=shifted.targets + 0.05 * np.sign(GOAL - CONTRACT.home))
    assert rig.loop.on_chunk(dataclasses.replace(shifted, observation_stamp_ns=rig.now_ns)) == ""
    rig.run(TICK_S)
    step = np.abs(rig.sent() - before)[:6].max()
    assert 0.0 < step < 0.006
    rig.run(0.4)
    assert np.allclose(rig.sent()[:6], shifted.sample(rig.now_ns)[:6], atol=1e-4)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"instruction_id": ""}, "no_instruction_id"),
        ({"t0_ns": EPOCH_NS - 10_000_000_000}, "expired_chunk"),
        ({"t0_ns": EPOCH_NS + 10_000_000_000}, "future_chunk"),
        ({"targets": np.full((16, 14), np.nan)}, "non_finite"),
        ({"targets": np.zeros((16, 7))}, "non_finite"),
        ({"targets": CONTRACT.home + np.arange(16)[:, None] * 1.0}, "jump_rejected"),
    ],
)
def test_a_bad_chunk_is_refused_and_counted(rig, change, code):
    chunk = dataclasses.replace(chunk_to(CONTRACT, GOAL, rig.now_ns), **change)
    assert rig.loop.on_chunk(chunk) == code
    assert rig.core.interventions[code] == 1
    rig.run(0.1)
    assert rig.state == State.ENABLED
    assert np.array_equal(rig.sent(), CONTRACT.home)


def test_an_older_chunk_and_a_leap_between_chunks_are_refused(rig):
    rig.follow(0.1)
    older = dataclasses.replace(chunk_to(CONTRACT, GOAL, rig.now_ns), observation_stamp_ns=EPOCH_NS)
    assert rig.loop.on_chunk(older) == "older_chunk"
    leap = chunk_to(CONTRACT, GOAL, rig.now_ns)
    leap = dataclasses.replace(leap, targets=leap.targets + 0.8)
    assert rig.loop.on_chunk(leap) == "jump_rejected"


def test_a_first_target_far_away_is_approached_slowly(rig):
    away = CONTRACT.home.copy()
    away[0] += 1.0
    chunk = ActionChunk(rig.now_ns, 0.1, np.tile(away, (16, 1)), rig.now_ns, "far", "test")
    assert rig.loop.on_chunk(chunk) == ""
    rig.run(0.5)
    before = rig.sent()[0]
    rig.run(0.1)
    assert rig.sent()[0] - before == pytest.approx(0.2 * 3.0 * 0.1, rel=0.01)
    assert rig.core.interventions["soft_start"] == 1


def test_a_chunk_that_comes_late_is_joined_smoothly_and_the_next_one_is_no_jump(rig):
    """Bug: a late first chunk was taken for a far one and started softly; the next was then refused."""
    targets = np.tile(CONTRACT.home, (16, 1))
    targets[:, 0] += 0.05 * np.arange(16)
    lateness_ns = 400_000_000
    late = ActionChunk(rig.now_ns - lateness_ns, 0.1, targets, rig.now_ns - lateness_ns, "late", "test")
    assert rig.loop.on_chunk(late) == ""
    rig.run(0.02)
    assert abs(rig.sent()[0] - CONTRACT.home[0]) < 0.15
    rig.run(0.6)
    assert rig.sent()[0] == pytest.approx(late.sample(rig.now_ns)[0], abs=0.02)
    assert "soft_start" not in rig.core.interventions
    after = dataclasses.replace(late, t0_ns=rig.now_ns, observation_stamp_ns=rig.now_ns)
    after = dataclasses.replace(after, targets=targets + rig.sent() - CONTRACT.home)
    assert rig.loop.on_chunk(after) == ""


def test_lost_feedback_is_a_fault_and_only_an_enable_ends_it(rig):
    rig.follow(0.1)
    rig.arms["right"].alive = False
    rig.run(0.2)
    assert (rig.state, rig.code) == (State.FAULT, "feedback_lost")
    sent = len(rig.arms["left"].sent)
    rig.arms["right"].alive = True
    rig.run(0.2)
    assert rig.state == State.FAULT
    assert len(rig.arms["left"].sent) == sent
    assert rig.follow(0.1, "two") == "not_enabled"
    rig.enable()
    assert rig.state == State.ENABLED


def test_an_arm_that_reports_a_collision_is_a_fault_that_enable_refuses(rig):
    rig.arms["left"].status = 7
    rig.run(TICK_S)
    assert rig.state == State.FAULT
    assert "collision" in rig.core.machine.reason
    ok, why = rig.loop.enable().result(0)
    assert not ok
    assert "collision" in why


def test_motors_that_go_off_are_a_fault(rig):
    rig.arms["left"].enabled = False
    rig.run(TICK_S)
    assert (rig.state, rig.code) == (State.FAULT, "motors_off")


def test_motors_that_never_come_on_are_reported():
    rig = DriverRig(enable_timeout_s=0.5)
    rig.arms["right"].request_enable = lambda values: None
    future = rig.loop.enable()
    rig.run(0.7)
    ok, why = future.result(0)
    assert not ok
    assert "right arm" in why
    assert rig.state == State.FAULT


def test_stop_is_latched_and_reset_takes_the_power(rig):
    rig.follow(0.1)
    assert rig.loop.stop() == ""
    assert rig.state == State.STOPPED
    assert rig.arms["left"].calls[-1] == "stop"
    assert not rig.loop.enable().result(0)[0]
    sent = len(rig.arms["left"].sent)
    rig.run(0.1)
    assert len(rig.arms["left"].sent) == sent
    assert rig.loop.reset() == ""
    assert rig.state == State.CONNECTED
    assert rig.arms["right"].calls[-1] == "reset"
    assert rig.loop.reset() != ""


def test_home_opens_the_grippers_first_then_moves_and_ends_in_hold(rig):
    rig.follow(0.9)
    start = rig.sent()
    future = rig.loop.home()
    rig.run(0.3)
    assert np.allclose(rig.sent()[:6], start[:6], atol=0.01), "they brake, and wait for the grippers"
    assert rig.sent()[6] > start[6]
    assert rig.core.machine.source == "home"
    rig.run(3.0)
    assert future.result(0) == (True, "the arms are home")
    assert (rig.state, rig.code) == (State.HOLD, "home_reached")
    assert np.allclose(rig.sent(), CONTRACT.home)
    assert rig.follow(0.1, "one") == "instruction_ended"


def test_home_keeps_to_its_speed(rig):
    rig.follow(1.2, goal=GOAL)
    rig.loop.home()
    fastest, before = 0.0, rig.sent()
    for _ in range(400):
        rig.run(TICK_S)
        fastest = max(fastest, np.abs(rig.sent() - before)[:6].max() / TICK_S)
        before = rig.sent()
    assert 0.5 < fastest <= 0.8 + 1e-6


def test_home_answers_when_something_is_in_the_way(rig):
    rig.follow(0.9)
    rig.arms["left"].send = lambda values: None
    future = rig.loop.home()
    rig.run(5.0)
    ok, why = future.result(0)
    assert not ok
    assert "from where it should be" in why
    assert rig.code == "home_missed"


def test_home_gives_way_to_a_stop(rig):
    rig.follow(0.9)
    future = rig.loop.home()
    rig.run(0.1)
    rig.loop.stop()
    assert future.result(0) == (False, "the driver was stopped")


def test_enabling_again_does_not_open_a_gripper_that_holds(rig):
    rig.follow(0.9)
    rig.arms["left"].pose[6] = 0.06  # wider than commanded: something is in it
    commanded = rig.sent()[6]
    rig.arms["left"].send = lambda values: rig.arms["left"].sent.append(values.copy())
    rig.loop.on_chunk(ActionChunk(rig.now_ns, 0.0, np.zeros((0, 14)), rig.now_ns, "one", "test"))
    rig.enable()
    rig.run(0.1)
    assert rig.sent()[6] == pytest.approx(commanded, abs=5e-4)  # it brakes first


def test_leaders_are_followed_and_their_silence_holds():
    rig = DriverRig(command_source="leader")
    rig.enable()
    goal = CONTRACT.home + 0.1 * np.sign(GOAL - CONTRACT.home) * (np.abs(GOAL - CONTRACT.home) > 0.05)
    for k in range(50):
        for side in ARM_SIDES:
            values = CONTRACT.home + (goal - CONTRACT.home) * min(k / 25, 1.0)
            rig.loop.on_leader(side, values[CONTRACT.arm_slice(side)], rig.now_ns)
        rig.run(0.01)
    assert rig.state == State.ACTIVE
    assert np.allclose(rig.sent(), goal, atol=1e-6)
    assert "velocity_limit" not in rig.core.interventions
    rig.run(0.3)
    assert (rig.state, rig.code) == (State.HOLD, "stale_leader")
    rig.loop.on_leader("left", goal[:7], rig.now_ns)
    assert rig.loop.on_leader("right", goal[7:], rig.now_ns) == "not_enabled"


def test_one_leader_alone_moves_nothing_and_a_leap_is_refused():
    rig = DriverRig(command_source="leader")
    rig.enable()
    assert rig.loop.on_leader("left", GOAL[:7], rig.now_ns) == ""
    rig.run(0.05)
    assert rig.state == State.ENABLED
    assert rig.loop.on_leader("left", GOAL[:7] + 0.7, rig.now_ns) == "jump_rejected"


def test_the_other_source_is_refused(rig):
    assert rig.loop.on_leader("left", GOAL[:7], rig.now_ns) == "not_the_source"
    leader = DriverRig(command_source="leader")
    assert leader.follow(0.0) == "not_the_source"


def test_a_silent_arm_is_named_when_connecting():
    from finevla.errors import DriverError

    arms = both(CONTRACT, CONTRACT.home)
    arms["right"].alive = False
    loop = DriverLoop(DriverCore(CONTRACT, CoreSettings()), arms, CONTRACT, lambda: EPOCH_NS)
    with pytest.raises(DriverError, match="can_right"):
        loop.connect(0.05)
    assert arms["left"].calls[-1] == "disconnect"


def test_after_a_deactivation_only_an_enable_lets_the_arms_move(rig):
    """Bug: a driver activated again sent the pose of before, wherever the arms had been moved since."""
    rig.follow(0.3)
    rig.loop.release()
    assert rig.state == State.CONNECTED
    count = len(rig.arms["left"].sent)
    rig.arms["left"].pose = rig.arms["left"].pose + 0.2
    rig.run(0.1)
    assert rig.follow(0.1, "two") == "not_enabled"
    assert len(rig.arms["left"].sent) == count
    rig.enable()
    assert np.allclose(rig.sent()[:6], rig.arms["left"].pose[:6])


def test_a_leader_that_leaps_is_refused_until_the_arms_hold():
    """Bug: between the leader's timeout and the next tick a leap was let through."""
    rig = DriverRig(command_source="leader")
    rig.enable()
    for _ in range(20):
        for side in ARM_SIDES:
            rig.loop.on_leader(side, CONTRACT.home[CONTRACT.arm_slice(side)], rig.now_ns)
        rig.run(0.01)
    rig.now_ns += round(rig.core._settings.leader_timeout_s * 1e9) + TICK_NS // 2
    assert rig.loop.on_leader("left", CONTRACT.home[:7] + 0.7, rig.now_ns) == "jump_rejected"


def test_home_with_nothing_but_a_gripper_to_open(rig):
    """Bug: arms that stood at home already made the way home divide by zero."""
    goal = CONTRACT.home.copy()
    goal[6] = 0.03
    rig.follow(0.9, goal=goal)
    future = rig.loop.home()
    rig.run(3.0)
    assert future.result(0)[0]


def test_home_keeps_its_speed_over_a_stall_of_the_clock(rig):
    rig.follow(0.9)
    rig.loop.home()
    rig.run(0.6)
    before = rig.sent()
    rig.now_ns += 50_000_000
    rig.run(0.05)
    assert np.abs(rig.sent() - before)[:6].max() <= 0.8 * 0.055


def test_home_during_an_instruction_ends_it(rig):
    """Bug: the id was forgotten, so that the next enable let the instruction go on by itself."""
    rig.follow(0.3)
    rig.loop.home()
    rig.run(0.1)
    assert rig.core.machine.instruction_id == "one"
    assert rig.code == "homing"


def test_a_stop_is_repeated_to_an_arm_that_does_not_report_it(rig, monkeypatch):
    told = []
    monkeypatch.setattr(rig.arms["left"], "stop", lambda: told.append("left"))
    assert rig.loop.stop() == ""
    rig.run(0.3)
    assert len(told) > 3


def test_a_loop_that_breaks_says_so_and_is_no_operators_stop(rig, monkeypatch):
    """Bug: the state said "stopped by the operator", whose remedy lets the arms fall."""
    ticks = []
    rig.loop._on_tick = ticks.append
    monkeypatch.setattr(rig.core, "tick", lambda *_: 1 / 0)
    rig.loop.pacer.run()
    assert (rig.state, rig.code) == (State.FAULT, "driver_loop_failed")
    assert len(ticks) == 1


def test_enabling_after_a_fault_keeps_the_grip(rig):
    goal = CONTRACT.home.copy()
    goal[6] = 0.0
    rig.follow(0.9, goal=goal)
    rig.arms["left"].send = lambda values: rig.arms["left"].sent.append(values)
    rig.arms["left"].pose = np.append(CONTRACT.home[:6], 0.036)  # the fingers rest on an object
    rig.core.machine.fault("feedback_lost", "a short gap")
    rig.run(0.2)  # what moves comes to rest first
    commanded = rig.core.limiter.command[6]
    rig.enable()
    assert rig.core.limiter.command[6] == commanded < 0.036


def test_enabling_again_lets_an_arm_that_has_followed_make_no_step(rig):
    """Bug: the command began anew where the arm was measured, which load keeps a little below it."""
    rig.follow(1.0)
    left = rig.arms["left"]
    told = left.sent[-1]
    left.send = lambda values: left.sent.append(values)
    left.pose = told - 0.02
    rig.enable()
    steps = np.abs(np.diff(left.sent[-45:], axis=0)).max()
    assert steps < 0.005
    rig.run(1.0)
    assert left.sent[-1][:6] == pytest.approx(left.pose[:6], abs=1e-6)


def test_enabling_again_begins_where_an_arm_is_that_somebody_has_moved(rig):
    rig.follow(1.0)
    left = rig.arms["left"]
    left.send = lambda values: left.sent.append(values)
    left.alive = False
    rig.run(0.5)
    left.alive, left.pose = True, CONTRACT.home[:7] - np.array([0.5, 0, 0, 0, 0, 0, 0])
    rig.run(0.1)
    sent = len(left.sent)
    rig.enable()
    assert left.sent[sent:][-1][:6] == pytest.approx(left.pose[:6], abs=1e-6)
    assert np.abs(np.array(left.sent[-5:])[:, 0] - left.pose[0]).max() < 1e-6
