"""The recorder in a graph of its own: one participant records, another is everything around it.

Import it after `pytest.importorskip("finevla_system.recorder_node")`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import rclpy
from fake_episode import START_NS, Fake, fake_messages
from finevla_msgs.msg import EpisodeMark
from finevla_perception.qos import latched
from finevla_system.recorder_convert import message_class, subscription_qos
from finevla_system.recorder_node import RecorderNode
from rclpy.context import Context
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from spinning import spinning

from finevla.bag.types import typestore
from finevla.contract import load_contract
from finevla.contract.episode import RecordedTopic, Role

CONTRACT = load_contract()


def until(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    """Waits for a condition and returns its value; fails where it does not come."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return value


def publishers(operator: Any, topics: Sequence[RecordedTopic]) -> dict[str, Any]:
    """Publishers of everything that is recorded, by topic, but for the recorder's own marks."""
    found = {}
    for topic in topics:
        qos = subscription_qos(topic) if topic.latched else QoSProfile(depth=1000)
        if topic.role is not Role.MARK:
            found[topic.topic] = operator.create_publisher(message_class(topic.type), topic.topic, qos)
    return found


def made(fake: Fake) -> list[tuple[int, str, bytes]]:
    """The messages of an episode as bytes, each with its stamp and topic."""
    return [
        (stamp, topic, bytes(typestore().serialize_cdr(message, message.__msgtype__)))
        for stamp, topic, message in fake_messages(fake)
    ]


def one_of_each() -> dict[str, bytes]:
    """A message for every topic that is needed."""
    first: dict[str, bytes] = {}
    for _, topic, message in made(Fake(seconds=0.1, said=())):
        first.setdefault(topic, message)
    return first


@dataclass
class Usage:
    """What `shutil.disk_usage` gives, of a disk that is nearly full."""

    free: int


@dataclass
class Graph:
    """The recorder and, in a participant of its own, everything around it."""

    recorder: Any
    operator: Any
    out: Path
    publishers: dict[str, Any]
    marks: list[EpisodeMark] = field(default_factory=list)

    def call(self, kind: type, name: str, **request: Any) -> Any:
        """The answer of a service."""
        client = self.operator.create_client(kind, name)
        assert client.wait_for_service(10.0)
        future = client.call_async(kind.Request(**request))
        return until(lambda: future.result() if future.done() else None)

    def warm_up(self, *without: str) -> None:
        """A message on every topic that is needed, so that the recorder may start."""
        first = one_of_each()
        before = {topic: self.recorder.watch.arrived_ns(topic) for topic in first}

        def silent() -> set[str]:
            arrived = self.recorder.watch.arrived_ns
            return {t for t in first.keys() - set(without) if arrived(t) == before[t]}

        def heard() -> bool:
            for topic in silent():
                self.publishers[topic].publish(first[topic])
            time.sleep(0.2)
            return not silent()

        # Again until it is heard: a publisher may know a subscription that does not know it yet.
        until(heard)

    def replay(self, fake: Fake) -> int:
        """Plays an episode in real time, byte for byte; returns the number of messages."""
        return self.play(made(fake))

    def play(self, log: list[tuple[int, str, bytes]]) -> int:
        """Plays what `made` has made; returns the number of messages."""
        begin = time.monotonic()
        for stamp, topic, message in log:
            wait = (stamp - START_NS) / 1e9 - (time.monotonic() - begin)
            if wait > 0:
                time.sleep(wait)
            self.publishers[topic].publish(message)
        time.sleep(0.3)  # the last messages are on their way
        return len(log)


@contextmanager
def recorder_graph(out: Path, domain: int, overrides: list[Parameter] | None = None) -> Iterator[Graph]:
    """Two participants on one domain: nothing passes between them but DDS.

    Args:
        out: Folder of the bags.
        domain: ROS domain.
        overrides: Further parameters of the recorder.
    """
    contexts = (Context(), Context())
    for context in contexts:
        rclpy.init(context=context, domain_id=domain)
    parameters = [Parameter("out_dir", value=str(out)), Parameter("operator", value="test")]
    node = RecorderNode(context=contexts[0], parameter_overrides=[*parameters, *(overrides or [])])
    operator = rclpy.create_node("operator", context=contexts[1])
    graph = Graph(node, operator, out, publishers(operator, node.topics))
    operator.create_subscription(EpisodeMark, CONTRACT.topics.episode_mark, graph.marks.append, latched())
    try:
        with spinning(contexts[0], node), spinning(contexts[1], operator):
            try:
                until(lambda: all(p.get_subscription_count() for p in graph.publishers.values()))
                yield graph
            finally:
                node.finish()  # before its executor ends, which waits for those who wait for a recording
    finally:
        node.destroy_node()
        operator.destroy_node()
        for context in contexts:
            context.try_shutdown()
