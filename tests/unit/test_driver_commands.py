"""The driver's sources and who is listened to, limits that need more than one tick, dry run."""

from __future__ import annotations

import numpy as np
import pytest
from arms import EPOCH_NS, TICK_S, FakeArm, chunk_to
from cobotmagic_driver.backend import ArmFeedback
from cobotmagic_driver.dry_run import DryRunArm
from cobotmagic_driver.interventions import MEANING, Interventions
from cobotmagic_driver.params import DriverParams
from cobotmagic_driver.sources import JointPath
from cobotmagic_driver.state_machine import State
from cobotmagic_driver.tick_watch import TickWatch
from driver_rig import CONTRACT, GOAL, DriverRig

from finevla.contract import ARM_SIDES, ActionChunk
from finevla.errors import LaunchError

SECOND_NS = 1_000_000_000
NEAR = CONTRACT.home + 0.3 * (GOAL - CONTRACT.home)


def path(rig: DriverRig, times, goal=NEAR, columns=range(14), start_ns=None) -> JointPath:
    weights = np.linspace(0.0, 1.0, len(times) + 1)[1:, None]
    rows = CONTRACT.home + weights * (goal - CONTRACT.home)
    columns = tuple(columns)
    return JointPath(rig.now_ns if start_ns is None else start_ns, np.array(times), columns, rows[:, columns])


def enabled(**settings) -> DriverRig:
    rig = DriverRig(**settings)
    rig.enable()
    return rig


# Sources


def test_joint_commands_are_followed_and_their_end_holds():
    rig = enabled(command_source="joints")
    for k in range(100):
        values = CONTRACT.home + min(k / 50, 1.0) * (NEAR - CONTRACT.home)
        assert rig.loop.on_joints(values, rig.now_ns) == ""
        rig.run(0.01)
    assert (rig.state, rig.core.machine.source) == (State.ACTIVE, "joints")
    assert np.allclose(rig.sent(), NEAR, atol=1e-4)
    rig.run(0.3)
    assert (rig.state, rig.code) == (State.HOLD, "stale_joints")
    assert rig.loop.on_joints(NEAR, rig.now_ns) == "not_enabled"


@pytest.mark.parametrize(
    ("age_s", "code"), [(1.0, "old_command"), (-1.0, "future_command"), (None, "unstamped_command")]
)
def test_a_command_that_is_old_ahead_or_unstamped_is_refused(age_s, code):
    rig = enabled(command_source="joints")
    stamp = 0 if age_s is None else rig.now_ns - round(age_s * SECOND_NS)
    assert rig.loop.on_joints(NEAR, stamp) == code
    assert rig.core.interventions[code] == 1
    assert rig.state == State.ENABLED


def test_unstamped_commands_may_be_accepted():
    rig = enabled(command_source="joints", accept_unstamped=True)
    assert rig.loop.on_joints(NEAR, 0) == ""
    assert rig.state == State.ACTIVE


def test_a_chunk_of_an_old_observation_is_refused():
    rig = enabled()
    chunk = chunk_to(CONTRACT, GOAL, rig.now_ns - round(1.2 * SECOND_NS))
    assert rig.loop.on_chunk(chunk) == "old_command"


def test_a_trajectory_of_one_arm_moves_it_alone_and_ends_in_hold():
    rig = enabled(command_source="trajectory")
    assert rig.loop.on_trajectory(path(rig, [0.5, 1.0], columns=range(7))) == ""
    rig.run(0.5)
    assert (rig.state, rig.core.machine.source) == (State.ACTIVE, "trajectory")
    assert rig.core.machine.instruction_id == "trajectory-1"
    rig.run(0.7)
    assert (rig.state, rig.code) == (State.HOLD, "trajectory_done")
    rig.run(1.0)
    assert np.allclose(rig.sent()[:7], NEAR[:7], atol=2e-3)
    assert np.array_equal(rig.sent()[7:], CONTRACT.home[7:])


def test_a_new_trajectory_replaces_the_one_before_without_a_step():
    rig = enabled(command_source="trajectory")
    rig.loop.on_trajectory(path(rig, [1.0]))
    rig.run(0.5)
    before = rig.sent()
    assert rig.loop.on_trajectory(path(rig, [1.0], goal=CONTRACT.home)) == ""
    rig.run(TICK_S)
    assert np.abs(rig.sent() - before)[:6].max() < 0.003
    rig.run(1.6)
    assert np.allclose(rig.sent(), CONTRACT.home, atol=2e-3)


@pytest.mark.parametrize(
    ("times", "start_s", "goal", "code"),
    [
        ([0.5], -2.0, NEAR, "expired_chunk"),
        ([0.5], 5.0, NEAR, "future_command"),
        ([0.01, 0.02], 0.0, GOAL, "jump_rejected"),
        ([0.5], 0.0, np.full(14, np.inf), "non_finite"),
    ],
)
def test_a_trajectory_that_cannot_be_followed_is_refused(times, start_s, goal, code):
    rig = enabled(command_source="trajectory")
    start_ns = rig.now_ns + round(start_s * SECOND_NS)
    with np.errstate(invalid="ignore"):
        wanted = path(rig, times, goal=goal, start_ns=start_ns)
    assert rig.loop.on_trajectory(wanted) == code
    assert rig.state == State.ENABLED


def test_only_the_selected_source_is_listened_to_and_a_hand_over_holds():
    rig = enabled()
    rig.follow(0.3)
    assert rig.loop.on_joints(NEAR, rig.now_ns) == "not_the_source"
    assert rig.loop.select_source("joints") == ""
    assert (rig.state, rig.code) == (State.HOLD, "handed_over")
    assert rig.follow(0.1, "two") == "not_the_source"
    assert rig.loop.on_joints(NEAR, rig.now_ns) == "not_enabled"
    rig.enable()
    assert rig.loop.on_joints(NEAR, rig.now_ns) == ""
    assert "nobody" in rig.loop.select_source("nobody")


def test_a_hand_over_waits_for_the_way_home():
    rig = enabled()
    rig.follow(0.5)
    rig.loop.home()
    assert "way of their own" in rig.loop.select_source("leader")


# Limits over time


def test_acceleration_and_jerk_are_limited():
    rig = enabled()
    rig.arms["left"].sent.clear()
    rig.follow(0.9)
    sent = np.array(rig.arms["left"].sent)
    limits = rig.core.limiter.limits
    for order, limit in ((2, limits.acceleration[:7]), (3, limits.jerk[:7])):
        rate = np.abs(np.diff(sent, order, axis=0)) / TICK_S**order
        assert (rate <= limit * (1 + 1e-6) + 1e-3).all()
        assert rate.max() > 0.5 * limit.max(), "the motion is hard enough to meet the limit"


def test_targets_stay_inside_the_limits_by_the_margin():
    rig = enabled(command_source="joints")
    beyond = CONTRACT.home.copy()
    beyond[4] = CONTRACT.upper[4] + 0.02
    for k in range(200):
        rig.loop.on_joints(CONTRACT.home + min(k / 100, 1.0) * (beyond - CONTRACT.home), rig.now_ns)
        rig.run(0.01)
    assert rig.sent()[4] == pytest.approx(CONTRACT.upper[4] - 0.005, abs=1e-6)
    assert rig.core.interventions["position_limit"] > 0


def test_the_speed_scale_slows_and_nonsense_is_refused():
    rig = enabled()
    assert rig.loop.scale_speed(0.05)
    for wrong in (0.0, 1.5, float("nan"), -1.0):
        assert not rig.loop.scale_speed(wrong)
    assert rig.core.interventions["bad_speed_scale"] == 4
    rig.follow(0.5)
    before = rig.sent()
    rig.run(0.1)
    assert np.abs(rig.sent() - before)[:6].max() <= 0.05 * 3.0 * 0.1 + 1e-9


def test_arms_that_would_meet_brake_before_they_touch():
    """Both forearms swing inwards; the guard stops both, and lets them go apart again."""
    rig = enabled(command_source="joints")
    inwards = CONTRACT.home.copy()
    inwards[0], inwards[7] = -1.5, 1.5
    inwards[1] = inwards[8] = 1.9
    inwards[2] = inwards[9] = -1.3
    for k in range(300):
        rig.loop.on_joints(CONTRACT.home + min(k / 150, 1.0) * (inwards - CONTRACT.home), rig.now_ns)
        rig.run(0.01)
    assert rig.core.interventions["guard_arms"] > 0
    assert rig.core.limiter._walls._guard.clearances(rig.sent()[None])[0, 0] >= 0.0
    stopped = rig.sent()
    assert abs(stopped[0] - inwards[0]) > 0.1
    for k in range(300):
        back = inwards + min(k / 150, 1.0) * (CONTRACT.home - inwards)
        rig.loop.on_joints(back, rig.now_ns)
        rig.run(0.01)
    assert np.allclose(rig.sent(), CONTRACT.home, atol=1e-3)


# Feedback that lies


def test_an_arm_that_does_not_follow_is_held_where_it_is():
    rig = enabled()
    left = rig.arms["left"]
    left.send = lambda values: left.sent.append(values.copy())  # stuck
    for k in range(6):
        rig.loop.on_chunk(chunk_to(CONTRACT, CONTRACT.home + 2.0 * (GOAL - CONTRACT.home), EPOCH_NS, "one"))
        rig.run(0.25)
        if rig.state == State.HOLD:
            break
    assert (rig.state, rig.code) == (State.HOLD, "not_following")
    assert "left_joint1" in rig.core.machine.reason
    rig.run(1.5)
    assert np.allclose(rig.arms["left"].sent[-1][:6], left.pose[:6], atol=1e-3)


def test_an_arm_that_leaves_its_place_by_itself_is_a_fault():
    rig = enabled()
    left = rig.arms["left"]
    left.send = lambda values: None
    for _ in range(200):
        left.pose = left.pose + 0.004
        rig.run(TICK_S)
    assert (rig.state, rig.code) == (State.FAULT, "not_following")


def test_one_sample_that_leaps_is_not_believed_and_many_are_a_fault():
    rig = enabled()
    pose = rig.arms["left"].pose.copy()
    rig.arms["left"].pose = pose + 1.0
    rig.run(TICK_S)
    rig.arms["left"].pose = pose
    rig.run(0.1)
    assert rig.state == State.ENABLED
    assert rig.core.interventions["feedback_leap"] == 1
    rig.arms["left"].send = lambda values: None
    rig.arms["left"].pose = pose + 1.0
    rig.run(0.3)
    assert rig.state == State.FAULT


def test_an_arm_far_outside_of_its_limits_is_not_switched_on():
    rig = DriverRig()
    rig.run(0.2)
    for step in range(20):  # led there by hand
        rig.arms["right"].pose[1] = 0.8 - 0.06 * step
        rig.run(0.05)
    ok, why = rig.loop.enable().result(0)
    assert not ok
    assert "right_joint2" in why


def test_commands_of_another_program_are_a_fault(monkeypatch):
    rig = enabled()
    right = rig.arms["right"]
    sample = ArmFeedback(right.pose, rig.now_ns, True, foreign_commands=True)
    monkeypatch.setattr(right, "poll", lambda: [sample])
    rig.run(TICK_S)
    assert (rig.state, rig.code) == (State.FAULT, "foreign_commands")


def test_in_a_fault_the_other_arm_brakes_and_the_faulty_one_is_sent_nothing():
    rig = enabled()
    rig.follow(0.5)
    rig.arms["left"].status = 7
    counts = {side: len(rig.arms[side].sent) for side in ARM_SIDES}
    rig.run(0.3)
    assert rig.state == State.FAULT
    assert len(rig.arms["left"].sent) == counts["left"]
    braked = np.array(rig.arms["right"].sent[counts["right"] - 3 :])
    assert 2 < len(braked) < 40
    assert np.abs(braked[-1] - braked[-2]).max() < 1e-3


# Others


def test_park_goes_where_it_is_told():
    rig = enabled()
    pose = DriverParams().parking_pose(CONTRACT)
    future = rig.loop.park(pose)
    rig.run(6.0)
    assert future.result(0) == (True, "the arms are parked")
    assert (rig.state, rig.code) == (State.HOLD, "park_reached")
    assert np.allclose(rig.sent()[:6], pose[:6], atol=0.01)


def test_a_quick_way_to_the_parking_pose_does_not_run_past_it():
    """Bug: at 3 rad/s the way asks for more acceleration than there is, and the arms overshot by 0.1 rad."""
    rig = enabled(home_speed_rad_s=3.0)
    pose = DriverParams().parking_pose(CONTRACT)
    rig.loop.park(pose)
    for _ in range(600):
        rig.run(TICK_S)
        low, high = np.minimum(CONTRACT.home, pose), np.maximum(CONTRACT.home, pose)
        assert (rig.sent() >= low - 1e-6).all()
        assert (rig.sent() <= high + 1e-6).all()
    assert rig.code == "park_reached"


@pytest.mark.parametrize("text", ["1,2,3", "a", ",".join(["9"] * 14), ",".join(["nan"] * 14)])
def test_a_parking_pose_that_is_none_is_named(text):
    with pytest.raises(LaunchError, match="park_pose"):
        DriverParams(park_pose=text).parking_pose(CONTRACT)


def test_the_box_of_the_workspace_is_read_and_what_is_none_is_named():
    box = DriverParams(workspace_m="-0.1,-0.5,0,0.5,0.5,0.6").guard_settings()
    assert (box.workspace_lower_m, box.workspace_upper_m) == ((-0.1, -0.5, 0.0), (0.5, 0.5, 0.6))
    for text in ("1,2,3", "0,0,0,0,0,0", "a", "nan,0,0,1,1,1"):
        with pytest.raises(LaunchError, match="workspace_m"):
            DriverParams(workspace_m=text).guard_settings()


def test_a_start_up_check_that_does_not_exist_is_named():
    with pytest.raises(LaunchError, match="firmwares"):
        DriverParams(accept_mismatch="firmwares").accepted()
    assert DriverParams(accept_mismatch="limits, stroke").accepted() == {"limits", "stroke"}


def test_a_dry_run_sends_nothing_and_plays_torque_and_stop():
    arm = FakeArm(CONTRACT.home[:7])
    dry = DryRunArm(arm)
    dry.connect()
    assert not dry.poll()[0].enabled
    dry.request_enable(arm.pose)
    dry.send(GOAL[:7])
    assert dry.poll()[0].enabled
    dry.stop()
    assert dry.poll()[0].arm_status == 1
    dry.reset()
    assert not dry.poll()[0].enabled
    assert np.array_equal(dry.last, GOAL[:7])
    assert arm.calls == ["connect"]
    assert not arm.sent


def test_an_intervention_is_told_once_until_it_was_quiet_for_a_second():
    seen = Interventions()
    for millisecond in (0, 500, 1000, 2500):
        seen.begin_tick(EPOCH_NS + millisecond * 1_000_000)
        seen.note("velocity_limit", "left_joint1")
    assert seen.counts["velocity_limit"] == 4
    assert seen.lines() == [f"velocity_limit: {MEANING['velocity_limit']} (left_joint1)"] * 2
    assert seen.lines() == []
    with pytest.raises(KeyError, match="MEANING"):
        seen.note("whatever")


def test_jitter_is_the_distance_of_a_period_from_the_wanted_one():
    watch = TickWatch(5_000_000)
    for k in range(1000):
        start = k * 5_000_000 + (1_000_000 if k % 2 else 0)
        watch.note(start, start + 300_000)
    report = watch.report()
    assert report.ticks == 999
    assert report.jitter_p99_ms == pytest.approx(1.0)
    assert report.work_p99_ms == pytest.approx(0.3)
    assert TickWatch(5_000_000).report().ticks == 0


def test_arms_do_not_run_past_a_chunk_that_stops():
    """A forearm that comes down at 1 rad/s and may slow down at 5 rad/s^2 would run 0.1 rad too far."""
    rig = enabled()
    targets = np.tile(CONTRACT.home, (16, 1))
    targets[:, 0] += np.minimum(0.1 * np.arange(16), 0.5)
    assert rig.loop.on_chunk(ActionChunk(rig.now_ns, 0.1, targets, rig.now_ns, "down", "test")) == ""
    furthest = 0.0
    for _ in range(180):
        rig.run(TICK_S)
        furthest = max(furthest, rig.sent()[0])
    assert furthest <= 0.5 + 1e-6
    assert rig.sent()[0] == pytest.approx(0.5, abs=1e-4)


def test_a_way_to_rest_that_is_short_of_a_wall_is_no_reason_to_slow_down_for_good():
    """Bug: arms that a wall had stopped for one tick went at a fifth of the speed from then on."""
    rig = enabled()
    rig.follow(0.3)
    rig.core.limiter._waits = True
    rig.run(0.1)
    assert not rig.core.limiter.soft
    assert not rig.core.limiter._waits, "far from walls nothing waits"


def test_an_enable_during_motion_brakes_first():
    """Bug: the command jumped to rest, at whatever speed the arms were."""
    rig = enabled()
    rig.follow(0.5)
    count = len(rig.arms["left"].sent)
    future = rig.loop.enable()
    rig.run(0.3)
    assert future.result(0)[0]
    sent = np.array(rig.arms["left"].sent[count - 3 :])
    assert (np.abs(np.diff(sent, 2, axis=0))[:, :6] <= 5.0 * TICK_S**2 * (1 + 1e-6)).all()
    assert rig.state == State.ENABLED
