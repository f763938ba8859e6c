"""Which arms a joint state may speak of: those heard lately. Pure; nothing is made up for a silent one."""

from __future__ import annotations

from dataclasses import dataclass

from finevla.contract.robot import ARM_SIDES


@dataclass(frozen=True, slots=True)
class Heard[M]:
    """The newest message of one arm, and when it came (s, of a clock that only goes on)."""

    message: M
    arrival_s: float


class Listener[M]:
    """Keeps the newest message of each arm.

    Args:
        fresh_s: An arm that was not heard for longer is silent, s.
    """

    def __init__(self, fresh_s: float) -> None:
        self._fresh_s = fresh_s
        self._heard: dict[str, Heard[M]] = {}

    def note(self, side: str, message: M, now_s: float) -> None:
        """Keeps a message of one arm."""
        self._heard[side] = Heard(message, now_s)

    def fresh(self, now_s: float) -> dict[str, M]:
        """The newest message of each arm that is not silent, in the contract's order."""
        return {
            side: heard.message
            for side in ARM_SIDES
            if (heard := self._heard.get(side)) is not None and now_s - heard.arrival_s <= self._fresh_s
        }
