"""Counts what safety had to do, and tells once when something begins. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from finevla.contract.frame import NS_PER_S

QUIET_S = 1.0
"""An intervention that did not act for so long begins anew, and is told anew."""

MEANING: Mapping[str, str] = {
    # Limits of every tick
    "position_limit": "a target lies outside the joint limits less their margin and was clamped",
    "velocity_limit": "a joint moves as fast as it may and cannot keep up with its target",
    "acceleration_limit": "a joint cannot speed up or slow down as its target does",
    "soft_start": "the first target is far from the measured pose: the arms approach it slowly",
    "guard_arms": "the arms would come too near to each other: both brake",
    "guard_table": "an arm would come too near to the table: it brakes",
    "guard_workspace": "an arm would leave the workspace: it brakes",
    "no_motion_found": "no way to a target was found: the arms brake",
    "feedback_leap": "a joint was measured further away than an arm can move: the sample was not used",
    "non_finite": "a command is not a finite number and was not followed",
    # Commands that are refused
    "malformed_chunk": "an action chunk contradicts the contract and was refused",
    "malformed_command": "a joint command or trajectory contradicts the contract and was refused",
    "malformed_leader": "a message of a leader arm contradicts the contract and was refused",
    "jump_rejected": "a command leaps or asks for far more than the allowed speed and was refused",
    "not_the_source": "a command came from a source that is not selected and was refused",
    "not_enabled": "a command came while the driver may not move and was refused",
    "homing": "a command came during the way home and was refused",
    "instruction_ended": "a chunk belongs to an instruction that has ended and was refused",
    "no_instruction_id": "a chunk names no instruction and was refused",
    "future_chunk": "a chunk begins too far ahead: the clocks differ",
    "expired_chunk": "a chunk has passed when it arrives",
    "older_chunk": "a chunk follows an older observation than the one before it",
    "old_command": "a command was made too long ago and was refused",
    "future_command": "the stamp of a command lies ahead: the clocks differ",
    "unstamped_command": "a command carries no stamp and was refused",
    "bad_speed_scale": "a speed scale is not a number from 0.01 to 1 and was refused",
}
"""What each code means, for a person."""


class Interventions:
    """Counters by code, and the lines to log. Call `begin_tick` first, so that it knows the time."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._now_ns = 0
        self._last_ns: dict[str, int] = {}
        self._lines: list[str] = []

    def begin_tick(self, now_ns: int) -> None:
        """Tells the time, ns since the epoch."""
        self._now_ns = now_ns

    def note(self, code: str, detail: str = "") -> None:
        """Counts one tick or one message in which `code` acted; the first in a while makes a line."""
        if code not in MEANING:
            raise KeyError(f"the intervention {code!r} has no meaning: add it to MEANING")
        self.counts[code] += 1
        before = self._last_ns.get(code)
        self._last_ns[code] = self._now_ns
        if before is None or not 0 <= self._now_ns - before <= QUIET_S * NS_PER_S:
            self._lines.append(f"{code}: {MEANING[code]}" + (f" ({detail})" if detail else ""))

    def lines(self) -> list[str]:
        """One line for each intervention that began since the last call."""
        lines, self._lines = self._lines, []
        return lines
