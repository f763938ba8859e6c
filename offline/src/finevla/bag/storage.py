"""The MCAP file of a growing bag: the bytes that rosbags writes, each message copied once and not four times.

With three raw cameras the copies took half of the recorder's time. Format: https://mcap.dev/spec.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from io import BytesIO
from typing import TYPE_CHECKING

from rosbags.interfaces import Connection
from rosbags.rosbag2 import CompressionMode, StoragePlugin, Writer
from rosbags.rosbag2.storage_mcap import McapWriter, PendingChunk, write_string

from finevla.bag.mcap import CHUNK_HEAD, MESSAGE, RECORD, Op

if TYPE_CHECKING:
    from rosbags.rosbag2.writer import StorageWriter

CHUNK_BYTES = 2**20
_NEVER = 2**63 - 1
_ENTRY = struct.Struct("<QQ")
_INDEX = struct.Struct("<HI")
_PLACE = struct.Struct("<HQ")
_SIZES = struct.Struct("<QQQQI")


class _Pieces(BytesIO):
    """What a chunk will hold, as it came; looks like a file to those who write a few bytes of it."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[bytes] = []
        self._size = 0

    def write(self, data: object, /) -> int:
        """Takes a copy."""
        return self.keep(bytes(data))  # type: ignore[call-overload]

    def keep(self, data: bytes) -> int:
        """Takes bytes that nobody changes."""
        self.pieces.append(data)
        self._size += len(data)
        return len(data)

    def tell(self) -> int:
        """Bytes so far."""
        return self._size


class LeanMcapWriter(McapWriter):
    """Writes uncompressed chunks piece by piece."""

    def __init__(self, path: object, compression: CompressionMode) -> None:
        super().__init__(path, compression)  # type: ignore[arg-type]
        self._begin_chunk()

    def _begin_chunk(self) -> None:
        self.chunk = PendingChunk(_NEVER, 0, _Pieces(), {})

    def write(self, connection: Connection, timestamp: int, data: bytes | memoryview) -> None:
        """Adds a message (log time in ns)."""
        chunk, pieces = self.chunk, self.chunk.bio
        assert isinstance(pieces, _Pieces)  # noqa: S101  # made in _begin_chunk
        self.message_start_time = min(timestamp, self.message_start_time)
        self.message_end_time = max(timestamp, self.message_end_time)
        self.channel_stats[connection.id] += 1
        chunk.message_start_time = min(timestamp, chunk.message_start_time)
        chunk.message_end_time = max(timestamp, chunk.message_end_time)
        chunk.msgs.setdefault(connection.id, []).append((timestamp, pieces.tell()))
        head = RECORD.pack(Op.MESSAGE, MESSAGE.size + len(data))
        pieces.keep(head + MESSAGE.pack(connection.id, 0, timestamp, timestamp))
        pieces.keep(bytes(data))
        if pieces.tell() > CHUNK_BYTES:
            self.close_chunk()

    def close_chunk(self) -> None:
        """Writes the chunk and the indices of its messages."""
        chunk, pieces = self.chunk, self.chunk.bio
        assert isinstance(pieces, _Pieces)  # noqa: S101  # made in _begin_chunk
        size, start = pieces.tell(), self.bio.tell()
        head = BytesIO()
        head.write(CHUNK_HEAD.pack(chunk.message_start_time, chunk.message_end_time, size, 0))
        write_string(head, self.compression)
        head.write(struct.pack("<Q", size))
        self.bio.write(RECORD.pack(Op.CHUNK, head.tell() + size) + head.getvalue())
        for piece in pieces.pieces:
            self.bio.write(piece)
        end = self.bio.tell()
        places = {}
        for channel, messages in chunk.msgs.items():
            places[channel] = self.bio.tell()
            entries = b"".join(_ENTRY.pack(*entry) for entry in messages)
            self.bio.write(RECORD.pack(Op.MESSAGE_INDEX, _INDEX.size + len(entries)))
            self.bio.write(_INDEX.pack(channel, len(entries)) + entries)
        self.chunks.append(self._summary(start, end, size, places))
        self._begin_chunk()

    def _summary(self, start: int, end: int, size: int, places: Mapping[int, int]) -> BytesIO:
        """The record by which the file's index finds the chunk."""
        rows = b"".join(_PLACE.pack(*place) for place in places.items())
        rec = BytesIO()
        first, last = self.chunk.message_start_time, self.chunk.message_end_time
        rec.write(_SIZES.pack(first, last, start, end - start, len(rows)) + rows)
        rec.write(struct.pack("<Q", self.bio.tell() - end))
        write_string(rec, self.compression)
        rec.write(struct.pack("<QQ", size, size))
        return rec


class LeanWriter(Writer):
    """rosbags' writer of bags with our storage of their messages."""

    STORAGE_PLUGINS: Mapping[StoragePlugin, type[StorageWriter]] = {
        **Writer.STORAGE_PLUGINS,
        StoragePlugin.MCAP: LeanMcapWriter,
    }
