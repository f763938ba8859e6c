"""The records of an MCAP file, as its readers and its writer need them.

Format: https://mcap.dev/spec (little endian). A record is an opcode, a length and that many bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from enum import IntEnum

from backports import zstd
from lz4.frame import decompress as lz4_decompress

MAGIC = b"\x89MCAP0\r\n"


class Op(IntEnum):
    """Opcodes of records."""

    SCHEMA = 0x03
    CHANNEL = 0x04
    MESSAGE = 0x05
    CHUNK = 0x06
    MESSAGE_INDEX = 0x07
    CHUNK_INDEX = 0x08
    DATA_END = 0x0F


RECORD = struct.Struct("<BQ")
"""Opcode and length."""
MESSAGE = struct.Struct("<HIQQ")
"""Channel, sequence, log time and time of publication, ns; the message follows."""
MESSAGE_HEAD = RECORD.size + MESSAGE.size
"""Bytes of a message record before the message itself."""
CHUNK_HEAD = struct.Struct("<QQQI")
"""First and last log time, ns, bytes unpacked, checksum; then compression, bytes packed, and the records."""

DECOMPRESS: Mapping[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "zstd": zstd.decompress,
    "lz4": lz4_decompress,
}
"""By the name of the compression in the file."""


def text_at(content: bytes, place: int) -> tuple[str, int]:
    """A string of a record, and where it ends."""
    (length,) = struct.unpack_from("<I", content, place)
    end = place + 4 + length
    return content[place + 4 : end].decode(), end
