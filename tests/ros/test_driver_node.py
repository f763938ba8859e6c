"""The driver node as ROS sees it, on emulated arms behind a real socketcand port."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest
from arms import wait_until
from driver_bench import CLEANUP, CONFIGURE, CONTRACT, DEACTIVATE, GOAL, driver_benches

from finevla.contract import ARM_SIDES, services

pytestmark = pytest.mark.ros


@pytest.fixture
def make_bench(ros_context) -> Iterator:
    with driver_benches(ros_context) as make:
        yield make


def test_enable_move_hold_home_stop_and_two_step_reset(make_bench):
    from finevla_msgs.msg import DriverState

    bench = make_bench()
    bench.bring_up()
    bench.publish()
    assert wait_until(lambda: bench.state[0] == DriverState.ACTIVE)
    assert wait_until(lambda: bench.state == (DriverState.HOLD, "stale_chunk"))
    assert bench.states[-1].instruction_id == "one"
    newest = bench.joints["left"][-1]
    assert list(newest.name) == list(CONTRACT.arms["left"].wire_names)
    moved = newest.position[0] - CONTRACT.home[0]
    assert 0.05 < moved < 0.2, "held about 0.4 s into a motion of 0.3 rad in 1.5 s"
    home = bench.trigger(services.DRIVER_HOME)
    assert home.success, home.message
    assert wait_until(lambda: bench.state == (DriverState.HOLD, "home_reached"))
    assert bench.trigger(services.DRIVER_STOP).success
    assert wait_until(lambda: bench.state[0] == DriverState.STOPPED)
    assert not bench.trigger(services.DRIVER_HOME).success
    first = bench.trigger(services.DRIVER_RESET_STOP)
    assert not first.success
    assert "FALL" in first.message
    assert bench.trigger(services.DRIVER_RESET_STOP).success
    assert wait_until(lambda: bench.state[0] == DriverState.CONNECTED)
    assert wait_until(lambda: not any(arm.enabled for arm in bench.states[-1].arms))


def test_feedback_comes_at_200_hz_with_stamps_of_the_measurement(make_bench):
    bench = make_bench()
    bench.bring_up()
    for side in ARM_SIDES:
        bench.joints[side].clear()
    started = time.time_ns()
    assert wait_until(lambda: len(bench.joints["left"]) > 100 and len(bench.joints["right"]) > 100)
    for side in ARM_SIDES:
        stamps = [m.header.stamp.sec * 10**9 + m.header.stamp.nanosec for m in bench.joints[side]]
        assert stamps == sorted(stamps)
        assert min(stamps) > started - 10**9
        # A busy machine publishes late (8 ms beside two trainings); 100 Hz would be 10 ms.
        assert 3e6 < np.median(np.diff(stamps)) < 9e6


def test_names_in_another_order_are_followed_and_a_missing_one_is_rejected(make_bench):
    from finevla_msgs.msg import DriverState

    bench = make_bench()
    bench.bring_up()
    bench.publish(names=CONTRACT.joint_names[:-1], columns=slice(0, 13))
    assert wait_until(lambda: bench.counts().get("malformed_chunk") == 1)
    assert bench.state[0] == DriverState.ENABLED
    reverse = list(range(13, -1, -1))
    bench.publish(names=[CONTRACT.joint_names[i] for i in reverse], columns=reverse)
    assert wait_until(lambda: bench.state[0] == DriverState.HOLD)
    measured = np.concatenate([bench.joints[side][-1].position for side in ARM_SIDES])
    direction = np.sign(GOAL - CONTRACT.home)
    assert ((measured - CONTRACT.home) * direction)[np.abs(GOAL - CONTRACT.home) > 0.05].min() > 0.0


def test_leaders_move_the_arms_in_teleoperation(make_bench):
    from finevla_msgs.msg import DriverState
    from finevla_perception.convert import msgify_joints

    bench = make_bench(command_source="leader")
    bench.bring_up()
    start = CONTRACT.home[7]
    for k in range(1000):  # until the arm has come along: a busy machine ticks less often
        if k >= 100 and bench.joints["right"][-1].position[0] - start > 0.05:
            break
        for side, arm in CONTRACT.arms.items():
            part = CONTRACT.arm_slice(side)
            values = (CONTRACT.home + (GOAL - CONTRACT.home) * min(k / 80, 1.0))[part]
            bench.leaders[side].publish(msgify_joints(arm.wire_names, values, time.time_ns()))
        time.sleep(0.01)
    assert any(state.source == "leader" for state in bench.states)
    assert wait_until(lambda: bench.state == (DriverState.HOLD, "stale_leader"))
    assert bench.joints["right"][-1].position[0] - start > 0.05


def test_without_arms_configure_fails_and_says_what_to_do(make_bench, free_port, capfd):
    bench = make_bench(port=free_port)
    assert not bench.transition(CONFIGURE)
    printed = capfd.readouterr()
    assert "CAN bus of the left arm cannot be opened" in printed.out + printed.err


def test_deactivate_keeps_the_motors_on_and_cleanup_lets_configure_again(make_bench):
    bench = make_bench()
    bench.bring_up()
    bench.publish()
    assert bench.transition(DEACTIVATE)
    assert bench.transition(CLEANUP)
    bench.bring_up()
