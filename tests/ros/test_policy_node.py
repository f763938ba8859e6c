"""The policy node with a tiny policy: instructions become chunks, faults become holds."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("finevla_msgs.msg")
module = pytest.importorskip("finevla_policy.policy_node")

from finevla_msgs.msg import ActionChunk as ActionChunkMsg
from finevla_msgs.msg import DriverState, InstructionStatus, ParsedInstruction, PolicyStatus
from finevla_msgs.srv import LoadCheckpoint
from finevla_perception import convert
from finevla_perception.qos import command, latched
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from ros_rig import RosRig, until
from sensor_msgs.msg import Image, JointState
from std_srvs.srv import Trigger

from finevla.contract import ARM_SIDES, REPLAN_FRAMES, ActionChunk, load_contract, services
from finevla.errors import BundleError, InstructionError

pytestmark = pytest.mark.ros
CONTRACT = load_contract()
STATUS = InstructionStatus


class TinyPolicy:
    """Moves the first joint of the arm that is named, or rests; sees the mean of its picture."""

    cameras = ("cam_high",)

    def __init__(self, path, delay_s=0.0):
        if path == "broken":
            raise BundleError("the bundle has another joint order", where=path, remedy="export again")
        self.checkpoint_id = f"tiny:{path or 'shipped'}"
        self.delay_s = delay_s
        self.rest = False
        self.seen = []

    def check_instruction(self, text):
        if "zorp" in text:
            raise InstructionError("the word zorp is unknown", expected="left right")

    def warm_up(self, repeats=3):
        time.sleep(self.delay_s)

    def infer(self, observation, text, instruction_id):
        self.seen.append((float(observation.images["cam_high"].mean()), observation.state.copy()))
        targets = np.tile(observation.state, (CONTRACT.horizon, 1))
        if not self.rest:
            joint = CONTRACT.arm_slice("left" if "left" in text else "right").start
            targets[:, joint] += np.linspace(0, 0.5, CONTRACT.horizon)
        return ActionChunk(
            observation.stamp_ns,
            CONTRACT.frame_period_s,
            targets,
            observation.stamp_ns,
            instruction_id,
            self.checkpoint_id,
        )


class Robot:
    """Publishes cameras, joints and driver state at a steady pace until told to stop one of them."""

    def __init__(self, rig):
        node = rig.peer
        qos = qos_profile_sensor_data
        self.dead = set()
        self.images = {
            c: node.create_publisher(Image, CONTRACT.cameras[c].raw_topic, qos) for c in CONTRACT.cameras
        }
        self.arms = {
            s: node.create_publisher(JointState, CONTRACT.arms[s].feedback_topic, qos) for s in ARM_SIDES
        }
        self.state = node.create_publisher(DriverState, CONTRACT.topics.driver_state, latched())
        self.driver = DriverState(state=DriverState.ENABLED)
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        picture = np.full((240, 320, 3), 7, np.uint8)
        for k in range(10_000):
            if self.stop.wait(0.01):
                return
            now_ns = time.time_ns()
            for side, publisher in self.arms.items():
                values = CONTRACT.home[CONTRACT.arm_slice(side)]
                names = CONTRACT.arms[side].wire_names
                publisher.publish(convert.msgify_joints(names[::-1], values[::-1], now_ns))
            if k % 5 == 0:
                for camera, publisher in self.images.items():
                    if camera not in self.dead:
                        publisher.publish(convert.msgify_image(picture, now_ns, camera))
                self.state.publish(self.driver)


class Bench:
    """The node under test, its robot, and all that it published."""

    def __init__(self, rig, **params):
        self.rig = rig
        self.policies = []
        # Patient where a test is not about patience: a garbage collection of a long run takes its time.
        params = {"joints_stale_s": 3.0, "driver_stale_s": 5.0, "frame_stale_s": 5.0, **params}
        overrides = [Parameter(name, value=value) for name, value in params.items()]
        self.node = rig.add(module.PolicyNode(self.load, context=rig.context, parameter_overrides=overrides))
        topics = CONTRACT.topics
        self.chunks = rig.collect(ActionChunkMsg, topics.action_chunk, command())
        self.reports = rig.collect(STATUS, topics.instruction_status, latched(10))
        self.statuses = rig.collect(PolicyStatus, topics.policy_status, latched())
        self.said = rig.peer.create_publisher(ParsedInstruction, topics.instruction_parsed, latched())
        self.robot = Robot(rig)

    def load(self, path):
        self.policies.append(TinyPolicy(path, delay_s=0.3 if path == "slow" else 0.0))
        return self.policies[-1]

    def change(self, transition):
        request = ChangeState.Request(transition=Transition(id=transition))
        return self.rig.call(ChangeState, f"/{services.POLICY_NODE}/change_state", request).success

    def up(self):
        assert self.change(Transition.TRANSITION_CONFIGURE)
        assert self.change(Transition.TRANSITION_ACTIVATE)
        until(lambda: self.statuses and self.statuses[-1].state == PolicyStatus.IDLE)
        until(lambda: self.rig.peer.count_publishers(CONTRACT.topics.action_chunk) == 1)
        until(self.node._chunks.get_subscription_count)
        return self

    def say(self, name, text="lift it with the left arm"):
        msg = ParsedInstruction(id=name, text=text)
        msg.header.stamp = convert.ns_to_stamp(time.time_ns())
        self.said.publish(msg)

    def report(self, name, state):
        return until(lambda: next((r for r in self.reports if (r.id, r.state) == (name, state)), None))

    def load_checkpoint(self, path):
        request = LoadCheckpoint.Request(path=path)
        return self.rig.call(LoadCheckpoint, services.POLICY_LOAD_CHECKPOINT, request)

    def close(self):
        self.robot.stop.set()
        self.robot.thread.join(5)
        self.node.close()


@pytest.fixture
def make():
    benches = []
    with RosRig() as rig:

        def build(**params):
            benches.append(Bench(rig, **params))
            return benches[-1]

        yield build
        for bench in benches:
            bench.close()


def test_an_instruction_becomes_chunks_and_ends_at_rest(make):
    bench = make().up()
    bench.say("a")
    applied = bench.report("a", STATUS.APPLIED)
    chunk = until(lambda: bench.chunks)[0]
    assert (chunk.sequence, applied.step, chunk.horizon) == (1, 1, CONTRACT.horizon)
    assert list(chunk.names) == list(CONTRACT.joint_names)
    assert (chunk.instruction_id, chunk.checkpoint_id) == ("a", "tiny:shipped")
    assert chunk.t0 == chunk.observation_stamp
    targets = np.array(chunk.targets).reshape(chunk.horizon, -1)
    assert targets[-1, 0] - CONTRACT.home[0] == pytest.approx(0.5)
    assert targets[-1, 7] == pytest.approx(CONTRACT.home[7])
    mean, state = bench.policies[0].seen[0]
    assert mean == 7
    assert np.allclose(state, CONTRACT.home)
    bench.policies[0].rest = True
    assert bench.report("a", STATUS.FINISHED).reason_code == "settled"
    until(lambda: bench.statuses[-1].state == PolicyStatus.IDLE)
    assert bench.statuses[-1].latency_p95_s > 0
    gaps = np.diff([convert.stamp_to_ns(c.t0) for c in bench.chunks]) / 1e9
    # Never sooner than planned; a busy machine may lose a frame or two.
    assert gaps.min() > (REPLAN_FRAMES - 0.6) * CONTRACT.frame_period_s
    assert np.median(gaps) < (REPLAN_FRAMES + 2) * CONTRACT.frame_period_s


def test_a_dead_camera_holds_and_a_new_instruction_goes_on(make):
    bench = make(camera_stale_s=1.0).up()
    for name, camera in [("a", "cam_high"), ("b", "cam_right_wrist")]:
        bench.robot.dead = set()
        time.sleep(0.3)
        bench.say(name)
        bench.report(name, STATUS.APPLIED)
        bench.robot.dead = {camera}
        finished = bench.report(name, STATUS.FINISHED)
        assert finished.reason_code == "camera_stale"
        assert CONTRACT.cameras[camera].topic in finished.reason
        until(lambda: bench.statuses[-1].state == PolicyStatus.HOLDING)
        assert bench.chunks[-1].horizon == 0
        assert bench.chunks[-1].dt == 0.0
    count = len(bench.chunks)
    time.sleep(0.5)
    assert len(bench.chunks) == count


def test_unknown_word_supersede_cancel_and_stopped_driver(make):
    bench = make().up()
    bench.say("a", "zorp it")
    refused = bench.report("a", STATUS.REJECTED)
    assert (refused.reason_code, "zorp" in refused.reason) == ("unknown_word", True)
    bench.say("b")
    bench.report("b", STATUS.APPLIED)
    bench.say("c", "lift it with the right arm")
    bench.report("b", STATUS.SUPERSEDED)
    bench.report("c", STATUS.APPLIED)
    assert bench.rig.call(Trigger, services.POLICY_CANCEL, Trigger.Request()).success
    assert bench.report("c", STATUS.FINISHED).reason_code == "canceled"
    assert not bench.rig.call(Trigger, services.POLICY_CANCEL, Trigger.Request()).success
    bench.say("d")
    bench.report("d", STATUS.APPLIED)
    bench.robot.driver = DriverState(state=DriverState.STOPPED, reason_code="stop", reason="the button")
    finished = bench.report("d", STATUS.FINISHED)
    assert (finished.reason_code, "the button" in finished.reason) == ("driver_stopped", True)


def test_a_refused_bundle_leaves_the_node_unconfigured_and_says_why(make):
    bench = make(bundle="broken")
    assert not bench.change(Transition.TRANSITION_CONFIGURE)
    status = until(lambda: next((s for s in bench.statuses if s.reason_code == "bundle_refused"), None))
    assert "another joint order" in status.reason
    assert "export again" in status.reason
    assert status.state == PolicyStatus.INACTIVE
    assert not bench.load_checkpoint("good").success
    assert not bench.change(Transition.TRANSITION_ACTIVATE)


def test_a_policy_slower_than_the_budget_is_refused(make):
    bench = make(bundle="slow", latency_budget_s=0.1)
    assert not bench.change(Transition.TRANSITION_CONFIGURE)
    until(lambda: any("too slow" in s.reason for s in bench.statuses))


def test_a_checkpoint_is_swapped_between_two_inferences_or_refused(make):
    bench = make().up()
    bench.say("a")
    bench.report("a", STATUS.APPLIED)
    refused = bench.load_checkpoint("broken")
    assert (refused.success, "another joint order" in refused.message) == (False, True)
    answer = bench.load_checkpoint("second")
    assert (answer.success, answer.checkpoint_id) == (True, "tiny:second")
    until(lambda: bench.chunks[-1].checkpoint_id == "tiny:second")
    ids = [chunk.checkpoint_id for chunk in bench.chunks]
    assert ids == sorted(ids, key=lambda i: i == "tiny:second")
    assert {chunk.instruction_id for chunk in bench.chunks} == {"a"}
    until(lambda: bench.statuses[-1].checkpoint_id == "tiny:second")


def test_a_latched_instruction_from_before_moves_nothing(make):
    bench = make()
    bench.say("early")
    bench.up()
    assert bench.report("early", STATUS.REJECTED).reason_code == "not_active"
    time.sleep(0.4)
    assert bench.chunks == []
    bench.say("a")
    bench.report("a", STATUS.APPLIED)
    assert bench.change(Transition.TRANSITION_DEACTIVATE)
    assert bench.report("a", STATUS.FINISHED).reason_code == "deactivated"
    until(lambda: bench.chunks[-1].horizon == 0)
    assert bench.change(Transition.TRANSITION_CLEANUP)
    assert bench.change(Transition.TRANSITION_CONFIGURE)
