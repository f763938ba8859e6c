"""Nodes of a test in one process: a context and a domain of their own, spun in a thread."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Any

import rclpy
from domains import fresh_domain
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.context import Context
from rclpy.executors import MultiThreadedExecutor
from spinning import answer_of


class RosRig:
    """A context in its own domain with an executor in a thread; use it as a context manager.

    Args:
        threads: Threads of the executor.
    """

    def __init__(self, threads: int = 6) -> None:
        self.context = Context()
        rclpy.init(context=self.context, domain_id=fresh_domain())
        self.executor = MultiThreadedExecutor(num_threads=threads, context=self.context)
        self._stop = threading.Event()
        self._between: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._nodes: list[Any] = []
        self.peer = self.add(rclpy.create_node("peer", context=self.context))
        self._thread = threading.Thread(target=self._spin, daemon=True)

    def __enter__(self) -> RosRig:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # In this order: an executor that is shut down while it spins raises in its thread.
        self._stop.set()
        self._thread.join(5)
        self.executor.shutdown()
        # Else the nodes would stay in the domain and answer the next test.
        for node in self._nodes:
            node.destroy_node()
        self.context.try_shutdown()

    def _spin(self) -> None:
        while not self._stop.is_set():
            self.executor.spin_once(timeout_sec=0.05)
            while not self._between.empty():
                self._between.get()()

    def add(self, node: Any) -> Any:
        """Lets the executor spin a node and returns it."""
        self.executor.add_node(node)
        self._nodes.append(node)
        return node

    def remove(self, node: Any) -> None:
        """Ends a node, as a crash would."""
        gone = threading.Event()

        def end() -> None:
            self.executor.remove_node(node)
            self._nodes.remove(node)
            node.destroy_node()
            gone.set()

        # In the executor's own thread: it must not wait for a handle that has just been destroyed.
        self._between.put(end)
        assert gone.wait(5), "the executor does not turn"

    def call(self, kind: type, name: str, request: Any, seconds: float = 15.0) -> Any:
        """Calls a service and returns its answer."""
        # A group of its own: messages in the group of the node would keep answers waiting.
        client = self.peer.create_client(kind, name, callback_group=ReentrantCallbackGroup())
        return answer_of(client, request, seconds)

    def collect(self, kind: type, topic: str, qos: Any) -> list[Any]:
        """All messages of a topic from now on, in a list that grows."""
        messages: list[Any] = []
        self.peer.create_subscription(kind, topic, messages.append, qos)
        return messages


def until(condition: Callable[[], Any], seconds: float = 15.0) -> Any:
    """Waits for a condition and returns its value; fails where it does not come."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
    return value
