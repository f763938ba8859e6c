"""Signs of life of topics, and when their silence counts. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """One watched topic; `age_s` is None before its first message."""

    name: str
    limit_s: float
    age_s: float | None

    @property
    def alive(self) -> bool:
        """Whether a message came within the limit."""
        return self.age_s is not None and self.age_s <= self.limit_s


class Heartbeats:
    """Collects the signs of life of several topics.

    Args:
        limit_s: Silence longer than this counts as death.
        clock_s: Monotonic time in s.
    """

    def __init__(self, limit_s: float, clock_s: Callable[[], float]) -> None:
        self._limit_s = limit_s
        self._clock_s = clock_s
        self._newest: dict[str, float | None] = {}

    def watch(self, name: str) -> None:
        """Begins to expect messages on a topic."""
        self._newest[name] = None

    def beat(self, name: str) -> None:
        """A message came."""
        self._newest[name] = self._clock_s()

    def all(self) -> list[Heartbeat]:
        """The state of every watched topic."""
        now_s = self._clock_s()
        return [
            Heartbeat(name, self._limit_s, None if newest is None else now_s - newest)
            for name, newest in self._newest.items()
        ]
