"""Messages that a bag holds by the thousand, read straight from their bytes (CDR, little-endian).

Layout: OMG DDS-XTypes 7.4.1, plain CDR: four bytes of encapsulation, then the fields, each aligned to its
size as counted from behind them. Both message types begin with their header, the header with its stamp.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from finevla.contract.frame import NS_PER_S

_ENCAPSULATION = 4
_LITTLE_ENDIAN = 1
_STAMP = struct.Struct("<iI")
_COUNT = struct.Struct("<I")
_HEADER_TEXT = _ENCAPSULATION + _STAMP.size
JPEG = b"\xff\xd8"


def stamp_of(raw: bytes) -> int | None:
    """The stamp of a message with a header, ns; None where its bytes are in another order."""
    if len(raw) < _HEADER_TEXT or raw[1] != _LITTLE_ENDIAN:
        return None
    seconds, nanoseconds = _STAMP.unpack_from(raw, _ENCAPSULATION)
    return int(seconds) * NS_PER_S + int(nanoseconds)


def stamps_of(rows: NDArray[np.uint8]) -> NDArray[np.int64] | None:
    """As `stamp_of`, of messages (n, bytes) that are given at least as far as their stamps."""
    if (rows[:, 1] != _LITTLE_ENDIAN).any():
        return None
    stamps = np.ascontiguousarray(rows[:, _ENCAPSULATION:_HEADER_TEXT])
    seconds, nanoseconds = stamps.view("<i4")[:, 0], stamps.view("<u4")[:, 1]
    found: NDArray[np.int64] = seconds.astype(np.int64) * NS_PER_S + nanoseconds
    return found


def restamped(raw: bytes, shift_ns: int) -> bytes | None:
    """A message with the stamp of its header moved by `shift_ns`; one of zero means "no stamp" and stays.

    None where its bytes are in another order, or where the header cannot hold the new stamp.
    """
    stamp_ns = stamp_of(raw)
    if stamp_ns is None:
        return None
    if stamp_ns == 0:
        return bytes(raw)
    moved = bytearray(raw)
    try:
        _STAMP.pack_into(moved, _ENCAPSULATION, *divmod(stamp_ns + shift_ns, NS_PER_S))
    except struct.error:
        return None
    return bytes(moved)


def frame_of(raw: bytes) -> str | None:
    """The coordinate frame that the header of a message names; None where its bytes are in another order."""
    if stamp_of(raw) is None or len(raw) < _HEADER_TEXT + _COUNT.size:
        return None
    start = _HEADER_TEXT + _COUNT.size
    text = raw[start : _after_text(raw, _HEADER_TEXT)]
    return bytes(text).rstrip(b"\0").decode("utf-8", "replace")


def compressed_of(raw: bytes) -> memoryview | None:
    """The image of a `sensor_msgs/CompressedImage`, not copied; None where its bytes are in another order."""
    if stamp_of(raw) is None:
        return None
    try:
        start = _aligned(_after_text(raw, _aligned(_after_text(raw, _HEADER_TEXT), 4)), 4) + _COUNT.size
    except struct.error:
        return None
    return memoryview(raw)[start:]


def jpeg_at(head: bytes, size: int) -> tuple[int, int] | None:
    """Where the JPEG of a `sensor_msgs/CompressedImage` begins in it, and its bytes.

    None where the message is another one, or its JPEG does not end where the message does.

    Args:
        head: The beginning of the message.
        size: Bytes of the whole message.
    """
    image = compressed_of(head)
    if image is None or bytes(image[: len(JPEG)]) != JPEG:
        return None
    start = len(head) - len(image)
    (length,) = _COUNT.unpack_from(head, start - _COUNT.size)
    return (start, int(length)) if start + length == size else None


def jpegs_alike(rows: NDArray[np.uint8]) -> bool:
    """Whether the beginnings of `sensor_msgs/CompressedImage`, (n, bytes), differ in stamp and length only.

    Of one that does not, or that is no JPEG, nobody can say without reading it what kind of image it is.
    """
    image = compressed_of(rows[0].tobytes())
    if image is None or bytes(image[: len(JPEG)]) != JPEG:
        return False
    start = rows.shape[1] - len(image)
    alike = rows[:, _HEADER_TEXT : start - _COUNT.size] == rows[0, _HEADER_TEXT : start - _COUNT.size]
    return bool(alike.all() and (rows[:, start : start + len(JPEG)] == np.frombuffer(JPEG, np.uint8)).all())


@dataclass(slots=True)
class JointBytes:
    """Where the positions of a `sensor_msgs/JointState` lie, learned from a message that was decoded in full.

    Messages of one publisher differ only in their stamp and values. One whose other bytes up to the values
    are not those of the learned message is not read, nor one with a value that is not finite: the full
    decoder has to say what is wrong with it.
    """

    _head: bytes = b""
    _start: int = 0
    _count: int = 0
    _size: int = -1
    _order: NDArray[np.intp] | None = None

    def read(self, raw: bytes) -> tuple[int, NDArray[np.float64]] | None:
        """Stamp and values in the learned order; None where the full decoder is needed."""
        if len(raw) != self._size or raw[_HEADER_TEXT : self._start] != self._head or self._order is None:
            return None
        stamp = stamp_of(raw)
        values = np.frombuffer(raw, "<f8", self._count, self._start)[self._order]
        return None if stamp is None or not np.isfinite(values).all() else (stamp, values)

    def read_all(self, rows: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.float64]] | None:
        """As `read`, of messages (n, bytes): stamps (n,), values (n, joints); None where one is unusual."""
        if rows.shape[1] != self._size or self._order is None:
            return None
        head = np.frombuffer(self._head, np.uint8)
        stamps = stamps_of(rows)
        if stamps is None or (rows[:, _HEADER_TEXT : self._start] != head).any():
            return None
        positions = np.ascontiguousarray(rows[:, self._start : self._start + 8 * self._count])
        values = positions.view("<f8")[:, self._order]
        return (stamps, values) if np.isfinite(values).all() else None

    def learn(self, raw: bytes, names: list[str], values: NDArray[np.float64], ordered: list[str]) -> None:
        """Learns from a decoded message; one that this class reads otherwise than the decoder is forgotten.

        Args:
            raw: Its bytes.
            names: Its joint names.
            values: Its positions as they should be read.
            ordered: Names in the order of `values`.
        """
        start = _start_of_positions(raw, len(names))
        if start is None or sorted(names) != sorted(ordered):
            return
        self._start, self._count, self._size = start, len(names), len(raw)
        self._head = bytes(raw[_HEADER_TEXT:start])
        self._order = np.array([names.index(name) for name in ordered], dtype=np.intp)
        found = self.read(raw)
        if found is None or not np.array_equal(found[1], values):
            self._size = -1


def _start_of_positions(raw: bytes, joints: int) -> int | None:
    """Offset of the first position behind frame id and names; None where the message is not like that."""
    try:
        place = _after_text(raw, _HEADER_TEXT)
        place = _aligned(place, 4)
        if _COUNT.unpack_from(raw, place)[0] != joints:
            return None
        place += _COUNT.size
        for _ in range(joints):
            place = _after_text(raw, _aligned(place, 4))
        place = _aligned(place, 4)
        if _COUNT.unpack_from(raw, place)[0] != joints:
            return None
    except struct.error:
        return None
    start = _aligned(place + _COUNT.size, 8)
    return start if start + 8 * joints <= len(raw) else None


def _after_text(raw: bytes, place: int) -> int:
    return place + _COUNT.size + int(_COUNT.unpack_from(raw, place)[0])


def _aligned(place: int, size: int) -> int:
    return place + -(place - _ENCAPSULATION) % size
