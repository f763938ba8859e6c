"""How the emulated arms reach their clients: one protocol for socketcand, slcan and the virtual bus."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from typing import Protocol

from finevla_sim.piper_frames import Frame

Receiver = Callable[[str, int, bytes], Sequence[Frame]]
"""Called with bus, CAN id and data of every frame that a client sends; returns the answers."""


class Transport(StrEnum):
    """Names of python-can interfaces by which clients reach the arms."""

    SOCKETCAND = "socketcand"
    SLCAN = "slcan"
    VIRTUAL = "virtual"


class CanPort(Protocol):
    """Named CAN buses for clients. `poll`, `send` and `close` are called from one thread."""

    def poll(self, timeout_s: float = 0.0) -> None:
        """Handles everything that clients sent; waits at most `timeout_s` for it.

        A frame of one client reaches the other clients of its bus, not the one that sent it.
        """

    def send(self, bus: str, frames: Sequence[Frame], stamp_ns: int) -> None:
        """Sends frames of the arm to every client of `bus`, stamped in ns since the epoch."""

    def address(self, bus: str) -> str:
        """The `channel` by which python-can opens this bus."""

    def disconnect(self, bus: str) -> None:
        """Drops all clients of `bus` and takes no new ones. From any thread; done by the next `poll`."""

    def reconnect(self, bus: str) -> None:
        """Takes clients of `bus` again, at the same address. From any thread; done by the next `poll`."""

    def close(self) -> None:
        """Drops all clients for good."""


def open_port(
    transport: Transport | str,
    buses: Iterable[str],
    receive: Receiver,
    clock: Callable[[], int],
    port: int = 0,
    **options: int,
) -> CanPort:
    """Makes the buses reachable.

    Args:
        transport: By which python-can interface.
        buses: Their names.
        receive: What happens with each frame from a client.
        clock: Nanoseconds since the epoch.
        port: TCP port of socketcand; 0 takes any free one.
        options: Further arguments of the transport: `adapters` of slcan.
    """
    match Transport(transport):
        case Transport.SLCAN:
            from finevla_sim.slcan_port import SlcanPort

            return SlcanPort(buses, receive, **options)
        case Transport.VIRTUAL:
            from finevla_sim.virtual_port import VirtualPort

            return VirtualPort(buses, receive)
        case _:
            from finevla_sim.socketcand_server import SocketcandServer

            return SocketcandServer(buses, receive, clock, port=port)
