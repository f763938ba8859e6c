"""The files of a bundle: which there may be, and that each is the one that was signed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finevla.contract.bundle_weights import WEIGHTS_FILE, digest, read_blob, shard_names
from finevla.errors import BundleError

DOCUMENT_FILE = "bundle.json"
CARD_FILE = "README.md"
PICKLE_SUFFIXES = frozenset({
    ".bin", ".ckpt", ".dill", ".joblib", ".npy", ".npz", ".pickle", ".pkl", ".pt", ".pth",
})  # fmt: skip
"""Files that may run code when they are opened; a bundle has none."""

_EXPORT_AGAIN = "export the bundle again with `finevla export`"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def check_names(names: list[str], where: Path) -> None:
    """Refuses names that a bundle cannot hold.

    Raises:
        BundleError: A name leads out of the folder, or its file could hold a pickle.
    """
    outside = [name for name in names if not _NAME.fullmatch(name)]
    if outside:
        raise BundleError(
            "the bundle names a file outside of its folder",
            where=where,
            expected="plain file names: letters, digits, dots, dashes",
            found=outside,
            remedy="do not use this bundle; it was not written by `finevla export`",
        )
    pickles = [name for name in names if Path(name).suffix.lower() in PICKLE_SUFFIXES]
    if pickles:
        raise BundleError(
            "the bundle holds a file that can run code when it is opened",
            where=where,
            expected="safetensors, JSON and text",
            found=pickles,
            remedy="do not open it; save weights as safetensors and " + _EXPORT_AGAIN,
        )


def verified_files(path: Path, listed: Mapping[str, Any]) -> dict[str, NDArray[np.uint8]]:
    """Bytes by name of everything that a bundle lists, checked against its digests.

    Raises:
        BundleError: A file is missing, altered, not listed, not allowed, or the weights are not whole.
    """
    check_names(list(listed), path)
    present = {entry.name for entry in path.iterdir()} - {DOCUMENT_FILE}
    check_names(sorted(name for name in present - set(listed) if Path(name).suffix in PICKLE_SUFFIXES), path)
    if not shard_names(listed) or CARD_FILE not in listed:
        raise BundleError(
            "the bundle lists other files than expected",
            where=path,
            expected=f"{CARD_FILE} and {WEIGHTS_FILE}, or weights in all of their numbered files",
            found=sorted(listed),
            remedy=_EXPORT_AGAIN,
        )
    if extra := sorted(present - set(listed)):
        raise BundleError(
            "the folder of the bundle holds files that it does not list",
            where=path,
            expected=sorted([DOCUMENT_FILE, *listed]),
            found=extra,
            remedy="remove them if you put them there, or " + _EXPORT_AGAIN,
        )
    return {name: _verified(path, name, str(expected)) for name, expected in sorted(listed.items())}


def _verified(path: Path, name: str, expected: str) -> NDArray[np.uint8]:
    try:
        blob = read_blob(path / name)
    except FileNotFoundError as err:
        raise BundleError(
            f"{name} is missing from the bundle",
            where=path,
            remedy="copy the whole directory again, or " + _EXPORT_AGAIN,
        ) from err
    except OSError as err:
        raise BundleError(
            f"{name} of the bundle cannot be read", where=path, found=err, remedy="check the file's rights"
        ) from err
    found = digest(blob)
    if found != expected:
        raise BundleError(
            f"{name} was altered or damaged",
            where=path,
            expected=expected,
            found=found,
            remedy="copy the bundle again, or " + _EXPORT_AGAIN,
        )
    return blob
