"""The index of an MP4 file: which bytes are which picture, read and made without touching the pictures.

What libavformat writes around the pictures is taken over from a file of one picture that it made; here only
that is replaced which depends on their number and sizes. So files are made in one go, with the index in
front, and equal what libavformat makes of the same pictures byte for byte.

Format: ISO/IEC 14496-12 (boxes), 14496-14 (esds).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_BOX = struct.Struct(">I4s")
_LARGE = struct.Struct(">I4sQ")
_FOLDERS = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts"})
_TRACK = frozenset({b"stsd", b"stts", b"stss", b"stsc", b"stsz", b"stco", b"co64"})
"""What the tables of a track may be: each picture lasts equally long and is shown when it is decoded."""
_MAX32 = (1 << 32) - 1
_CHUNK = 1 << 20
"""Pictures are gathered in chunks of fewer bytes than this, as libavformat does."""
_TIMESCALE = 1000
"""Ticks per second of the movie, as opposed to its track."""
_FREE = _BOX.pack(8, b"free")


class UnusualError(Exception):
    """A file whose index is another one than libavformat makes for pictures of equal duration."""


@dataclass(frozen=True, slots=True)
class Samples:
    """The pictures of a file, which lie behind each other.

    Attributes:
        path: The file.
        begin: Where the first one begins.
        sizes: Bytes of each, (n,).
        keys: Numbers of those that can be decoded by themselves, from 0.
        duration: Ticks of one.
        timescale: Ticks per second.
    """

    path: Path
    begin: int
    sizes: NDArray[np.int64]
    keys: NDArray[np.int64]
    duration: int
    timescale: int


@dataclass(frozen=True, slots=True)
class Rates:
    """Bit rates that a file names: the largest and the mean one, bits per second; 0 where it names none."""

    largest: int
    mean: int


def bit_rate(sizes: NDArray[np.int64], duration: int, timescale: int) -> int:
    """Bits per second of pictures, rounded as libavformat does."""
    return int(sizes.sum()) * 8 * timescale // (len(sizes) * duration)


def samples_of(path: Path) -> Samples:
    """The pictures of a file.

    Raises:
        UnusualError: The file is none that we make.
        OSError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            return _samples(path, file)
    except (struct.error, ValueError, KeyError) as err:
        raise UnusualError(str(err)) from err


def front_of(template: bytes, sizes: NDArray[np.int64], keys: NDArray[np.int64], rates: Rates) -> bytes:
    """Everything of a file up to its first picture.

    Args:
        template: A file of one picture.
        sizes: Bytes of each picture, (n,).
        keys: Numbers of those that can be decoded by themselves, from 0.
        rates: The bit rates that it names.

    Raises:
        UnusualError: The template is none.
    """
    try:
        boxes = dict(_boxes(template, 0, len(template)))
        lead, moov = template[slice(*boxes[b"ftyp"])], template[slice(*boxes[b"moov"])]
        first = np.append(0, np.cumsum(sizes)[:-1])
        total = int(sizes.sum())
        large = total + _BOX.size > _MAX32
        begin, wide = 0, False
        for _ in range(3):  # the index moves the pictures, and their places may make it larger
            index = _index(moov[_BOX.size :], begin + first, sizes, keys, rates, wide=wide)
            begin = len(lead) + _BOX.size + len(index) + _LARGE.size
            wide = begin + int(first[-1]) > _MAX32
        front = lead + _box(b"moov", index)
        if large:
            return front + _LARGE.pack(1, b"mdat", total + _LARGE.size)
        return front + _FREE + _BOX.pack(total + _BOX.size, b"mdat")
    except (struct.error, ValueError, KeyError) as err:
        raise UnusualError(str(err)) from err


def write_all(file: Any, content: bytes) -> None:
    """Writes to a file that is open without buffer, which may take less than it is given."""
    left = memoryview(content)
    while left:
        left = left[file.write(left) :]


def copy_pictures(samples: Sequence[Samples], file: Any) -> None:
    """Appends the pictures of files to one that is open without buffer, within the system.

    Raises:
        EOFError: One of them ends early.
        OSError: The file cannot be written.
    """
    for some in samples:
        place, left = some.begin, int(some.sizes.sum())
        with some.path.open("rb") as source:
            while left:
                done = os.sendfile(file.fileno(), source.fileno(), place, left)
                if not done:
                    raise EOFError(f"{some.path} ends early")
                place, left = place + done, left - done


def _boxes(content: bytes, begin: int, end: int) -> Iterator[tuple[bytes, tuple[int, int]]]:
    """Kinds of the boxes in a part of a file, and where they are."""
    while begin < end:
        size, kind = _BOX.unpack_from(content, begin)
        if not _BOX.size <= size <= end - begin:
            raise ValueError(f"a box of {size} bytes")
        yield kind, (begin, begin + size)
        begin += size


def _box(kind: bytes, body: bytes) -> bytes:
    return _BOX.pack(_BOX.size + len(body), kind) + body


def _leaves(body: bytes) -> dict[bytes, bytes]:
    """Contents of all boxes in a box that hold no others; each kind may be there once."""
    found: dict[bytes, bytes] = {}
    for kind, (begin, end) in _boxes(body, 0, len(body)):
        inner = body[begin + _BOX.size : end]
        for name, content in (_leaves(inner) if kind in _FOLDERS else {kind: inner}).items():
            if name in found and name != b"hdlr":
                raise ValueError(f"two boxes {name!r}")
            found[name] = content
    return found


def _samples(path: Path, file: Any) -> Samples:
    begin, places = 0, dict[bytes, tuple[int, int]]()
    while begin < os.fstat(file.fileno()).st_size:
        size, kind = _BOX.unpack(os.pread(file.fileno(), _BOX.size, begin))
        head = _BOX.size
        if size == 1:
            _, _, size = _LARGE.unpack(os.pread(file.fileno(), _LARGE.size, begin))
            head = _LARGE.size
        if size < head or kind in places:
            raise ValueError(f"a box {kind!r} of {size} bytes")
        places[kind] = (begin + head, begin + size)
        begin += size
    start, end = places[b"moov"]
    leaves = _leaves(os.pread(file.fileno(), end - start, start))
    tables = set(leaves) - {b"mvhd", b"tkhd", b"elst", b"mdhd", b"hdlr", b"vmhd", b"dinf", b"udta"}
    if not tables <= _TRACK or not set(places) <= {b"ftyp", b"moov", b"free", b"mdat"}:
        raise ValueError(f"boxes {sorted(tables)}")
    first, last = places[b"mdat"]
    (runs, count, duration) = struct.unpack_from(">III", leaves[b"stts"], 4)
    _, edits, _, begin_at = struct.unpack_from(">IIIi", leaves[b"elst"])
    sizes, offsets = _sizes(leaves[b"stsz"]), _offsets(leaves)
    told = (runs, edits, begin_at, count, int(offsets[0]), first + int(sizes.sum()))
    if told != (1, 1, 0, len(sizes), first, last):
        raise ValueError("pictures of different durations, or with something between them")
    every = b"stss" not in leaves
    keys = np.arange(count) if every else np.frombuffer(leaves[b"stss"], ">u4", offset=8).astype(np.int64) - 1
    (timescale,) = struct.unpack_from(">I", leaves[b"mdhd"], 12)
    return Samples(path, first, sizes, keys, int(duration), int(timescale))


def _sizes(body: bytes) -> NDArray[np.int64]:
    _, same, count = struct.unpack_from(">III", body)
    return np.full(count, same) if same else np.frombuffer(body, ">u4", count, 12).astype(np.int64)


def _offsets(leaves: Mapping[bytes, bytes]) -> NDArray[np.int64]:
    kind, width = (b"stco", ">u4") if b"stco" in leaves else (b"co64", ">u8")
    return np.frombuffer(leaves[kind], width, offset=8).astype(np.int64)


def _index(
    moov: bytes,
    places: NDArray[np.int64],
    sizes: NDArray[np.int64],
    keys: NDArray[np.int64],
    rates: Rates,
    *,
    wide: bool,
) -> bytes:
    """The content of `moov` for these pictures."""
    count, leaves = len(sizes), _leaves(moov)
    (timescale,) = struct.unpack_from(">I", leaves[b"mdhd"], 12)
    runs, _, duration = struct.unpack_from(">III", leaves[b"stts"], 4)
    if runs != 1 or leaves[b"mvhd"][0] or leaves[b"mdhd"][0] or b"ctts" in leaves:
        raise ValueError("a template of another kind")
    chunks = _chunks(sizes)
    ticks = struct.pack(">I", count * duration)
    lasting = struct.pack(">I", -(-count * duration * _TIMESCALE // timescale))
    changes: dict[bytes, Callable[[bytes], bytes]] = {
        b"mvhd": lambda body: body[:16] + lasting + body[20:],
        b"tkhd": lambda body: body[:20] + lasting + body[24:],
        b"elst": lambda body: body[:8] + lasting + body[12:],
        b"mdhd": lambda body: body[:16] + ticks + body[20:],
        b"stts": lambda body: body[:8] + struct.pack(">I", count) + body[12:],
        b"stsd": lambda body: _rated(body, rates),
        b"stsc": lambda _: _table(_runs(np.diff(chunks, append=count))),
        b"stsz": lambda _: _told_sizes(sizes),
        b"stco": lambda _: _table(places[chunks].reshape(-1, 1), ">u8" if wide else ">u4"),
    }
    some_keys = _box(b"stss", _table(keys.reshape(-1, 1) + 1)) if len(keys) < count else b""
    index = _changed(moov, changes, some_keys)
    return index.replace(b"stco", b"co64", 1) if wide else index


def _changed(body: bytes, changes: Mapping[bytes, Callable[[bytes], bytes]], keys: bytes) -> bytes:
    parts = []
    for kind, (begin, end) in _boxes(body, 0, len(body)):
        inner = body[begin + _BOX.size : end]
        if kind in _FOLDERS:
            inner = _changed(inner, changes, keys)
        elif kind in changes:
            inner = changes[kind](inner)
        parts.append(_box(kind, inner) + (keys if kind == b"stts" else b""))
    return b"".join(parts)


def _chunks(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Numbers of the pictures that begin a chunk."""
    begins, filled = [0], int(sizes[0])
    for number, size in enumerate(sizes[1:].tolist(), 1):
        filled += size
        if filled >= _CHUNK:
            begins.append(number)
            filled = size
    return np.array(begins)


def _runs(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Chunks of equal length: number of the first one from 1, its pictures, and 1 for their description."""
    first = np.flatnonzero(np.append(True, lengths[1:] != lengths[:-1]))
    return np.stack([first + 1, lengths[first], np.ones(len(first), np.int64)], axis=1)


def _told_sizes(sizes: NDArray[np.int64]) -> bytes:
    if (sizes == sizes[0]).all():
        return struct.pack(">III", 0, int(sizes[0]), len(sizes))
    return struct.pack(">III", 0, 0, len(sizes)) + sizes.astype(">u4").tobytes()


def _table(rows: NDArray[np.int64], width: str = ">u4") -> bytes:
    return struct.pack(">II", 0, len(rows)) + rows.astype(width).tobytes()


def _rated(body: bytes, rates: Rates) -> bytes:
    """A sample description with other bit rates, in `btrt` and before it in `esds` where that is there."""
    told, changed = struct.pack(">II", rates.largest, rates.mean), body
    for head, place in ((_BOX.pack(44, b"esds"), 22), (_BOX.pack(20, b"btrt"), 4)):
        begin = changed.find(head)
        if begin >= 0:
            begin += len(head) + place
            changed = changed[:begin] + told + changed[begin + len(told) :]
    return changed
