"""Follows one instruction to its end and says how it ended. Pure: no ROS, injected clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from finevla.contract.frame import NS_PER_S

DRIVER_PATIENCE_S = 1.0
"""A policy reports a stopped driver itself; only where it does not, the tracker does."""


class Outcome(StrEnum):
    """How a run ended; names as the constants of the action RunInstruction."""

    SETTLED = "SETTLED"
    TIMEOUT = "TIMEOUT"
    REJECTED = "REJECTED"
    CANCELED = "CANCELED"
    SUPERSEDED = "SUPERSEDED"
    HELD = "HELD"


_FINISHED = {"settled": Outcome.SETTLED, "timeout": Outcome.TIMEOUT, "canceled": Outcome.CANCELED}


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a run: outcome, reason in lower_snake_case and one sentence for a person."""

    outcome: Outcome
    reason_code: str
    reason: str


@dataclass(frozen=True, slots=True)
class TrackerConfig:
    """Limits in s: whole run, until somebody follows it, and silence of a policy that followed."""

    timeout_s: float
    apply_timeout_s: float
    policy_lost_s: float


class RunTracker:
    """One run of one instruction.

    Args:
        instruction_id: The instruction.
        config: Limits.
        clock: Returns the time in ns.
    """

    def __init__(self, instruction_id: str, config: TrackerConfig, clock: Callable[[], int]) -> None:
        self.instruction_id = instruction_id
        self.ended: Ended | None = None
        self.first_step = 0
        """Sequence number of the first chunk that follows it; 0 before."""
        self._config = config
        self._clock = clock
        self._started_ns = clock()
        self._policy_ns: int | None = None
        self._driver_bad_ns: int | None = None
        self._wish: Ended | None = None

    @property
    def elapsed_s(self) -> float:
        """Time since the start in s."""
        return (self._clock() - self._started_ns) / NS_PER_S

    @property
    def wants_stop(self) -> bool:
        """Whether the policy must be told to stop: the run is canceled or over time."""
        return self._wish is not None and self.ended is None

    def on_status(self, state: str, reason_code: str, reason: str, step: int) -> None:
        """Takes a status of this instruction; `state` is a name of the constants of the message."""
        if self.ended is not None:
            return
        if state == "APPLIED":
            self.first_step = step
        elif state == "REJECTED":
            self.ended = Ended(Outcome.REJECTED, reason_code, reason)
        elif state == "SUPERSEDED":
            self.ended = Ended(Outcome.SUPERSEDED, reason_code, reason)
        elif state == "FINISHED":
            outcome = _FINISHED.get(reason_code, Outcome.HELD)
            # The policy calls both of our wishes "canceled"; settled just before counts as settled.
            ours = self._wish if outcome is Outcome.CANCELED else None
            self.ended = ours or Ended(outcome, reason_code, reason)

    def on_newer(self, other_id: str) -> None:
        """Another instruction was accepted after this one."""
        if self.ended is None:
            self.ended = Ended(Outcome.SUPERSEDED, "superseded", f"instruction {other_id} took its place")

    def on_policy(self) -> None:
        """The policy gave a sign of life."""
        self._policy_ns = self._clock()

    def on_driver(self, state: str) -> None:
        """The driver told its state, a name of the constants of the message."""
        if state not in {"STOPPED", "FAULT"}:
            self._driver_bad_ns = None
        elif self._driver_bad_ns is None:
            self._driver_bad_ns = self._clock()

    def cancel(self) -> None:
        """The caller no longer wants it."""
        if self._wish is None:
            self._wish = Ended(Outcome.CANCELED, "canceled", "the caller canceled it")

    def stopped(self) -> None:
        """The policy was told to stop and had its time to say so."""
        if self.ended is None and self._wish is not None:
            reason = f"{self._wish.reason}; nobody confirmed that the arms hold: call /finevla/driver/stop"
            self.ended = replace(self._wish, reason=reason)

    def poll(self) -> None:
        """Looks for an end that nobody reports; to be called several times a second."""
        if self.ended is not None or self._wish is not None:
            return
        now_ns = self._clock()
        config = self._config
        if self.elapsed_s > config.timeout_s:
            reason = f"the arms did not come to rest within {config.timeout_s:g} s"
            self._wish = Ended(Outcome.TIMEOUT, "timeout", reason)
        elif self._older_than(self._driver_bad_ns, DRIVER_PATIENCE_S, now_ns):
            self.ended = Ended(Outcome.HELD, "driver_stopped", "the driver is stopped or at fault")
        elif not self.first_step and self.elapsed_s > config.apply_timeout_s:
            reason = "nobody follows it: bring up and activate the policy, then say it again"
            self.ended = Ended(Outcome.HELD, "not_applied", reason)
        elif self.first_step and self._older_than(self._policy_ns, config.policy_lost_s, now_ns):
            self.ended = Ended(Outcome.HELD, "policy_lost", "the policy has fallen silent")

    @staticmethod
    def _older_than(stamp_ns: int | None, limit_s: float, now_ns: int) -> bool:
        return stamp_ns is not None and now_ns - stamp_ns > limit_s * NS_PER_S
