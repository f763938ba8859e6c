"""CAN buses over serial lines: each a pseudo terminal that speaks LAWICEL slcan, as a USB adapter does.

python-can's `slcan` interface (with pyserial) opens the address as if it were /dev/ttyUSB0. A bus can have
several adapters; a frame that one sends is seen by the others, as on a real bus. An adapter whose client
does not read loses frames, it never blocks the others.

Protocol: LAWICEL CAN232 manual, `t` frames with an 11-bit id, `S` `O` `L` `C` `V` `N` commands.
"""

from __future__ import annotations

import os
import pty
import selectors
import shutil
import tempfile
import tty
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from finevla_sim.can_port import Receiver
from finevla_sim.piper_frames import Frame

OK, ERROR, SENT = b"\r", b"\a", b"z\r"
VERSION, SERIAL = b"V1013\r", b"NA001\r"
SHORTEST = 5
"""`t`, three digits of the id, one of the length."""


@dataclass
class _Adapter:
    """One pseudo terminal: our end, the client's end held open, whether the client opened the bus."""

    bus: str
    path: Path
    ours: int
    theirs: int
    is_open: bool = False
    inbox: bytes = b""
    outbox: bytes = b""
    dropped: int = 0


class SlcanPort:
    """Serves `buses`, each on `adapters` pseudo terminals.

    Args:
        buses: Names of the buses.
        receive: What happens with each frame from a client.
        adapters: Pseudo terminals of each bus.
    """

    def __init__(self, buses: Iterable[str], receive: Receiver, adapters: int = 1) -> None:
        self._receive = receive
        self._folder = Path(tempfile.mkdtemp(prefix="slcan-"))
        self._selector = selectors.DefaultSelector()
        self._paths = {bus: [self._folder / f"{bus}.{i}" for i in range(adapters)] for bus in buses}
        self._down: frozenset[str] = frozenset()
        self._adapters: dict[Path, _Adapter] = {}
        self._settle()

    def address(self, bus: str, adapter: int = 0) -> str:
        """The `channel` by which python-can opens this bus: a link that outlives a reconnection."""
        return str(self._paths[bus][adapter])

    def poll(self, timeout_s: float = 0.0) -> None:
        """Handles everything that clients sent; waits at most `timeout_s` for it."""
        self._settle()
        for adapter in self._adapters.values():
            self._write(adapter, b"")
        for key, _events in self._selector.select(timeout_s):
            self._read(key.data)

    def send(self, bus: str, frames: Sequence[Frame], stamp_ns: int) -> None:
        """Sends frames to every client of `bus`; slcan carries no stamp, the client makes its own."""
        del stamp_ns
        packet = encode(frames)
        for adapter in self._adapters.values():
            if adapter.bus == bus and adapter.is_open:
                self._write(adapter, packet)

    def disconnect(self, bus: str) -> None:
        """Unplugs the adapters of `bus`: their terminals vanish. From any thread."""
        self._down |= {bus}

    def reconnect(self, bus: str) -> None:
        """Plugs them in again, at the same address. From any thread."""
        self._down -= {bus}

    def close(self) -> None:
        """Unplugs all adapters for good."""
        self._down = frozenset(self._paths)
        self._settle()
        self._selector.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _settle(self) -> None:
        for bus, paths in self._paths.items():
            for path in paths:
                if bus in self._down and path in self._adapters:
                    self._unplug(self._adapters.pop(path))
                elif bus not in self._down and path not in self._adapters:
                    self._adapters[path] = self._plug(bus, path)

    def _plug(self, bus: str, path: Path) -> _Adapter:
        ours, theirs = pty.openpty()
        tty.setraw(theirs)  # else the kernel echoes and holds back lines until a client configures it
        os.set_blocking(ours, False)
        path.unlink(missing_ok=True)
        path.symlink_to(os.ttyname(theirs))
        adapter = _Adapter(bus, path, ours, theirs)
        self._selector.register(ours, selectors.EVENT_READ, adapter)
        return adapter

    def _unplug(self, adapter: _Adapter) -> None:
        self._selector.unregister(adapter.ours)
        adapter.path.unlink(missing_ok=True)
        os.close(adapter.ours)
        os.close(adapter.theirs)

    def _read(self, adapter: _Adapter) -> None:
        try:
            received = os.read(adapter.ours, 1 << 16)
        except BlockingIOError:
            return
        *lines, adapter.inbox = (adapter.inbox + received).split(b"\r")
        for line in lines:
            self._handle(adapter, line)

    def _handle(self, adapter: _Adapter, line: bytes) -> None:
        command = line[:1]
        if command == b"t":
            self._handle_frame(adapter, line)
        elif command in {b"O", b"L", b"C"}:
            adapter.is_open = command != b"C"
            self._write(adapter, OK)
        elif command in {b"V", b"N"}:
            self._write(adapter, VERSION if command == b"V" else SERIAL)
        else:  # an empty line, a bit rate, an option: nothing that changes a pseudo terminal
            self._write(adapter, OK if command in {b"", b"S", b"s", b"Y", b"Z", b"M", b"m"} else ERROR)

    def _handle_frame(self, adapter: _Adapter, line: bytes) -> None:
        try:
            can_id, length = int(line[1:4], 16), int(line[4:SHORTEST], 16)
            data = bytes.fromhex(line[SHORTEST:].decode("ascii"))
        except ValueError:
            self._write(adapter, ERROR)
            return
        if not adapter.is_open or len(data) != length:
            self._write(adapter, ERROR)
            return
        self._write(adapter, SENT)
        packet = encode([(can_id, data)])
        for other in self._adapters.values():
            if other is not adapter and other.bus == adapter.bus and other.is_open:
                self._write(other, packet)
        self.send(adapter.bus, self._receive(adapter.bus, can_id, data), 0)

    @staticmethod
    def _write(adapter: _Adapter, packet: bytes) -> None:
        """A client that has not read the last packet loses this one: no frame is torn."""
        if adapter.outbox:
            adapter.outbox = _written(adapter.ours, adapter.outbox)
        if not adapter.outbox:
            adapter.outbox = _written(adapter.ours, packet)
        elif packet:
            adapter.dropped += 1


def _written(terminal: int, packet: bytes) -> bytes:
    """What of `packet` is left to write."""
    try:
        return packet[os.write(terminal, packet) :] if packet else packet
    except BlockingIOError:
        return packet


def encode(frames: Sequence[Frame]) -> bytes:
    """Frames as slcan text: `t`, id, length, data."""
    return b"".join(
        b"t%03X%d%s\r" % (can_id, len(data), data.hex().upper().encode()) for can_id, data in frames
    )
