"""Nodes that spin in a thread of the test, and a client that calls their services and listens."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rclpy.executors import MultiThreadedExecutor
from rclpy.node import Node

AGAIN_S = 10.0
"""When a call that was not answered is made again, s."""


class Client(Node):
    """Calls services and collects messages."""

    def call(self, kind, name: str, timeout_s: float = 20.0, **fields):
        """The response of a service."""
        client = self.create_client(kind, name)
        assert client.wait_for_service(timeout_sec=timeout_s), name
        time.sleep(0.3)  # the server must have found this client too, or its answer has nobody to go to
        end = time.monotonic() + timeout_s
        while (left := end - time.monotonic()) > 0:
            # Asked again after a while, because an answer is lost where the server has not found us yet.
            done = threading.Event()
            future = client.call_async(kind.Request(**fields))
            future.add_done_callback(lambda _future, done=done: done.set())
            if done.wait(min(left, AGAIN_S)):
                break
        assert future.done(), f"{name} did not answer"
        self.destroy_client(client)
        return future.result()

    def collect(self, kind, topic: str, qos) -> list:
        """A list that grows with every message of a topic."""
        messages: list = []
        self.create_subscription(kind, topic, messages.append, qos)
        return messages


@contextmanager
def spinning(context, *nodes: Node) -> Iterator[None]:
    """Spins nodes in a thread until the block ends."""
    executor = MultiThreadedExecutor(num_threads=4, context=context)
    for node in nodes:
        executor.add_node(node)
    thread = threading.Thread(target=executor.spin, name="test-executor")
    thread.start()
    try:
        yield
    finally:
        executor.shutdown(timeout_sec=5.0)
        thread.join(5.0)
