"""An emulated arm with its faults: a `PiperDevice` and what stands between it and its bus.

Faults may be injected and cleared from any thread, at any time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from finevla_sim.arm_health import SOUND, ArmHealth, ArmIdentity, Condition
from finevla_sim.fault import Fault
from finevla_sim.piper_device import PiperDevice
from finevla_sim.piper_frames import Frame

NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class _Active:
    """A fault that is there: since when, and until when; None: until it is cleared."""

    fault: Fault
    since_ns: int
    until_ns: int | None


class FaultyArm:
    """One arm as its bus sees it.

    Args:
        device: The arm.
        clock: Nanoseconds; only differences count.
        rng: Decides what happens by chance.
    """

    def __init__(self, device: PiperDevice, clock: Callable[[], int], rng: np.random.Generator) -> None:
        self.device = device
        self._clock = clock
        self._rng = rng
        self._lock = threading.RLock()
        self._active: tuple[_Active, ...] = ()
        self._waiting: list[tuple[int, Frame]] = []

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The faults that are there now, oldest first."""
        with self._lock:
            self._expire()
            return tuple(active.fault for active in self._active)

    def inject(self, fault: Fault, seconds: float | None = None) -> None:
        """Adds a fault, for `seconds` or until it is cleared; one that is there already starts anew."""
        with self._lock:
            now = self._clock()
            until = None if seconds is None else now + round(seconds * NS_PER_S)
            kept = [active for active in self._active if active.fault != fault]
            self._apply((*kept, _Active(fault, now, until)))

    def clear(self, kind: str | type[Fault] | None = None) -> None:
        """Takes all faults of one kind away, by name or type; without it, all faults."""
        name = kind if kind is None or isinstance(kind, str) else kind.kind()
        with self._lock:
            self._apply([a for a in self._active if name is not None and a.fault.kind() != name])

    def restart(self) -> None:
        """Power off and on; see `PiperDevice.restart`. Faults stay."""
        with self._lock:
            self.device.restart()

    def receive(self, can_id: int, data: bytes) -> list[Frame]:
        """Takes one frame from the bus; see `PiperDevice.receive`."""
        with self._lock:
            self._expire()
            if self._silent() or self._lost(can_id):
                return []
            return self._outward(self.device.receive(can_id, data))

    def advance(self, dt_s: float) -> NDArray[np.float64]:
        """Moves the joints for `dt_s`; see `PiperDevice.advance`."""
        with self._lock:
            self._expire()
            return self.device.advance(dt_s)

    def feedback(
        self, measured: NDArray[np.float64], velocity: NDArray[np.float64] | None = None
    ) -> list[Frame]:
        """The frames of one tick of 200 Hz, and those that come late; see `PiperDevice.feedback`."""
        with self._lock:
            self._expire()
            now = self._clock()
            for active in self._active:
                age_s = (now - active.since_ns) / NS_PER_S
                measured = active.fault.measured(measured, age_s, self._rng)
            return self._outward(self.device.feedback(measured, velocity))

    def _expire(self) -> None:
        if self._active:
            now = self._clock()
            left = [a for a in self._active if a.until_ns is None or now < a.until_ns]
            if len(left) < len(self._active):
                self._apply(left)

    def _apply(self, active: Sequence[_Active]) -> None:
        self._active = tuple(active)
        faults = [each.fault for each in active]

        def health(value: ArmHealth) -> ArmHealth:
            return reduce(lambda so_far, fault: fault.health(so_far), faults, value)

        def identity(value: ArmIdentity) -> ArmIdentity:
            return reduce(lambda so_far, fault: fault.identity(so_far), faults, value)

        held: frozenset[int] = frozenset().union(*(fault.held for fault in faults))
        self.device.condition = (
            Condition(
                health,
                identity,
                leads=any(fault.leads for fault in faults),
                teaches=any(fault.teaches for fault in faults),
                powered=all(fault.powered for fault in faults),
                held=held,
            )
            if faults
            else SOUND
        )

    def _silent(self) -> bool:
        return any(active.fault.silent for active in self._active)

    def _lost(self, can_id: int) -> bool:
        return any(active.fault.loses(can_id, self._rng) for active in self._active)

    def _outward(self, out: list[Frame]) -> list[Frame]:
        """What of these frames, and of those that wait, the bus sees now."""
        if not self._active and not self._waiting:
            return out
        if self._silent():
            self._waiting.clear()
            return []
        now = self._clock()
        for frame in out:
            if not self._lost(frame[0]):
                delay_s = sum(active.fault.delay_s(frame[0]) for active in self._active)
                self._waiting.append((now + round(delay_s * NS_PER_S), frame))
        if any(a.fault.holds_back((now - a.since_ns) / NS_PER_S) for a in self._active):
            return []
        due = [frame for at, frame in self._waiting if at <= now]
        self._waiting = [(at, frame) for at, frame in self._waiting if at > now]
        return due
