"""Bundles for tests: one to start from, and every way to spoil it with a fresh, valid signature."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from finevla.contract.bundle import DOCUMENT_FILE
from finevla.contract.bundle_document import sign

Document = dict[str, Any]


def edit(bundle: Path, change: Callable[[Document], object], signed: bool = True) -> None:
    """Changes bundle.json, with a fresh signature as a forger would make it."""
    document = json.loads((bundle / DOCUMENT_FILE).read_text())
    change(document)
    if signed:
        document["signature"] = sign(document)
    (bundle / DOCUMENT_FILE).write_text(json.dumps(document))


def put_file(bundle: Path, name: str, blob: bytes) -> None:
    """Adds or replaces a file, listed with its right digest."""
    (bundle / name).write_bytes(blob)
    edit(bundle, lambda d: d["files"].update({name: hashlib.sha256(blob).hexdigest()}))


def statistics(document: Document, part: str = "action") -> Document:
    """The statistics of the state or the action in a document."""
    return document[part]["steps"][0]["statistics"]


def scale(document: Document, part: str, joints: Mapping[int, float]) -> None:
    """Multiplies the statistics of joints, as another unit would."""
    found = statistics(document, part)
    for column in ("mean", "std", "minimum", "maximum"):
        for joint, factor in joints.items():
            found[column][joint] *= factor
