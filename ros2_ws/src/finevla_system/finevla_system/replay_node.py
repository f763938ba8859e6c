"""The node `finevla_replay`: a recorded episode on the topics of the contract, as if the robot ran.

Messages are published as the bytes that the bag holds, in the order and the distances of the log; one that is
late is published late, never left out. By default only what a robot says is played: its cameras and measured
joints. Leader joints, instructions and marks are commands: a driver that follows its leaders would move real
arms after a recording, a policy would obey the sentence. So they have to be asked for; and where a driver
runs, or somebody else publishes one of the topics, nothing is played at all unless `allow_others` says so.
"""

from __future__ import annotations

import sys
import threading
import time
from itertools import chain, islice
from pathlib import Path
from typing import Any

from finevla_perception.qos import publish
from finevla_perception.run import REFUSED, run_node
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import ReliabilityPolicy
from rclpy.task import Future

from finevla.bag.raw_log import RawLog
from finevla.contract.params import read
from finevla.contract.robot import load_contract
from finevla.contract.services import REPLAY_NODE
from finevla.errors import BagError, FineVLAError, LaunchError
from finevla_system.recorder_convert import message_class
from finevla_system.replay_convert import offered_qos
from finevla_system.replay_params import ReplayParams
from finevla_system.replay_plan import Choice, Pace, Stamps, Tally, choose, window

LOOK_S = 1.0
"""How often it is looked whether somebody else has begun to publish, s."""
LATE_S = 0.1
"""A message that is later than this is worth a warning, s."""
LINGER_S = 0.5
"""The last messages reach their readers before the publishers go, s."""


class ReplayNode(Node):  # type: ignore[misc]
    """Plays one bag in a thread of its own.

    Attributes:
        ended: Future that is done when the bag was played, or when playing failed.
        failure: Why playing was refused or broke off; None where it was not.
        clean: Whether playing ended as it should.
        tally: What was published so far.

    Args:
        node_args: Further arguments of `Node`, such as `context`.

    Raises:
        BagError: The bag cannot be read, or holds nothing of what was asked for.
        LaunchError: A parameter is wrong.
    """

    def __init__(self, **node_args: Any) -> None:
        super().__init__(REPLAY_NODE, **node_args)
        self.params: ReplayParams = read(self, ReplayParams, ParameterDescriptor)
        self.contract = load_contract(self.params.contract_file)
        self.ended: Future = Future()
        self.failure: FineVLAError | None = None
        self.clean = False
        self.tally = Tally()
        self._log = RawLog(Path(self.params.bag), self.contract)
        self._choice = self._chosen()
        begin, end = window(self._log.span_ns, self.params.start_s, self.params.end_s, self.params.bag)
        self._window = (begin, end)
        self.pace = Pace(begin, end - begin, self.params.rate, time.monotonic)
        moved = self.params.stamps == "now"
        self._stamps = Stamps(begin, end - begin, self._now_ns if moved else None)
        if moved and self.params.rate != 1.0:
            self.get_logger().warning(
                f"at {self.params.rate:g} times the speed stamps drift away from now: their distances stay"
            )
        self._streams = {
            topic.topic: self.create_publisher(message_class(topic.type), topic.topic, offered_qos(topic))
            for topic in self._choice.topics
        }
        self._begin, self._stop = threading.Event(), threading.Event()
        self.create_timer(LOOK_S, self._look)
        self._thread = threading.Thread(target=self._run, name="replay", daemon=True)
        self._thread.start()

    def begin(self) -> None:
        """Begins at once, without the rest of the delay: for those who know that everybody was found."""
        self._begin.set()

    def others(self) -> list[str]:
        """Who else publishes what is played, and a driver that runs: "topic: node"."""
        own, found = (self.get_name(), self.get_namespace()), []
        for topic in (*self._streams, self.contract.topics.driver_state):
            names = [(i.node_name, i.node_namespace) for i in self.get_publishers_info_by_topic(topic)]
            if topic in self._streams and own in names:
                names.remove(own)  # once: another replay of the same name is another publisher
            found += [f"{topic}: {space.rstrip('/')}/{name}" for name, space in names]
        return found

    def close(self) -> None:
        """Ends the thread and says what was played."""
        self._end()
        self._thread.join(timeout=5.0)
        self._log.close()
        self.get_logger().info(self.tally.text(self.pace.worst_s))

    def _chosen(self) -> Choice:
        kinds = self._log.kinds()
        choice = choose(self.contract, kinds, self.params.roles, self.params.topics, self.params.bag)
        if choice.absent:
            self.get_logger().warning(f"not in the bag: {', '.join(choice.absent)}")
        for topic in choice.topics:
            if self._log.differs(topic.type):
                raise BagError(
                    "the bag was made with another version of a message",
                    where=f"{self.params.bag}: {topic.topic}",
                    expected=f"{topic.type} as in this version",
                    found="another definition",
                    remedy="leave the topic out (parameters roles and topics); `finevla convert` reads it",
                )
        return choice

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    def _look(self) -> None:
        """Ends the replay where somebody else has begun to publish."""
        if self.failure is None and not self.params.allow_others and (others := self.others()):
            self.failure = LaunchError(
                "somebody else publishes what should be replayed, or a driver runs",
                where=f"node {REPLAY_NODE}",
                expected="nobody: readers would get two robots at once, and a driver could move real arms",
                found=", ".join(others),
                remedy="end these nodes, choose other topics (roles, topics), or set allow_others:=true",
            )
            self._end()

    def _end(self) -> None:
        self._stop.set()
        self._begin.set()

    def _run(self) -> None:
        try:
            self._begin.wait(self.params.delay_s)
            self._look()
            while not self._stop.is_set():
                self._lap()
                if not self.params.loop:
                    break
            self._linger()
            self.clean = self.failure is None
        except FineVLAError as err:
            self.failure = err
        finally:
            if self.failure is not None:
                self.get_logger().fatal(str(self.failure))
            self.ended.set_result(None)

    def _lap(self) -> None:
        """Plays the window once, or until the node is told to stop."""
        messages = self._log.messages(self._streams, *self._window)
        first = list(islice(messages, 1))  # before time runs: it takes a while to find it
        if not first:
            raise BagError(
                "no message lies between start and end",
                where=self.params.bag,
                expected=f"a message of {', '.join(self._streams)}",
                remedy="correct the parameters start_s and end_s",
            )
        self.pace.lap()
        self._stamps.lap()
        self.tally.laps += 1
        for message in chain(first, messages):
            cdr = self._stamps.apply(message)
            if self._stop.wait(max(0.0, self.pace.wait_s(message.log_ns))):
                return
            if not publish(self, self._streams[message.topic], cdr):
                return  # the process is shutting down
            self.pace.sent(message.log_ns)
            self.tally.counts[message.topic] += 1
            if (late_s := -self.pace.wait_s(message.log_ns)) > LATE_S:
                self.get_logger().warning(f"{late_s:.2f} s behind", throttle_duration_sec=5.0)

    def _linger(self) -> None:
        for stream in self._streams.values():
            if stream.qos_profile.reliability == ReliabilityPolicy.RELIABLE and not self._stop.is_set():
                stream.wait_for_all_acked(Duration(seconds=LINGER_S))
        self._stop.wait(LINGER_S)


def main(args: list[str] | None = None) -> int:
    """Runs the node until the bag was played or SIGINT; 2 where it was refused or broke off."""
    return run_node(
        REPLAY_NODE,
        ReplayNode,
        args,
        close=ReplayNode.close,
        until=lambda node: node.ended,
        code=lambda node: 0 if node.clean else REFUSED,
    )


if __name__ == "__main__":
    sys.exit(main())
