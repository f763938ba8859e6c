"""What every stage leaves behind: an output that is whole or absent, a report, a list of rejects."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from finevla.errors import FineVLAError

REPORT_FILE = "report.json"
REJECTED_FILE = "rejected.jsonl"


@dataclass(frozen=True, slots=True)
class Rejected:
    """Something that a stage did not take: which, a reason code, and the words for a person."""

    item: str
    reason: str
    message: str


@contextmanager
def atomic_directory(out: Path) -> Iterator[Path]:
    """Gives a temporary directory that becomes `out` when the block succeeds, and is removed when not.

    Raises:
        FineVLAError: `out` exists and is not an empty directory.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FineVLAError(
            "the output exists already",
            where=out,
            expected="a path that does not exist, or an empty directory",
            remedy="give another --out, or remove it first",
        )
    temporary = out.parent / f".{out.name}.{os.getpid()}.part"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        if out.exists():
            out.rmdir()
        temporary.replace(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def plain(value: Any) -> Any:
    """The value in types that JSON knows: paths as text, arrays as lists, dataclasses as mappings."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(v) for v in value]
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return str(value) if isinstance(value, Path) else value


def write_json(path: Path, document: Any) -> None:
    """Writes a document as indented JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(plain(document), indent=2, ensure_ascii=False) + "\n")


def write_jsonl(path: Path, rows: Iterable[Any]) -> None:
    """Writes rows as JSON lines; the file appears even where there are none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(plain(row), ensure_ascii=False) + "\n" for row in rows))


def write_report(
    folder: Path,
    stage: str,
    config: Any,
    counts: Mapping[str, Any],
    seconds: float,
    rejected: Iterable[Rejected],
) -> None:
    """Writes `report.json` and `rejected.jsonl` of a stage.

    Args:
        folder: Where they go, usually the temporary output of `atomic_directory`.
        stage: Name of the verb.
        config: Its configuration, a dataclass.
        counts: What was read, written and dropped; hashes too.
        seconds: Wall-clock duration.
        rejected: What was not taken, with reasons.
    """
    rows = list(rejected)
    document = {
        "stage": stage,
        "config": config,
        "counts": {**counts, "rejected": len(rows)},
        "seconds": round(seconds, 3),
    }
    write_json(folder / REPORT_FILE, document)
    write_jsonl(folder / REJECTED_FILE, rows)


def progress(unit: str) -> Progress:
    """A progress bar on stderr; silent where stderr is not a terminal, so that logs stay readable."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(file=sys.stderr),
    )
