"""Every way into the driver but action chunks: sources, hand-over, stop by topic, speed, dry run, names."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest
from arms import wait_until
from driver_bench import CONTRACT, GOAL, driver_benches

from finevla.contract import ARM_SIDES, services
from finevla.contract.compat import PIPER_ROS, PRESETS

pytestmark = pytest.mark.ros
NEAR = CONTRACT.home + 0.4 * (GOAL - CONTRACT.home)


@pytest.fixture
def make_bench(ros_context) -> Iterator:
    with driver_benches(ros_context) as make:
        yield make


def publisher(bench, kind, topic, qos=10):
    made = bench.client.create_publisher(kind, topic, qos)
    assert wait_until(lambda: made.get_subscription_count() > 0)
    return made


def stream(bench, topic, names, values) -> None:
    """Joint states on their way from home to `values`, 100 a second for a second."""
    from finevla_perception.convert import msgify_joints
    from sensor_msgs.msg import JointState

    out = publisher(bench, JointState, topic)
    for k in range(100):
        now = CONTRACT.home + min(k / 70, 1.0) * (NEAR - CONTRACT.home)
        out.publish(msgify_joints(names, values(now), time.time_ns()))
        time.sleep(0.01)


def measured(bench) -> np.ndarray:
    return np.concatenate([bench.joints[side][-1].position for side in ARM_SIDES])


def test_joint_commands_by_name_move_the_arms_after_a_hand_over(make_bench):
    from finevla_msgs.msg import DriverState
    from finevla_msgs.srv import SelectSource
    from sensor_msgs.msg import JointState

    bench = make_bench()
    bench.bring_up()
    answer = bench.client.call(SelectSource, services.DRIVER_SELECT_SOURCE, source="joints")
    assert answer.success, answer.message
    assert wait_until(lambda: bench.state == (DriverState.HOLD, "handed_over"))
    assert not bench.client.call(SelectSource, services.DRIVER_SELECT_SOURCE, source="nobody").success
    bench.enable()
    assert wait_until(lambda: bench.states[-1].selected_source == "joints")
    out = publisher(bench, JointState, services.JOINT_COMMAND)
    out.publish(JointState(name=list(CONTRACT.joint_names)[:-1], position=NEAR[:-1].tolist()))
    assert wait_until(lambda: bench.counts().get("malformed_command") == 1)
    out.publish(JointState(name=list(CONTRACT.joint_names), position=NEAR.tolist()))
    assert wait_until(lambda: bench.counts().get("unstamped_command") == 1)
    assert bench.state[0] == DriverState.ENABLED
    stream(bench, services.JOINT_COMMAND, CONTRACT.joint_names[::-1], lambda now: now[::-1])
    assert any(state.source == "joints" for state in bench.states)
    assert np.abs(measured(bench) - NEAR)[:6].max() < 0.05


def test_a_joint_trajectory_moves_one_arm(make_bench):
    from builtin_interfaces.msg import Duration
    from finevla_msgs.msg import DriverState
    from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

    bench = make_bench(command_source="trajectory")
    bench.bring_up()
    out = publisher(bench, JointTrajectory, services.JOINT_TRAJECTORY)
    names = CONTRACT.arms["right"].names[:-1]
    point = JointTrajectoryPoint(positions=NEAR[7:13].tolist(), time_from_start=Duration(sec=1))
    out.publish(JointTrajectory(joint_names=names[:3], points=[point]))
    assert wait_until(lambda: bench.counts().get("malformed_command") == 1)
    out.publish(JointTrajectory(joint_names=names, points=[point]))
    assert wait_until(lambda: bench.state == (DriverState.HOLD, "trajectory_done"))
    time.sleep(0.5)
    assert np.abs(measured(bench)[7:13] - NEAR[7:13]).max() < 0.02
    assert np.abs(measured(bench)[:6] - CONTRACT.home[:6]).max() < 0.01


@pytest.mark.parametrize("latched", [False, True])
def test_the_stop_topic_stops_also_where_it_was_latched_before(make_bench, latched):
    from finevla_msgs.msg import DriverState
    from finevla_perception.qos import latched as latched_qos
    from finevla_perception.qos import reliable
    from std_msgs.msg import Bool

    bench = make_bench()
    if latched:
        out = bench.client.create_publisher(Bool, services.DRIVER_STOP_REQUEST, latched_qos())
        out.publish(Bool(data=True))
        assert bench.transition(1)
        assert bench.transition(3)
    else:
        bench.bring_up()
        out = publisher(bench, Bool, services.DRIVER_STOP_REQUEST, reliable(1))
        out.publish(Bool(data=False))
        time.sleep(0.3)
        assert bench.state[0] == DriverState.ENABLED
        out.publish(Bool(data=True))
    assert wait_until(lambda: bench.states and bench.state[0] == DriverState.STOPPED)
    assert wait_until(lambda: all(make_bench.bus.devices[side].stopped for side in ARM_SIDES))


def test_the_speed_scale_is_told_and_nonsense_counted(make_bench):
    from std_msgs.msg import Float64

    bench = make_bench()
    bench.bring_up()
    out = publisher(bench, Float64, services.DRIVER_SPEED_SCALE)
    out.publish(Float64(data=0.25))
    assert wait_until(lambda: bench.states[-1].speed_scale == 0.25)
    out.publish(Float64(data=7.0))
    assert wait_until(lambda: bench.counts().get("bad_speed_scale") == 1)
    assert bench.states[-1].speed_scale == 0.25


def test_a_dry_run_follows_and_sends_nothing(make_bench):
    from finevla_msgs.msg import DriverState

    bench = make_bench(dry_run=True)
    bench.bring_up()
    assert bench.states[-1].dry_run
    bench.publish()
    assert wait_until(lambda: bench.state[0] == DriverState.ACTIVE)
    assert wait_until(lambda: bench.state[0] == DriverState.HOLD)
    assert not any(make_bench.bus.devices[side].enabled for side in ARM_SIDES)


def test_names_of_piper_ros_are_heard_and_spoken_too(make_bench):
    from rclpy.qos import qos_profile_sensor_data
    from sensor_msgs.msg import JointState

    bench = make_bench(command_source="leader", compat=PIPER_ROS)
    topics = PRESETS[PIPER_ROS]
    heard = bench.client.collect(JointState, topics["left"].feedback, qos_profile_sensor_data)
    bench.bring_up()
    assert wait_until(lambda: len(heard) > 10)
    assert list(heard[-1].name) == list(CONTRACT.arms["left"].wire_names)
    for side in ARM_SIDES:
        publisher(bench, JointState, topics[side].command)


def test_diagnostics_tell_of_both_arms_and_of_the_loop(make_bench):
    from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
    from finevla_sim.motor_faults import OverTemperature

    bench = make_bench()
    told = bench.client.collect(DiagnosticArray, services.DIAGNOSTICS, 10)
    bench.bring_up()

    def status(name: str):
        found = [one for array in told for one in array.status if one.name == name]
        return found[-1] if found else None

    left = f"{services.DRIVER_NODE}: left arm"
    assert wait_until(lambda: status(left) is not None and status(left).level == DiagnosticStatus.OK)
    values = {pair.key: pair.value for pair in status(left).values}
    assert values["firmware"].startswith("S-V")
    assert len(values["motor_celsius"].split()) == 6
    loop = {pair.key: pair.value for pair in status(services.DRIVER_NODE).values}
    assert float(loop["tick_jitter_p99_ms"]) >= 0.0
    make_bench.bus.arms["left"].inject(OverTemperature(3, 95.0))
    assert wait_until(lambda: status(left).level == DiagnosticStatus.ERROR)
    assert "motor 3" in status(left).message
    newest = bench.states[-1].arms[0]
    assert newest.motor_temperature[2] == 95.0
    assert any("motor 3" in fault for fault in newest.faults)


def test_the_driver_parks_before_it_is_deactivated_where_that_is_wanted(make_bench):
    bench = make_bench(park_on_shutdown=True, home_speed_rad_s=3.0)
    bench.bring_up()
    assert bench.transition(4)
    target = np.concatenate([make_bench.bus.devices[side]._target for side in ARM_SIDES])
    parked = bench.node._parking_pose
    assert np.abs(target - parked)[:6].max() < 0.1, "near enough to be parked (home_tolerance_rad)"
