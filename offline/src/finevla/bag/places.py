"""Where the messages of a topic lie in an MCAP file, by the file's own index: nothing else is read.

Format: https://mcap.dev/spec (footer, summary, chunk index, message index; little endian).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from finevla.bag.mcap import CHUNK_HEAD, DECOMPRESS, MAGIC, MESSAGE_HEAD, RECORD, Op, text_at

_FOOTER = struct.Struct("<BQQQI")
_CHUNK_PLACE = struct.Struct("<QQQQ")
INDEX_HEAD = struct.Struct("<BQHI")
"""Opcode, length, channel and bytes of the entries of a message index."""
_PAIRS = np.dtype([("channel", "<u2"), ("place", "<u8")])

ENTRY = np.dtype([("stamp", "<u8"), ("offset", "<u8")])
"""A message in the index: when it was logged, ns, and where its record begins in its unpacked chunk."""
PLACE = np.dtype([("chunk", np.int64), ("offset", np.int64)])
"""A message: number of its chunk, and where its record begins in it."""
CHUNK = np.dtype(
    [
        (name, np.int64)
        for name in ("record", "start", "packed", "size", "first_ns", "last_ns", "packing", "index", "pairs")
    ]
)
"""A chunk: where its record and its data begin in the file, bytes of the data as they are and unpacked, when
its first and last message were logged, how it is packed (place in `Index.packings`), bytes of the message
indices behind its record, and where its part of the summary tells the places of these."""


@dataclass(frozen=True, slots=True)
class Index:
    """The summary of an MCAP file.

    Attributes:
        channels: Numbers of the channels, by topic.
        chunks: Of type `CHUNK`, in the order of the file.
        packings: Names of the compressions in use.
        summary: Its bytes.
    """

    channels: Mapping[str, tuple[int, ...]]
    chunks: NDArray[np.void]
    packings: tuple[str, ...]
    summary: bytes


class IndexedFile:
    """An MCAP file with an index; a context manager.

    Args:
        path: The file.
        index: Its index, where it was read before.

    Raises:
        ValueError: It has no index, or one that cannot be read.
    """

    def __init__(self, path: Path, index: Index | None = None) -> None:
        """Opens the file and reads its summary."""
        self._file = path.open("rb")
        self._size = path.stat().st_size
        self._unpacked: tuple[int, bytes] = (-1, b"")
        try:
            self.index = self._summary(self._size) if index is None else index
        except (struct.error, IndexError, ValueError, OverflowError) as err:
            self._file.close()
            raise ValueError(f"{path}: the index cannot be read: {err}") from err

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the file."""
        self._file.close()

    def messages(self, topic: str) -> NDArray[np.void]:
        """Every message of a topic in the order of the log, (n,) of type `PLACE`."""
        wanted = self.index.channels.get(topic, ())
        found = [
            (number, self._entries(place))
            for number in range(len(self.index.chunks))
            for channel, place in self.indexed(number).items()
            if channel in wanted
        ]
        if not found:
            return np.zeros(0, PLACE)
        entries = np.concatenate([some for _, some in found])
        places = np.zeros(len(entries), PLACE)
        places["chunk"] = np.repeat([number for number, _ in found], [len(some) for _, some in found])
        places["offset"] = entries["offset"]
        order = np.lexsort((places["offset"], places["chunk"], entries["stamp"]))
        ordered: NDArray[np.void] = places[order]
        return ordered

    def indexed(self, number: int) -> dict[int, int]:
        """Places of the message indices of a chunk in the file, by channel."""
        summary, place = self.index.summary, int(self.index.chunks["pairs"][number])
        (size,) = struct.unpack_from("<I", summary, place)
        rows = np.frombuffer(summary, _PAIRS, size // _PAIRS.itemsize, place + 4)
        return dict(zip(rows["channel"].tolist(), rows["place"].tolist(), strict=True))

    def message(self, chunk: int, offset: int) -> bytes:
        """The bytes of a message."""
        _, length = RECORD.unpack(self.part(chunk, offset, RECORD.size))
        return self.part(chunk, offset + MESSAGE_HEAD, length - MESSAGE_HEAD + RECORD.size)

    def part(self, number: int, start: int, size: int) -> bytes:
        """Bytes of a chunk; of packed ones the last is kept unpacked."""
        chunk = self.index.chunks[number]
        if not self.index.packings[chunk["packing"]]:
            return self.read(int(chunk["start"]) + start, size)
        if self._unpacked[0] != number:
            self._unpacked = (number, self.unpacked(number))
        return self._unpacked[1][start : start + size]

    def unpacked(self, number: int) -> bytes:
        """The data of a chunk."""
        chunk = self.index.chunks[number]
        unpack = DECOMPRESS[self.index.packings[chunk["packing"]]]
        return unpack(self.read(int(chunk["start"]), int(chunk["packed"])))

    def read(self, start: int, size: int) -> bytes:
        """Bytes of the file; fewer where it ends.

        Raises:
            ValueError: So many are not in it: the length is none.
        """
        if size > self._size:
            raise ValueError(f"{size} bytes of a file that has {self._size}")
        return os.pread(self._file.fileno(), size, start)

    def _entries(self, place: int) -> NDArray[np.void]:
        (size,) = struct.unpack("<I", self.read(place + RECORD.size + 2, 4))
        return np.frombuffer(self.read(place + RECORD.size + 6, size), ENTRY)

    def _summary(self, size: int) -> Index:
        end = size - len(MAGIC) - _FOOTER.size
        if end < len(MAGIC) or self.read(size - len(MAGIC), len(MAGIC)) != MAGIC:
            raise ValueError("the file does not end as MCAP does")
        _, _, first, _, _ = _FOOTER.unpack(self.read(end, _FOOTER.size))
        if not len(MAGIC) <= first <= end:
            raise ValueError("the file has no index")
        summary, place = self.read(first, end - first), 0
        channels: dict[str, list[int]] = {}
        packings: dict[str, int] = {}
        chunks: list[tuple[int, ...]] = []
        while place < len(summary):
            opcode, length = RECORD.unpack_from(summary, place)
            place += RECORD.size
            if opcode == Op.CHANNEL:
                (number,) = struct.unpack_from("<H", summary, place)
                channels.setdefault(text_at(summary, place + 4)[0], []).append(number)
            elif opcode == Op.CHUNK_INDEX:
                chunks.append(_chunk(summary, place, packings))
            place += length
        if not chunks:
            raise ValueError("the file has no index")
        table = np.array(sorted(chunks), CHUNK)
        return Index({t: tuple(n) for t, n in channels.items()}, table, tuple(packings), summary)


def _chunk(summary: bytes, begin: int, packings: dict[str, int]) -> tuple[int, ...]:
    """A row of `CHUNK` from a chunk index that begins there."""
    first_ns, last_ns, record, _ = _CHUNK_PLACE.unpack_from(summary, begin)
    pairs = begin + _CHUNK_PLACE.size
    (length,) = struct.unpack_from("<I", summary, pairs)
    (index,) = struct.unpack_from("<Q", summary, pairs + 4 + length)
    compression, place = text_at(summary, pairs + 4 + length + 8)
    packed, size = struct.unpack_from("<QQ", summary, place)
    if compression not in DECOMPRESS:
        raise ValueError(f"a chunk is packed with {compression!r}")
    start = record + RECORD.size + CHUNK_HEAD.size + 4 + len(compression) + 8
    packing = packings.setdefault(compression, len(packings))
    return record, start, packed, size, first_ns, last_ns, packing, index, pairs
