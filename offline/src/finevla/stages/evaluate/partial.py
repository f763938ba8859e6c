"""Rows of a result that is not complete yet, as JSON lines on disk: the same command goes on from there.

The first line is what decides the result, every further one a row. A last line that was cut off, because
the process was killed while it wrote, is dropped; its row is made again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from finevla.errors import FineVLAError
from finevla.files import plain

SUFFIX = ".partial.jsonl"


def partial_path(result: Path | None) -> Path | None:
    """Where the rows of a result are kept until it is complete; nowhere where there is no result file."""
    return None if result is None else result.with_name(result.name + SUFFIX)


class Partial:
    """Keeps rows as they are made; `rows` are those that were there already.

    Args:
        path: Where they are kept; only in memory when None.
        header: Everything that decides the result.

    Raises:
        FineVLAError: The file belongs to another configuration, is damaged, or cannot be written.
    """

    def __init__(self, path: Path | None, header: Mapping[str, Any]) -> None:
        self._path = path
        self._header: dict[str, Any] = json.loads(json.dumps(plain(header)))
        self.rows: list[dict[str, Any]] = []
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lines = path.read_text("utf-8").splitlines(keepends=True) if path.exists() else []
            self.rows = self._taken_over(path, [line for line in lines if line.endswith("\n")])
            path.write_text("".join(json.dumps(row) + "\n" for row in (self._header, *self.rows)), "utf-8")
        except (OSError, UnicodeDecodeError) as err:
            raise FineVLAError(
                "the partial result cannot be kept",
                where=path,
                expected="a file in a folder that can be written",
                found=repr(err),
                remedy="give another --json",
            ) from err

    def add(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Keeps a row, which is on disk when this returns; gives it back as it will be read."""
        line = json.dumps(plain(row))
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        document: dict[str, Any] = json.loads(line)
        return document

    def damaged(self, problem: object) -> FineVLAError:
        """The refusal of a file whose rows are not what its reader expects."""
        return FineVLAError(
            "the partial result is damaged",
            where=self._path,
            expected="JSON lines of this command",
            found=problem,
            remedy="remove the file to begin again",
        )

    def close(self) -> None:
        """Removes the file: the whole result is written elsewhere."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _taken_over(self, path: Path, lines: list[str]) -> list[dict[str, Any]]:
        if not lines:
            return []
        try:
            before, *rows = [dict(json.loads(line)) for line in lines]
        except (ValueError, TypeError) as err:
            raise self.damaged(repr(err)) from err
        changed = sorted(key for key in {*before, *self._header} if before.get(key) != self._header.get(key))
        if changed:
            raise FineVLAError(
                "there is a partial result of another command",
                where=path,
                expected=", ".join(f"{key}={before.get(key)}" for key in changed),
                found=", ".join(f"{key}={self._header.get(key)}" for key in changed),
                remedy="repeat the command that began it, give another --json, or remove the file",
            )
        return rows
