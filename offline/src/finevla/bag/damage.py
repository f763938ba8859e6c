"""What goes wrong inside of the libraries where a bag is damaged, and what is said of it."""

from __future__ import annotations

import struct

import apsw
from backports import zstd
from rosbags.highlevel import AnyReaderError
from rosbags.rosbag2 import ReaderError
from rosbags.serde import SerdeError

from finevla.errors import BagError

DAMAGE = (
    *(AnyReaderError, ReaderError, OSError, ValueError, AssertionError, EOFError, IndexError),
    *(KeyError, TypeError, struct.error, SerdeError, OverflowError, apsw.Error, zstd.ZstdError, RuntimeError),
    MemoryError,  # a length that is none
)
"""What rosbags raises where a file ends too early, depending on where, and SQLite, zstd and lz4."""


def damaged(where: object, err: BaseException) -> BagError:
    """The error that is told instead."""
    return BagError(
        "the bag ends in the middle or holds a message that cannot be read",
        where=where,
        found=err or type(err).__name__,
        remedy="`finevla convert --repair` saves what is whole, or record again",
    )
