"""CAN buses inside one process: python-can's `virtual` interface, for tests of what runs beside the arms.

Clients see each other's frames as that interface has it: every bus object gets what the others sent. The
Piper SDK opens two per arm, so it hears its own commands here, and the queue of the one that it only
writes to grows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import can

from finevla_sim.can_port import Receiver
from finevla_sim.piper_frames import Frame


class VirtualPort:
    """Serves `buses` under their names to this process.

    Args:
        buses: Names that clients may open.
        receive: What happens with each frame from a client.
    """

    def __init__(self, buses: Iterable[str], receive: Receiver) -> None:
        self._receive = receive
        self._names = tuple(buses)
        self._down: frozenset[str] = frozenset()
        self._open: dict[str, can.BusABC] = {}
        self._settle()

    def address(self, bus: str) -> str:
        """The `channel` by which python-can opens this bus."""
        return bus

    def poll(self, timeout_s: float = 0.0) -> None:
        """Handles everything that clients sent; waits at most `timeout_s` for it."""
        self._settle()
        share_s = timeout_s / max(len(self._open), 1)
        for name, bus in self._open.items():
            message = bus.recv(share_s)
            while message is not None:
                for can_id, data in self._receive(name, message.arbitration_id, bytes(message.data)):
                    self._put(bus, can_id, data)
                message = bus.recv(0.0)

    def send(self, bus: str, frames: Sequence[Frame], stamp_ns: int) -> None:
        """Sends frames to every client of `bus`; python-can stamps them with its own clock."""
        del stamp_ns
        if bus in self._open:
            for can_id, data in frames:
                self._put(self._open[bus], can_id, data)

    def disconnect(self, bus: str) -> None:
        """Leaves `bus`: clients hear nothing any more, and cannot tell."""
        self._down |= {bus}

    def reconnect(self, bus: str) -> None:
        """Comes back to `bus`."""
        self._down -= {bus}

    def close(self) -> None:
        """Leaves all buses for good."""
        self._down = frozenset(self._names)
        self._settle()

    def _settle(self) -> None:
        for name in self._names:
            if name in self._down and name in self._open:
                self._open.pop(name).shutdown()
            elif name not in self._down and name not in self._open:
                self._open[name] = can.Bus(interface="virtual", channel=name)

    @staticmethod
    def _put(bus: can.BusABC, can_id: int, data: bytes) -> None:
        bus.send(can.Message(arbitration_id=can_id, data=data, is_extended_id=False))
