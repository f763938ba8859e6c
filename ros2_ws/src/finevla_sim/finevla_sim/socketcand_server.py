"""A socketcand server on loopback: named CAN buses for several clients over one TCP port.

Speaks the raw mode of socketcand, which python-can's `socketcand` interface uses. Everything runs in
the caller's thread: `poll` reads what clients sent, `send` writes the frames of one tick with one
system call per client. A client that does not read loses frames, it never blocks the others.

A frame of one client reaches the other clients of its bus. The Piper SDK is one client with two connections:
it opens one to read and, right after it, one to write, and on SocketCAN it turns the loop between them off.
So two connections of a bus are one client if the second opened within `PAIR_S` of the first and the first
has sent nothing.
"""

from __future__ import annotations

import logging
import selectors
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from finevla_sim.can_port import Receiver
from finevla_sim.piper_frames import Frame

NS_PER_S = 1_000_000_000
NS_PER_US = 1_000
OUT_BUFFER_BYTES = 1 << 16
PAIR_S = 1.0
"""Within this time the SDK opens its second connection."""

log = logging.getLogger(__name__)


@dataclass
class _Client:
    """One connection: its bus once it has opened one, and bytes that wait in either direction.

    `reader`: the connection by which the client of this one reads, see the module.
    """

    connection: socket.socket
    bus: str = ""
    opened_ns: int = 0
    ready_ns: int | None = None
    has_sent: bool = False
    reader: _Client | None = None
    inbox: bytes = b""
    outbox: bytes = b""
    dropped: int = 0
    closed: bool = False


class SocketcandServer:
    """Serves `buses` on `host:port`.

    Args:
        buses: Names that clients may open.
        receive: What happens with each frame from a client.
        clock: Nanoseconds since the epoch.
        host: Interface to listen on; loopback unless told otherwise, the protocol has no password.
        port: TCP port; 0 takes any free one, see `port`.
        settle_s: Frames flow to a client only this long after it asked for raw mode. python-can reads
            the answer to that request with one `recv` and fails if a frame follows in the same packet.
        pairs: Whether two connections can be one client, see the module.
    """

    def __init__(
        self,
        buses: Iterable[str],
        receive: Receiver,
        clock: Callable[[], int],
        host: str = "127.0.0.1",
        port: int = 0,
        settle_s: float = 0.25,
        *,
        pairs: bool = True,
    ) -> None:
        self._buses = frozenset(buses)
        self._down: frozenset[str] = frozenset()
        self._pairs = pairs
        self._receive = receive
        self._clock = clock
        self._settle_ns = round(settle_s * NS_PER_S)
        self._clients: dict[int, _Client] = {}
        self._selector = selectors.DefaultSelector()
        self._listener = socket.create_server((host, port), reuse_port=False)
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)

    @property
    def port(self) -> int:
        """The TCP port in use."""
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def clients(self) -> int:
        """Number of clients that have opened a bus."""
        return sum(1 for client in self._clients.values() if client.bus)

    def poll(self, timeout_s: float = 0.0) -> None:
        """Accepts clients and handles everything that they sent; waits at most `timeout_s` for it."""
        self._drop_downed()
        for key, _events in self._selector.select(timeout_s):
            if key.fileobj is self._listener:
                self._accept()
            elif key.fd in self._clients:  # else dropped earlier in this round
                self._read(self._clients[key.fd])

    def send(self, bus: str, frames: Sequence[Frame], stamp_ns: int) -> None:
        """Sends frames to every client of `bus`, all with the same stamp (ns since the epoch)."""
        self._send(bus, frames, stamp_ns)
        self._drop_closed()

    def address(self, bus: str) -> str:
        """The `channel` by which python-can opens this bus."""
        return bus

    def disconnect(self, bus: str) -> None:
        """Drops all clients of `bus` and refuses new ones. From any thread; done by the next `poll`."""
        self._down |= {bus}

    def reconnect(self, bus: str) -> None:
        """Takes clients of `bus` again, on the same port. From any thread."""
        self._down -= {bus}

    def close(self) -> None:
        """Closes all connections and the port."""
        for client in self._clients.values():
            client.closed = True
        self._drop_closed()
        self._selector.unregister(self._listener)
        self._listener.close()
        self._selector.close()

    def _send(
        self, bus: str, frames: Sequence[Frame], stamp_ns: int, besides: Sequence[_Client | None] = ()
    ) -> None:
        listeners = [
            client
            for client in self._clients.values()
            if client.bus == bus and self._is_ready(client) and not any(client is one for one in besides)
        ]
        if listeners and frames:
            packet = encode(frames, stamp_ns)
            for client in listeners:
                self._write(client, packet)

    def _is_ready(self, client: _Client) -> bool:
        return client.ready_ns is not None and self._clock() >= client.ready_ns

    def _accept(self) -> None:
        connection, address = self._listener.accept()
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, OUT_BUFFER_BYTES)
        client = _Client(connection)
        self._clients[connection.fileno()] = client
        self._selector.register(connection, selectors.EVENT_READ)
        log.debug("socketcand client %s", address)
        self._write(client, b"< hi >")

    def _read(self, client: _Client) -> None:
        try:
            received = client.connection.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError as err:
            log.info("a socketcand client went away: %s", err)
            received = b""
        if not received:
            client.closed = True
            self._drop_closed()
            return
        *messages, client.inbox = (client.inbox + received).split(b">")
        for message in messages:
            self._handle(client, message.strip(b" <"))
        self._drop_closed()

    def _handle(self, client: _Client, message: bytes) -> None:
        words = message.split()
        if not words:
            return
        if words[0] == b"send" and len(words) >= 3:
            self._handle_frame(client, words)
        elif words[0] == b"open" and len(words) == 2:
            self._open(client, words[1].decode("ascii", "replace"))
        elif words[0] == b"rawmode" and client.bus:
            self._write(client, b"< ok >")
            client.ready_ns = self._clock() + self._settle_ns
        elif words[0] == b"echo":
            self._write(client, b"< echo >")
        else:
            self._write(client, b"< error unknown command >")

    def _open(self, client: _Client, name: str) -> None:
        if name not in self._buses - self._down:
            self._write(client, b"< error could not open bus >")
            return
        others = [other for other in self._clients.values() if other.bus == name and other is not client]
        client.bus, client.opened_ns = name, self._clock()
        if self._pairs and others:
            last = max(others, key=lambda other: other.opened_ns)
            soon = client.opened_ns - last.opened_ns <= PAIR_S * NS_PER_S
            client.reader = last if soon and last.reader is None and not last.has_sent else None
        self._write(client, b"< ok >")

    def _handle_frame(self, client: _Client, words: list[bytes]) -> None:
        try:
            can_id = int(words[1], 16)
            data = bytes(int(word, 16) for word in words[3:])
        except ValueError:
            self._write(client, b"< error syntax >")
            return
        now = self._clock()
        client.has_sent = True
        for one in filter(None, (client, client.reader)):
            one.ready_ns = now  # who sends frames has read the answer to rawmode
        self._send(client.bus, [(can_id, data)], now, besides=(client, client.reader))
        self._send(client.bus, self._receive(client.bus, can_id, data), now)

    def _write(self, client: _Client, packet: bytes) -> None:
        if client.outbox:
            self._flush(client)
            if client.outbox:
                client.dropped += 1
                return
        client.outbox = packet
        self._flush(client)

    @staticmethod
    def _flush(client: _Client) -> None:
        try:
            sent = client.connection.send(client.outbox)
        except BlockingIOError:
            return
        except OSError as err:
            log.info("a socketcand client went away: %s", err)
            client.closed = True
            return
        client.outbox = client.outbox[sent:]

    def _drop_downed(self) -> None:
        for client in self._clients.values():
            client.closed = client.closed or client.bus in self._down
        self._drop_closed()

    def _drop_closed(self) -> None:
        for number in [n for n, client in self._clients.items() if client.closed]:
            client = self._clients.pop(number)
            self._selector.unregister(client.connection)
            client.connection.close()


def encode(frames: Sequence[Frame], stamp_ns: int) -> bytes:
    """Frames as socketcand text: `< frame ID SECONDS.MICROSECONDS HEX >`, one after the other."""
    seconds, rest = divmod(stamp_ns, NS_PER_S)
    stamp = f"{seconds}.{rest // NS_PER_US:06d}"
    return "".join(f"< frame {can_id:03X} {stamp} {data.hex()} >" for can_id, data in frames).encode()
