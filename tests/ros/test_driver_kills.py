"""kill -9 of policy, cameras, recorder and driver during motion: the arms hold, nothing resumes by itself.

    pytest -m slow -s tests/ros/test_driver_kills.py        # prints how long each took

Real processes and real DDS; the arms are emulated, and their targets are looked at where they arrive.
"""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from arms import chunk_to, emulated_arms, wait_until

from finevla.bag.repair import repair
from finevla.contract import ARM_SIDES, load_contract, services

pytestmark = [pytest.mark.ros, pytest.mark.slow]
CONTRACT = load_contract()
CONFIGURE, ACTIVATE = 1, 3
CHUNK_TIMEOUT_S, CAMERA_STALE_S = 2.5, 1.0
SENTENCE = "use the left arm to pick up the red cube"
STILL_RAD = 2e-4


class Robot:
    """All processes around two emulated arms."""

    def __init__(self, context, domain: int, bus, folder: Path) -> None:
        from finevla_msgs.msg import ActionChunk, DriverState, Instruction, InstructionStatus
        from finevla_perception.qos import command, latched
        from spinning import Client

        self.env = {"ROS_DOMAIN_ID": str(domain)}
        self.bus, self.folder = bus, folder
        self.processes: dict[str, subprocess.Popen[str]] = {}
        self.client = Client("kill_test_client", context=context)
        self.states = self.client.collect(DriverState, CONTRACT.topics.driver_state, latched())
        topics = CONTRACT.topics
        self.endings = self.client.collect(InstructionStatus, topics.instruction_status, latched(10))
        self.chunks = self.client.create_publisher(ActionChunk, topics.action_chunk, command())
        self.instructions = self.client.create_publisher(Instruction, CONTRACT.topics.instruction, 10)

    def start(self, name: str) -> None:
        from node_processes import start

        options = json.dumps({"host": "127.0.0.1", "port": self.bus.port, "tcp_tune": True})
        makes: dict[str, Callable[[], subprocess.Popen[str]]] = {
            "driver": lambda: start(
                "cobotmagic_driver.driver_node",
                env=self.env,
                can_interface="socketcand",
                can_options=json.dumps(options),
                feedback_timeout_s=1.0,
                command_age_s=5.0,
                chunk_timeout_s=CHUNK_TIMEOUT_S,
            ),
            "policy": lambda: start(
                "finevla_policy.policy_node",
                env=self.env,
                latency_budget_s=1.0,
                camera_stale_s=CAMERA_STALE_S,
                joints_stale_s=1.0,
                frame_stale_s=3.0,
            ),
            "cameras": lambda: start("node_processes", env=self.env),
            "instruction": lambda: start("finevla_perception.instruction_node", env=self.env),
            "recorder": lambda: start(
                "finevla_system.recorder_node", env=self.env, out_dir=self.folder, raw_images="true"
            ),
        }
        self.processes[name] = makes[name]()

    def activate(self, node: str) -> None:
        for number in (CONFIGURE, ACTIVATE):
            assert self.client.transition(node, number)

    def enable(self) -> None:
        from std_srvs.srv import SetBool

        answer = self.client.call(SetBool, services.DRIVER_ENABLE, data=True)
        assert answer.success, answer.message

    def kill(self, name: str) -> float:
        """Kill -9; returns when."""
        process = self.processes.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait()
        return time.monotonic()

    def instruct(self) -> None:
        from finevla_msgs.msg import Instruction

        self.instructions.publish(Instruction(text=SENTENCE))

    def send_chunk(self) -> None:
        from finevla_msgs.msg import ActionChunk
        from finevla_perception.convert import ns_to_stamp

        now = time.time_ns()
        rows = chunk_to(CONTRACT, CONTRACT.home + 0.1 * (CONTRACT.upper - CONTRACT.home), now).targets
        message = ActionChunk(names=list(CONTRACT.joint_names), dt=0.1, horizon=len(rows))
        message.t0 = message.observation_stamp = ns_to_stamp(now)
        message.instruction_id, message.targets = "stubborn", rows.ravel().tolist()
        self.chunks.publish(message)

    def refused(self, code: str) -> int:
        newest = self.states[-1]
        counts = dict(zip(newest.interventions, newest.intervention_counts, strict=True))
        return int(counts.get(code, 0))

    def targets(self) -> np.ndarray:
        return np.concatenate([self.bus.devices[side]._target.copy() for side in ARM_SIDES])

    def is_moving(self, seconds: float = 0.3) -> bool:
        before = self.targets()
        time.sleep(seconds)
        return bool(np.abs(self.targets() - before).max() > STILL_RAD)

    def state(self) -> tuple[int, str]:
        return self.states[-1].state, self.states[-1].reason_code

    def begin_to_move(self) -> None:
        from finevla_msgs.msg import DriverState
        from std_srvs.srv import Trigger

        self.enable()
        assert self.client.call(Trigger, services.DRIVER_HOME).success
        self.enable()
        self.instruct()
        assert wait_until(lambda: self.state()[0] == DriverState.ACTIVE, 20.0)
        assert wait_until(self.is_moving, 10.0)

    def close(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()
        self.client.destroy_node()


@pytest.fixture
def robot(ros_context, ros_domain, tmp_path) -> Iterator[Robot]:
    from spinning import spinning

    with emulated_arms(CONTRACT) as bus:
        robot = Robot(ros_context, ros_domain, bus, tmp_path)
        try:
            for name in ("cameras", "instruction", "driver", "policy", "recorder"):
                robot.start(name)
            with spinning(ros_context, robot.client):
                robot.activate(services.DRIVER_NODE)
                robot.activate(services.POLICY_NODE)
                yield robot
        finally:
            robot.close()


def tell(victim: str, seconds: float, what: str) -> None:
    print(f"\n| kill -9 of the {victim} | {what} after {seconds * 1e3:.0f} ms |")


def require_rest(robot: Robot, seconds: float = 1.0) -> None:
    """Nothing moves, for a while."""
    assert not robot.is_moving(seconds)


def test_whoever_is_killed_the_arms_hold_and_nothing_resumes_by_itself(robot):
    from finevla_msgs.msg import DriverState
    from finevla_msgs.srv import StartRecording

    # The recorder: nobody notices.
    answer = robot.client.call(StartRecording, services.RECORDER_START, episode_id="killed")
    assert answer.success, answer.message
    robot.begin_to_move()
    robot.kill("recorder")
    (bag,) = (robot.folder / ".recording").iterdir()
    saved = repair(bag, robot.folder / "saved")
    assert wait_until(robot.is_moving, 5.0)
    assert robot.state()[0] == DriverState.ACTIVE

    assert saved.messages > 0

    # The policy: HOLD when its chunks have run out.
    killed = robot.kill("policy")
    assert wait_until(lambda: robot.state() == (DriverState.HOLD, "stale_chunk"), 10.0)
    tell("policy", time.monotonic() - killed, "HOLD, stale_chunk")
    time.sleep(0.7)  # they brake
    require_rest(robot)
    robot.start("policy")
    robot.activate(services.POLICY_NODE)
    require_rest(robot)

    # The cameras: the policy asks for a hold.
    robot.begin_to_move()
    killed = robot.kill("cameras")
    assert wait_until(lambda: robot.state() == (DriverState.HOLD, "hold_commanded"), 10.0)
    tell("cameras", time.monotonic() - killed, f"HOLD, {robot.state()[1]}")
    assert wait_until(lambda: robot.endings[-1].reason_code == "camera_stale")
    time.sleep(0.7)
    require_rest(robot)
    robot.start("cameras")
    require_rest(robot, 2.0)


def test_after_a_kill_of_the_driver_the_arms_stay_at_their_last_target(robot):
    from finevla_msgs.msg import DriverState

    robot.begin_to_move()
    robot.kill("driver")
    time.sleep(0.1)
    last = robot.targets()
    require_rest(robot)
    assert all(robot.bus.devices[side].enabled for side in ARM_SIDES), "they hold, with torque"
    robot.states.clear()
    robot.start("driver")
    robot.activate(services.DRIVER_NODE)
    assert wait_until(lambda: bool(robot.states) and robot.state()[0] == DriverState.CONNECTED)
    for _ in range(20):  # a policy that goes on
        robot.send_chunk()
        time.sleep(0.05)
    assert wait_until(lambda: robot.refused("not_enabled") > 0)
    require_rest(robot)
    assert np.array_equal(robot.targets(), last)
    robot.enable()
    assert np.abs(robot.targets() - last)[:6].max() < 0.01, "an enable holds where the arms are"
