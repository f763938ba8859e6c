"""Weights as safetensors files, without torch: float32, float16, bfloat16 and int64 tensors.

numpy has no bfloat16: such a tensor is an array of uint16 that holds the same bits, which no other
weight is. Files of more than 256 MB are mapped into memory and not copied, so that a model of
several GB is read once. Larger sets of weights are split over numbered files.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, TensorSpec, safe_open, serialize_file

from finevla.errors import BundleError

WEIGHTS_FILE = "weights.safetensors"
SHARD_BYTES = 4_000_000_000
"""Largest weights file; what is larger is split."""

_SHARD = re.compile(r"weights-(\d{5})-of-(\d{5})\.safetensors")
_MAPPED_FROM = 256_000_000
_CHUNK = 1 << 24
_DTYPES = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16, "I64": np.int64}
_WRITTEN = ("float32", "float16", "bfloat16", "int64")
_EXPONENT_BF16 = 0x7F80
"""Bits of a bfloat16's exponent; all of them set means infinite or not a number."""


@dataclass(frozen=True)
class Tensors:
    """Tensors by name.

    Args:
        arrays: float32, float16 or int64; bfloat16 as uint16 with the same bits. Arrays that were
            read cannot be written to: copy them before changing them.
    """

    arrays: Mapping[str, NDArray[Any]]

    def dtype(self, name: str) -> str:
        """The name of a tensor's type: `float32`, `float16`, `bfloat16` or `int64`."""
        kind = str(self.arrays[name].dtype)
        return "bfloat16" if kind == "uint16" else kind

    @property
    def bfloat16(self) -> frozenset[str]:
        """Names of the tensors that are bfloat16."""
        return frozenset(name for name in self.arrays if self.dtype(name) == "bfloat16")

    @property
    def parameters(self) -> int:
        """Numbers in all tensors."""
        return sum(array.size for array in self.arrays.values())


def digest(blob: NDArray[np.uint8]) -> str:
    """SHA-256 of a file's bytes, taken piece by piece."""
    state = hashlib.sha256()
    for start in range(0, len(blob), _CHUNK):
        state.update(blob[start : start + _CHUNK].data)
    return state.hexdigest()


def read_blob(path: Path) -> NDArray[np.uint8]:
    """The bytes of a file, mapped where they are many.

    Raises:
        OSError: It cannot be read.
    """
    if path.stat().st_size < _MAPPED_FROM:
        return np.frombuffer(path.read_bytes(), np.uint8)
    return np.memmap(path, np.uint8, "r")


def shard_names(names: Iterable[str]) -> tuple[str, ...]:
    """Those of the names that are weights, in order; empty where they are not one whole set."""
    weights = sorted(name for name in names if name == WEIGHTS_FILE or _SHARD.fullmatch(name))
    return tuple(weights) if weights and weights == _numbered(len(weights)) else ()


def _numbered(count: int) -> list[str]:
    if count == 1:
        return [WEIGHTS_FILE]
    return [f"weights-{i:05d}-of-{count:05d}.safetensors" for i in range(1, count + 1)]


def write_tensors(folder: Path, tensors: Tensors, shard_bytes: int = SHARD_BYTES) -> tuple[str, ...]:
    """Writes `weights.safetensors`, or numbered files of about `shard_bytes`; returns their names.

    Raises:
        BundleError: A tensor is of another type than the four.
    """
    wrong = {n: tensors.dtype(n) for n in tensors.arrays if tensors.dtype(n) not in _WRITTEN}
    if wrong:
        raise BundleError(
            "weights of these types cannot be exported",
            expected="float32, float16, bfloat16 or int64",
            found=wrong,
            remedy="convert the weights to one of these types before exporting",
        )
    shards = _split(tensors, shard_bytes)
    names = _numbered(len(shards))
    for name, members in zip(names, shards, strict=True):
        arrays = {member: np.ascontiguousarray(tensors.arrays[member]) for member in members}
        specs = {  # the library reads through the pointers: `arrays` stays alive until it has
            member: TensorSpec(
                dtype=tensors.dtype(member),
                shape=list(tensors.arrays[member].shape),
                data_ptr=array.ctypes.data,
                data_len=array.nbytes,
            )
            for member, array in arrays.items()
        }
        path = folder / name
        path.touch()
        mode = path.stat().st_mode  # the library makes a file that nobody else may read
        serialize_file(specs, path)
        path.chmod(mode)
    return tuple(names)


def _split(tensors: Tensors, shard_bytes: int) -> list[list[str]]:
    shards: list[list[str]] = [[]]
    size = 0
    for name, array in sorted(tensors.arrays.items()):
        if shards[-1] and size + array.nbytes > shard_bytes:
            shards.append([])
            size = 0
        shards[-1].append(name)
        size += array.nbytes
    return shards


def read_tensors(paths: Sequence[Path], blobs: Sequence[NDArray[np.uint8]] | None = None) -> Tensors:
    """All tensors of safetensors files.

    Args:
        paths: The files.
        blobs: Their bytes where they were read already.

    Raises:
        BundleError: One cannot be read, or holds a type, name or number that weights cannot have.
    """
    arrays: dict[str, NDArray[Any]] = {}
    for index, path in enumerate(paths):
        try:
            blob = blobs[index] if blobs is not None else read_blob(path)
            header = _header(path, blob)
            found = {name: _view(entry, blob) for name, entry in header.items()}
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as err:
            raise BundleError(
                f"{path.name} cannot be read as safetensors: {err}",
                where=path,
                remedy="copy the file again, or export the bundle again with `finevla export`",
            ) from err
        if twice := sorted(set(arrays) & set(found)):
            raise BundleError(
                "a tensor is in two files of the weights",
                where=path,
                found=twice[:5],
                remedy="export the bundle again with `finevla export`",
            )
        arrays |= found
    tensors = Tensors(arrays)
    _check_numbers(tensors, paths)
    return tensors


def _header(path: Path, blob: NDArray[np.uint8]) -> dict[str, dict[str, Any]]:
    """Tensor name to dtype, shape and place in the file, checked by the library first."""
    with safe_open(path, framework="numpy"):
        length = int.from_bytes(blob[:8].tobytes(), "little")
    header = json.loads(blob[8 : 8 + length].tobytes())
    start = 8 + length
    return {
        name: {**entry, "data_offsets": [start + offset for offset in entry["data_offsets"]]}
        for name, entry in header.items()
        if name != "__metadata__"
    }


def _view(entry: Mapping[str, Any], blob: NDArray[np.uint8]) -> NDArray[Any]:
    if entry["dtype"] not in _DTYPES:
        raise ValueError(f"tensors of type {entry['dtype']}; expected {', '.join(_DTYPES)}")
    dtype = np.dtype(_DTYPES[entry["dtype"]])
    begin, end = entry["data_offsets"]
    if end - begin != dtype.itemsize * math.prod(entry["shape"]) or end > len(blob):
        raise ValueError("a tensor has another size than its shape")
    return np.ndarray(entry["shape"], dtype, buffer=blob.data, offset=begin)


def _check_numbers(tensors: Tensors, paths: Sequence[Path]) -> None:
    if not tensors.parameters:
        raise BundleError(
            "the weights are empty",
            where=[path.name for path in paths],
            remedy="train again and export the bundle again with `finevla export`",
        )
    bad = [name for name, array in tensors.arrays.items() if not _finite(array)]
    if bad:
        raise BundleError(
            "the weights are not finite",
            where=paths[0].parent,
            expected="finite numbers",
            found=f"{len(bad)} tensors with others: {bad[:5]}",
            remedy="train again; look at the loss curve",
        )


def _finite(array: NDArray[Any]) -> bool:
    """Whether all numbers are finite, looked at piece by piece."""
    flat = array.reshape(-1)
    pieces = (flat[i : i + _CHUNK] for i in range(0, len(flat), _CHUNK))
    if array.dtype == np.uint16:
        return not any(((piece & _EXPONENT_BF16) == _EXPONENT_BF16).any() for piece in pieces)
    return all(np.isfinite(piece).all() for piece in pieces)
