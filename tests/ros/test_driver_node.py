"""The driver node as ROS sees it, on emulated arms behind a real socketcand port."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import numpy as np
import pytest
from arms import chunk_to, emulated_arms, wait_until

from finevla.contract import ARM_SIDES, load_contract, services

pytestmark = pytest.mark.ros
CONTRACT = load_contract()
GOAL = CONTRACT.home + np.array([0.3, 0.2, -0.2, 0.1, 0.1, 0.2, -0.03] * 2)
CONFIGURE, CLEANUP, ACTIVATE, DEACTIVATE = 1, 2, 3, 4


class Bench:
    """A driver node, the arms it drives, and a client."""

    def __init__(self, context, port: int, **parameters) -> None:
        from cobotmagic_driver.driver_node import DriverNode
        from finevla_msgs.msg import ActionChunk, DriverState
        from finevla_perception.qos import command, latched
        from rclpy.parameter import Parameter
        from rclpy.qos import qos_profile_sensor_data
        from sensor_msgs.msg import JointState
        from spinning import Client

        values = {
            "can_interface": "socketcand",
            "can_options": json.dumps({"host": "127.0.0.1", "port": port, "tcp_tune": True}),
            "feedback_timeout_s": 0.5,
            "chunk_timeout_s": 0.4,
            **parameters,
        }
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        self.node = DriverNode(context=context, parameter_overrides=overrides)
        self.client = Client("driver_test_client", context=context)
        self.states = self.client.collect(DriverState, CONTRACT.topics.driver_state, latched())
        self.joints = {
            side: self.client.collect(JointState, arm.feedback_topic, qos_profile_sensor_data)
            for side, arm in CONTRACT.arms.items()
        }
        self.chunks = self.client.create_publisher(ActionChunk, CONTRACT.topics.action_chunk, command())
        self.leaders = {
            side: self.client.create_publisher(JointState, arm.leader_topic, 10)
            for side, arm in CONTRACT.arms.items()
        }

    def transition(self, number: int) -> bool:
        return self.client.transition(services.DRIVER_NODE, number)

    def bring_up(self) -> None:
        from std_srvs.srv import SetBool

        assert self.transition(CONFIGURE)
        assert self.transition(ACTIVATE)
        response = self.client.call(SetBool, services.DRIVER_ENABLE, data=True)
        assert response.success, response.message

    def trigger(self, service: str):
        from std_srvs.srv import Trigger

        return self.client.call(Trigger, service)

    def publish(self, instruction_id: str = "one", names=CONTRACT.joint_names, columns=slice(None)) -> None:
        from finevla_msgs.msg import ActionChunk
        from finevla_perception.convert import ns_to_stamp

        now = time.time_ns()
        targets = chunk_to(CONTRACT, GOAL, now).targets[:, columns]
        message = ActionChunk(t0=ns_to_stamp(now), dt=0.1, names=list(names), horizon=len(targets))
        message.observation_stamp, message.instruction_id = ns_to_stamp(now), instruction_id
        message.targets = targets.ravel().tolist()
        assert wait_until(lambda: self.chunks.get_subscription_count() == 1)
        self.chunks.publish(message)

    @property
    def state(self) -> tuple[int, str]:
        newest = self.states[-1]
        return newest.state, newest.reason_code

    def counts(self) -> dict[str, int]:
        newest = self.states[-1]
        return dict(zip(newest.interventions, newest.intervention_counts, strict=True))


@pytest.fixture
def make_bench(ros_context) -> Iterator:
    from contextlib import ExitStack

    from spinning import spinning

    with ExitStack() as stack, emulated_arms(CONTRACT) as bus:

        def make(port: int | None = None, **parameters) -> Bench:
            bench = Bench(ros_context, port or bus.port, **parameters)
            # Destroyed after the spinning has ended, or the executor would wait for what is gone.
            stack.callback(bench.client.destroy_node)
            stack.callback(bench.node.destroy_node)
            stack.enter_context(spinning(ros_context, bench.node, bench.client))
            return bench

        try:
            yield make
        finally:
            stack.close()


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
    for k in range(100):
        for side, arm in CONTRACT.arms.items():
            part = CONTRACT.arm_slice(side)
            values = (CONTRACT.home + (GOAL - CONTRACT.home) * min(k / 80, 1.0))[part]
            bench.leaders[side].publish(msgify_joints(arm.wire_names, values, time.time_ns()))
        time.sleep(0.01)
    assert any(state.source == "leader" for state in bench.states)
    assert wait_until(lambda: bench.state == (DriverState.HOLD, "stale_leader"))
    # Of 0.3 rad; a busy machine ticks less often, and a late tick advances by a few periods at most.
    assert bench.joints["right"][-1].position[0] - CONTRACT.home[7] > 0.05


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
