"""A replayed bag in a real graph: what arrives is the bag, and nobody's topics are played over."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_episode import TEXT, Fake, fake_bag

rclpy = pytest.importorskip("rclpy")
replay_node = pytest.importorskip("finevla_system.replay_node")

from finevla_msgs.msg import DriverState
from finevla_msgs.srv import StartRecording, StopRecording
from finevla_perception.qos import latched
from finevla_system.recorder_convert import message_class
from finevla_system.recorder_node import RecorderNode
from rclpy.context import Context
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, JointState
from spinning import answer_of, spinning

from finevla.bag.cdr import stamp_of
from finevla.bag.raw_log import Logged, RawLog
from finevla.contract import load_contract
from finevla.contract.episode import Role, recorded_topics
from finevla.contract.services import RECORDER_START, RECORDER_STOP
from finevla.errors import BagError
from finevla.stages.convert.verb import Config, convert

pytestmark = pytest.mark.ros
CONTRACT = load_contract()
TOPICS = {t.topic: t for t in recorded_topics(CONTRACT)}
CAMERA = CONTRACT.cameras["cam_high"].compressed_topic
FEEDBACK = CONTRACT.arms["left"].feedback_topic
EVERYTHING = QoSProfile(depth=5000, reliability=ReliabilityPolicy.BEST_EFFORT)
SAFE = {t.topic for t in TOPICS.values() if t.role in {Role.CAMERA, Role.FEEDBACK}}


def until(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
    return value


class Audience:
    """A participant that hears every topic of the contract, as bytes, with the time of its publication."""

    def __init__(self, domain: int) -> None:
        self.domain, self.rivals = domain, 0
        self.context = Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = rclpy.create_node("audience", context=self.context)
        self.listeners = [self.node]
        self.heard: list[Logged] = []
        for topic in TOPICS.values():
            self.node.create_subscription(
                message_class(topic.type),
                topic.topic,
                lambda cdr, info, name=topic.topic: self.heard.append(
                    Logged(name, info["source_timestamp"], cdr)
                ),
                EVERYTHING,
                raw=True,
            )

    def all_know(self, node: Any) -> bool:
        """Whether every listener and every publisher of a replay have found each other."""
        return all(
            publisher.get_subscription_count() >= len(self.listeners)
            and all(
                node.get_name() in {info.node_name for info in listener.get_publishers_info_by_topic(topic)}
                for listener in self.listeners
            )
            for topic, publisher in node._streams.items()
        )

    def of(self, topic: str) -> list[bytes]:
        return [message.cdr for message in self.heard if message.topic == topic]

    @property
    def topics(self) -> set[str]:
        return {message.topic for message in self.heard}


@pytest.fixture
def audience(ros_domain: int) -> Iterator[Audience]:
    audience = Audience(ros_domain)
    with spinning(audience.context, audience.node):
        yield audience
    audience.node.destroy_node()
    audience.context.try_shutdown()


@contextmanager
def replaying(audience: Audience, bag: Path, **parameters: Any) -> Iterator[Any]:
    """A replay in a participant of its own; it begins when everybody has found everybody."""
    context = Context()
    rclpy.init(context=context, domain_id=audience.domain)
    parameters = {"bag": str(bag), "delay_s": 60.0, **parameters}
    overrides = [Parameter(name, value=value) for name, value in parameters.items()]
    try:
        node = replay_node.ReplayNode(context=context, parameter_overrides=overrides)
        with spinning(context, node):
            try:
                until(lambda: audience.all_know(node))
                until(lambda: len(node.others()) == audience.rivals)
                time.sleep(0.2)  # a topic is found a moment before its two ends are connected
                node.begin()
                yield node
            finally:
                node.close()
        node.destroy_node()
    finally:
        context.try_shutdown()


def played(audience: Audience, bag: Path, **parameters: Any) -> Any:
    """A replay after its end."""
    with replaying(audience, bag, **parameters) as node:
        until(node.ended.done)
    return node


def logged(bag: Path) -> list[Logged]:
    with RawLog(bag) as log:
        return list(log.messages(set(log.kinds()), *log.span_ns))


def test_cameras_and_feedback_arrive_message_for_message_and_nothing_that_commands(
    audience: Audience, tmp_path: Path
) -> None:
    bag = fake_bag(tmp_path, fake=Fake(seconds=1.0, camera_hz=30.0))
    node = played(audience, bag)
    assert node.clean
    log = logged(bag)
    assert {m.topic for m in log} > SAFE, "the bag holds leaders and an instruction too"
    assert audience.topics == SAFE
    for topic in SAFE:
        assert audience.of(topic) == [m.cdr for m in log if m.topic == topic], topic
    assert dict(node.tally.counts) == {topic: len(audience.of(topic)) for topic in SAFE}
    # In the distances of the log: 200 messages in a second, each where it belongs.
    sent, due = (np.array([m.log_ns for m in ms if m.topic == FEEDBACK]) for ms in (audience.heard, log))
    assert np.median(np.abs((sent - sent[0]) - (due - due[0]))) < 20e6
    assert node.pace.worst_s < 1.0


def test_what_commands_is_played_where_it_is_asked_for(audience: Audience, tmp_path: Path) -> None:
    bag = fake_bag(tmp_path, fake=Fake(seconds=0.3))
    assert played(audience, bag, roles="leader,instruction,parsed", rate=2.0).clean
    leaders = {arm.leader_topic for arm in CONTRACT.arms.values()}
    texts = {CONTRACT.topics.instruction, CONTRACT.topics.instruction_parsed}
    assert audience.topics == leaders | texts
    for topic in leaders | texts:
        assert audience.of(topic) == [m.cdr for m in logged(bag) if m.topic == topic]


def test_new_stamps_are_those_of_now_and_keep_all_skews(audience: Audience, tmp_path: Path) -> None:
    bag = fake_bag(tmp_path, fake=Fake(seconds=0.5))
    before_ns = time.time_ns()
    assert played(audience, bag, stamps="now").clean
    log = logged(bag)
    shifts = set()
    for topic in SAFE:
        ours, theirs = audience.of(topic), [m.cdr for m in log if m.topic == topic]
        assert [cdr[12:] for cdr in ours] == [cdr[12:] for cdr in theirs]
        shifts |= {stamp_of(a) - stamp_of(b) for a, b in zip(ours, theirs, strict=True)}
    assert len(shifts) == 1
    first_ns = log[0].log_ns + shifts.pop()
    assert before_ns < first_ns < time.time_ns()


def test_a_part_in_a_loop_until_it_is_told_to_stop(audience: Audience, tmp_path: Path) -> None:
    bag = fake_bag(tmp_path, fake=Fake(seconds=1.0))
    part = [m for m in logged(bag) if m.topic == FEEDBACK and 200 <= (m.log_ns // 1_000_000) % 1_000 < 400]
    with replaying(audience, bag, topics=FEEDBACK, start_s=0.2, end_s=0.4, loop=True) as node:
        until(lambda: node.tally.laps == 3)
        assert not node.ended.done()
    assert node.clean
    assert len(part) == 40
    assert audience.of(FEEDBACK)[:80] == [m.cdr for m in part] * 2


def test_it_refuses_where_somebody_else_publishes_and_names_him(audience: Audience, tmp_path: Path) -> None:
    bag = fake_bag(tmp_path, fake=Fake(seconds=0.3))
    audience.node.create_publisher(CompressedImage, CAMERA, 10)
    audience.rivals = 1
    node = played(audience, bag)
    assert not node.clean
    assert f"{CAMERA}: /audience" in node.failure.found
    assert audience.heard == []
    audience.rivals = 0
    assert played(audience, bag, roles="feedback").clean, "nobody else publishes these"
    audience.rivals = 1
    audience.heard.clear()
    assert played(audience, bag, allow_others=True).clean
    assert audience.topics == SAFE


def test_it_refuses_beside_a_driver(audience: Audience, tmp_path: Path) -> None:
    bag = fake_bag(tmp_path, fake=Fake(seconds=0.3))
    audience.node.create_publisher(DriverState, CONTRACT.topics.driver_state, latched())
    audience.rivals = 1
    node = played(audience, bag, roles="camera")
    assert CONTRACT.topics.driver_state in node.failure.found
    assert audience.heard == []


def test_it_ends_where_somebody_begins_to_publish(audience: Audience, tmp_path: Path) -> None:
    bag = fake_bag(tmp_path, fake=Fake(seconds=1.0))
    with replaying(audience, bag, loop=True) as node:
        until(lambda: audience.heard)
        audience.node.create_publisher(JointState, FEEDBACK, 10)
        until(node.ended.done)
        assert f"{FEEDBACK}: /audience" in node.failure.found


def test_a_bag_that_is_none_and_a_window_without_messages_are_refused(
    audience: Audience, tmp_path: Path
) -> None:
    with pytest.raises(BagError, match="not a finished bag"), replaying(audience, tmp_path):
        pass
    fake = Fake(seconds=1.0, keep=lambda topic, ms: topic != CAMERA or ms < 100)
    node = played(audience, fake_bag(tmp_path, fake=fake), topics=CAMERA, start_s=0.5)
    assert "no message lies between" in str(node.failure)


def test_a_bag_that_was_replayed_and_recorded_again_converts_to_the_same_frames(
    audience: Audience, ros_domain: int, tmp_path: Path
) -> None:
    bag = fake_bag(tmp_path / "in", "original", Fake(seconds=1.0, camera_hz=30.0))
    every = "camera,feedback,leader,instruction,parsed"
    context = Context()
    rclpy.init(context=context, domain_id=ros_domain)
    overrides = [Parameter("out_dir", value=str(tmp_path / "bags")), Parameter("fresh_s", value=60.0)]
    recorder = RecorderNode(context=context, parameter_overrides=overrides)
    operator = rclpy.create_node("operator", context=context)
    audience.listeners.append(recorder)
    with spinning(context, recorder, operator):
        assert played(audience, bag, roles="camera,feedback,leader").clean  # so that the recorder may start
        request = StartRecording.Request(episode_id="again", instruction=TEXT)
        started = answer_of(operator.create_client(StartRecording, RECORDER_START), request, 20.0)
        assert started.success, started.message
        sent = played(audience, bag, roles=every).tally.counts.total()
        request = StopRecording.Request(outcome="success")
        stopped = answer_of(operator.create_client(StopRecording, RECORDER_STOP), request, 20.0)
        assert stopped.success, stopped.message
        assert stopped.messages == sent + 2, stopped.message  # and the two marks
    recorder.finish()
    recorder.destroy_node()
    operator.destroy_node()
    context.try_shutdown()
    found = [
        convert(Config(bags=(path,), out=tmp_path / f"set_{path.name}")) for path in (bag, Path(stopped.path))
    ]
    assert found[0]["frames"] == found[1]["frames"] > 5
    assert found[0]["dataset_hash"] == found[1]["dataset_hash"]


def run(domain: int, **parameters: object) -> subprocess.CompletedProcess[str]:
    words = [word for name, value in parameters.items() for word in ("-p", f"{name}:={value}")]
    return subprocess.run(
        [sys.executable, "-m", "finevla_system.replay_node", "--ros-args", *words],
        env={**os.environ, "ROS_DOMAIN_ID": str(domain)},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_process_ends_by_itself_and_says_what_it_played(ros_domain: int, tmp_path: Path) -> None:
    bag = fake_bag(tmp_path, fake=Fake(seconds=0.5))
    done = run(ros_domain, bag=bag, rate=5.0, delay_s=0.1)
    assert done.returncode == 0, done.stderr
    expected = sum(m.topic in SAFE for m in logged(bag))
    assert f"{expected} messages, at worst" in done.stdout + done.stderr
    refused = run(ros_domain, bag=bag, roles="mark")
    assert refused.returncode == 2
    assert "no message of what should be replayed" in refused.stdout + refused.stderr
