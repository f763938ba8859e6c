"""Messages out of an MCAP file that ends too early: after a crash, a full disk, or half a copy.

A whole file is read by its index at the end. Here it is read from the front, record by record, up to the
first that is not complete. Format: https://mcap.dev/spec (records, chunks, little endian).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from finevla.bag.mcap import CHUNK_HEAD, DECOMPRESS, MAGIC, RECORD, Op, text_at
from finevla.errors import BagError

_LAST_OPCODE = Op.DATA_END


@dataclass(frozen=True, slots=True)
class Channel:
    """A topic of the file, with its type and the definition of that type."""

    topic: str
    msgtype: str
    encoding: str
    definition: str


@dataclass(frozen=True, slots=True)
class Saved:
    """A message, serialized as it was recorded; `stamp_ns` is the log time."""

    channel: Channel
    stamp_ns: int
    data: bytes


@dataclass(slots=True)
class Salvage:
    """Reads one file; iterate it once.

    Attributes:
        path: The file.
        complete: After iterating: whether the file has its end.
        used: After iterating: bytes up to the first record that is not complete.
    """

    path: Path
    complete: bool = False
    used: int = 0
    _schemas: dict[int, tuple[str, str]] = field(default_factory=dict)
    _channels: dict[int, Channel] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Saved]:
        """All messages that are whole, in the order of the file.

        Raises:
            BagError: It is no MCAP file.
        """
        with self.path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise BagError(
                    "this is no MCAP file",
                    where=self.path,
                    found=f"{self.path.stat().st_size} bytes with another beginning",
                    remedy="nothing can be saved from it; record again",
                )
            self.used = file.tell()
            yield from self._records(file)

    def _records(self, file: BinaryIO) -> Iterator[Saved]:
        while len(head := file.read(RECORD.size)) == RECORD.size:
            opcode, length = RECORD.unpack(head)
            if not 0 < opcode <= _LAST_OPCODE:
                return
            if opcode == Op.DATA_END:
                self.complete = True
                return
            content = file.read(length)
            if opcode == Op.CHUNK:
                yield from self._chunk(content)
            elif len(content) == length:
                yield from self._record(opcode, content)
            if len(content) < length:
                return
            self.used = file.tell()

    def _chunk(self, content: bytes) -> Iterator[Saved]:
        """The messages of a chunk; of one that is cut short those before the cut, if it is not compressed."""
        if len(content) < CHUNK_HEAD.size + 4:
            return
        compression, place = text_at(content, CHUNK_HEAD.size)
        if len(content) < place + 8:
            return
        (size,) = struct.unpack_from("<Q", content, place)
        data = content[place + 8 : place + 8 + size]
        if compression and len(data) < size:
            return
        data, place = DECOMPRESS[compression](data), 0
        while place + RECORD.size <= len(data):
            opcode, length = RECORD.unpack_from(data, place)
            place += RECORD.size
            if not 0 < opcode <= _LAST_OPCODE or place + length > len(data):
                return
            yield from self._record(opcode, data[place : place + length])
            place += length

    def _record(self, opcode: int, content: bytes) -> Iterator[Saved]:
        if opcode == Op.SCHEMA:
            (number,) = struct.unpack_from("<H", content)
            name, place = text_at(content, 2)
            _, place = text_at(content, place)
            self._schemas[number] = (name, text_at(content, place)[0])
        elif opcode == Op.CHANNEL:
            number, schema = struct.unpack_from("<HH", content)
            topic, place = text_at(content, 4)
            encoding, _ = text_at(content, place)
            msgtype, definition = self._schemas[schema]
            self._channels[number] = Channel(topic, msgtype, encoding, definition)
        elif opcode == Op.MESSAGE:
            number, _, stamp_ns = struct.unpack_from("<HIQ", content)
            yield Saved(self._channels[number], stamp_ns, content[22:])
