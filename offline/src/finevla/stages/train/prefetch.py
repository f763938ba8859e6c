"""Batches made ahead of time by one background thread, in exact order."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

_POLL_S = 0.1
"""How often a waiting thread looks whether the other one has ended."""


class Prefetch[T]:
    """Makes `draw(first)`, ..., `draw(last - 1)` in a thread and gives them in this order.

    An error of `draw` is raised in the consumer, after the items before it. Leaving the `with` block
    ends the thread, whether or not everything was taken.

    Args:
        draw: Makes the item of a step.
        first: First step.
        last: One beyond the last step.
        depth: Items that wait at most.
    """

    def __init__(self, draw: Callable[[int], T], first: int, last: int, depth: int = 2) -> None:
        if depth < 1:
            raise ValueError("prefetching needs room for at least one item")
        self._draw, self._steps = draw, range(first, last)
        self._ready: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(depth)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="prefetch", daemon=True)

    def __enter__(self) -> Self:
        """Starts the thread."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the thread and waits for it."""
        self._ended.set()
        self._thread.join()

    def __iter__(self) -> Iterator[T]:
        """The items in order.

        Raises:
            BaseException: What `draw` raised.
        """
        for _ in self._steps:
            item, error = self._take()
            if error is not None:
                raise error
            yield item  # type: ignore[misc]  # an item without an error is a T

    def _take(self) -> tuple[T | None, BaseException | None]:
        while True:
            try:
                return self._ready.get(timeout=_POLL_S)
            except queue.Empty:
                if not self._thread.is_alive() and self._ready.empty():
                    raise RuntimeError(
                        "the prefetching thread is not running; use it in a `with` block"
                    ) from None

    def _work(self) -> None:
        for step in self._steps:
            try:
                entry: tuple[T | None, BaseException | None] = (self._draw(step), None)
            except BaseException as err:  # noqa: BLE001  # raised again in the consumer
                entry = (None, err)
            if not self._put(entry) or entry[1] is not None:
                return

    def _put(self, entry: tuple[T | None, BaseException | None]) -> bool:
        """Hands an item over; False if nobody wants it any more."""
        while not self._ended.is_set():
            try:
                self._ready.put(entry, timeout=_POLL_S)
            except queue.Full:
                continue
            return True
        return False
