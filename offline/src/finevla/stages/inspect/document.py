"""JSON documents that a directory must hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from finevla.errors import BagError, DatasetError


def read_object(path: Path, error: type[DatasetError | BagError]) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        DatasetError, BagError: As `error` says: it cannot be read, or is none.
    """
    try:
        document = json.loads(path.read_text())
    except (OSError, ValueError) as err:
        raise error("a file cannot be read", where=path, found=err, remedy="make it again") from err
    if not isinstance(document, dict):
        raise error(
            "a file is not a JSON object", where=path, found=type(document).__name__, remedy="make it again"
        )
    return document
