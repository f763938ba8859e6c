"""Curves of the command: against Ruckig's own way to rest, and against their limits."""

from __future__ import annotations

import numpy as np
import pytest
from cobotmagic_driver.motion import Motion, MotionLimits, MotionPlanner
from hypothesis import given, settings
from hypothesis import strategies as st
from ruckig import ControlInterface, InputParameter, Ruckig, Synchronization, Trajectory

LIMITS = MotionLimits(np.array([3.0, 3.0]), np.array([5.0, 2.0]), np.array([200.0, 40.0]))
DT_S = 0.005


def ruckigs(now: Motion) -> Trajectory:
    """The way to rest that Ruckig finds."""
    what = InputParameter(2)
    what.control_interface, what.synchronization = ControlInterface.Velocity, Synchronization.No
    what.current_position, what.current_velocity = now.position.tolist(), now.velocity.tolist()
    what.current_acceleration = now.acceleration.tolist()
    what.target_velocity = what.target_acceleration = [0.0, 0.0]
    what.max_velocity = LIMITS.velocity.tolist()
    what.max_acceleration, what.max_jerk = LIMITS.acceleration.tolist(), LIMITS.jerk.tolist()
    trajectory = Trajectory(2)
    assert Ruckig(2).calculate(what, trajectory) >= 0
    return trajectory


SHARE = st.floats(-1.0, 1.0)


@settings(max_examples=300, deadline=None)
@given(st.lists(SHARE, min_size=6, max_size=6))
def test_the_way_to_rest_is_ruckigs_and_its_extrema_hold(shares):
    position, velocity, acceleration = np.array(shares).reshape(3, 2)
    now = Motion(position, velocity * LIMITS.velocity, acceleration * LIMITS.acceleration)
    path, reference = MotionPlanner(LIMITS).stopping(now), ruckigs(now)
    assert path.duration_s == pytest.approx(reference.duration, abs=1e-6)
    times = np.linspace(0.0, path.duration_s, 60)
    ours = path.positions(times)
    theirs = np.array([reference.at_time(float(time))[0] for time in times])
    assert np.abs(ours - theirs).max() < 1e-7
    assert (ours >= path.lowest - 1e-9).all()
    assert (ours <= path.highest + 1e-9).all()
    assert np.abs(ours.min(axis=0) - path.lowest).max() < 2e-3, "the extrema are reached"
    assert np.abs(ours.max(axis=0) - path.highest).max() < 2e-3
    assert path.at(path.duration_s).is_at_rest
    assert np.allclose(
        path.at(path.duration_s / 2).velocity, reference.at_time(path.duration_s / 2)[1], atol=1e-6
    )


def test_a_target_that_moves_steadily_is_caught_up_with_and_not_lagged_behind():
    planner, motion = MotionPlanner(LIMITS), Motion.at_rest_at(np.zeros(2))
    speed = np.array([0.4, -0.3])
    for tick in range(1, 120):
        motion = planner.toward(motion, speed * DT_S * tick, speed, LIMITS.velocity, DT_S)
        assert (np.abs(motion.velocity) <= LIMITS.velocity + 1e-9).all()
        assert (np.abs(motion.acceleration) <= LIMITS.acceleration + 1e-9).all()
    assert np.allclose(motion.position, speed * DT_S * 119, atol=1e-6)
    assert np.allclose(motion.velocity, speed, atol=1e-6)


def test_a_motion_faster_than_allowed_is_slowed_down_and_not_cut():
    planner = MotionPlanner(LIMITS)
    motion = Motion(np.zeros(2), np.array([2.0, 0.0]), np.zeros(2))
    velocities = []
    for _ in range(200):
        motion = planner.toward(motion, np.array([9.0, 0.0]), np.zeros(2), np.array([0.5, 0.5]), DT_S)
        velocities.append(motion.velocity[0])
    assert velocities[0] > 1.9
    assert velocities[-1] == pytest.approx(0.5)
    assert (np.abs(np.diff(velocities)) <= 5.0 * DT_S + 1e-9).all()
