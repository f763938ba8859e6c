"""Takes messages out of their readers fifty times a second, instead of being woken for each of them.

An executor of rclpy asks all readers again for every message, which costs more than the message. A reader
keeps what comes between two visits: its depth holds far more than that.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.subscription import Subscription

PERIOD_S = 0.02


class Untouched(CallbackGroup):
    """Subscriptions that no executor serves."""

    def can_execute(self, entity: Any) -> bool:  # noqa: ARG002
        """Never."""
        return False

    def beginning_execution(self, entity: Any) -> bool:  # noqa: ARG002
        """Never."""
        return False

    def ending_execution(self, entity: Any) -> None:
        """There is no execution to end."""


class Intake:
    """A thread that empties readers.

    Args:
        subscriptions: Raw subscriptions in the group `Untouched`, by topic.
        take: Called in the thread with topic, time of arrival in ns, and the serialized message.
        lock: Held while the readers are emptied.
    """

    def __init__(
        self,
        subscriptions: Mapping[str, Subscription],
        take: Callable[[str, int, bytes], None],
        lock: threading.Lock,
    ) -> None:
        self._subscriptions, self._take, self._lock = dict(subscriptions), take, lock
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="intake", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Says that nothing is taken any more.

        Raises:
            RuntimeError: The thread has ended by an error, which was printed.
        """
        if not self._thread.is_alive() and not self._ended.is_set():
            raise RuntimeError("the thread that takes messages has ended: nothing more would be recorded")

    def close(self) -> None:
        """Ends the thread; what waits in the readers is taken before."""
        if self._thread.is_alive():
            self._ended.set()
            self._thread.join()

    def empty(self) -> None:
        """Takes all that waits; the caller holds the lock."""
        for topic, subscription in self._subscriptions.items():
            with subscription.handle:
                while (taken := subscription.handle.take_message(subscription.msg_type, True)) is not None:
                    message, info = taken
                    # Not every middleware tells when a message came.
                    self._take(topic, info["received_timestamp"] or time.time_ns(), message)

    def _run(self) -> None:
        while not self._ended.wait(PERIOD_S):
            with self._lock:
                self.empty()
        with self._lock:
            self.empty()
