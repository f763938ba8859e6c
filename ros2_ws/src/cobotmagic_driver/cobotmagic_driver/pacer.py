"""A thread that calls a function at a fixed rate, as evenly as the machine allows."""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Callable

from cobotmagic_driver.priority import claim
from cobotmagic_driver.tick_watch import TickWatch
from finevla.contract.frame import NS_PER_S

LONGEST_STEP = 3
"""A late tick is told of at most so many periods."""
SETTLE_NS, SETTLE_TIMEOUT_S = 200_000_000, 2.0

log = logging.getLogger(__name__)


class Pacer:
    """Ticks in a thread of its own until it is stopped, or a tick raises.

    Args:
        name: Name of the thread.
        period_ns: Time from one tick to the next.
        tick: Called with the seconds since the tick before.
        on_failure: Called once, in the thread, with what a tick raised; there is no further tick.
        priority: Real-time priority, see `priority.claim`.
    """

    def __init__(
        self,
        name: str,
        period_ns: int,
        tick: Callable[[float], None],
        on_failure: Callable[[Exception], None],
        priority: int = 0,
    ) -> None:
        self._name, self._period_ns, self._priority = name, period_ns, priority
        self._tick, self._on_failure = tick, on_failure
        self._stop, self._settled = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self.watch = TickWatch(period_ns)

    @property
    def running(self) -> bool:
        """True while the thread ticks."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Starts; returns when it ticks evenly.

        The first messages to new subscribers take up to a tenth of a second, in which the arms would seem
        silent to an operator who enables at once.
        """
        # What is there by now stays: a full collection of it would take the interpreter for some ticks.
        gc.collect()
        gc.freeze()
        self._stop.clear()
        self._settled.clear()
        self._thread = threading.Thread(target=self.run, name=self._name, daemon=True)
        self._thread.start()
        self._settled.wait(SETTLE_TIMEOUT_S)

    def stop(self) -> None:
        """Ends the ticking and waits for the last tick."""
        self._stop.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        self._thread = None
        gc.unfreeze()

    def run(self) -> None:
        """The thread's work; public for tests that want no thread."""
        claim(self._priority)
        period = self._period_ns
        began = due = last = time.monotonic_ns()
        try:
            while not self._stop.is_set():
                now = time.monotonic_ns()
                self._tick(min(now - last, LONGEST_STEP * period) / NS_PER_S)
                last, end = now, time.monotonic_ns()
                if end - began > SETTLE_NS:
                    self._settled.set()
                self.watch.note(now, end)
                late = max(end - due - period, 0) // period  # whole ticks that are gone
                self.watch.missed += late
                due += (1 + late) * period
                time.sleep(max(due - time.monotonic_ns(), 0) / NS_PER_S)
        except Exception as err:
            log.exception("%s ended", self._name)
            self._settled.set()
            self._on_failure(err)
