"""What was measured so far, kept on disk as JSON lines, so that the same command goes on where it stopped.

The first line is the configuration with its hash, every further one the outcome of a pair. A last line
that was cut off (the process was killed while writing) is dropped; its pair is run again.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from finevla.errors import FineVLAError
from finevla.stages.evaluate.outcome import Outcome, ProbeResult, run_document, run_from
from finevla.stages.evaluate.plan import Pair
from finevla.stages.report import plain

SUFFIX = ".partial.jsonl"
_KIND = "finevla evaluate paired"

Key = tuple[str, int]


class Ledger:
    """The partial result of one configuration.

    Args:
        path: Where it is kept; nothing is kept when None.
        config: Everything that decides the result; JSON types.

    Raises:
        FineVLAError: The file cannot be written, is damaged, or belongs to another configuration.
    """

    def __init__(self, path: Path | None, config: Mapping[str, Any]) -> None:
        self._path = path
        self._config = plain(config)
        self._done: dict[Key, dict[str, Any]] = {}
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lines = path.read_text("utf-8").splitlines(keepends=True) if path.exists() else []
            kept = self._read(path, lines)
            path.write_text("".join([self._header(), *kept]), "utf-8")
        except (OSError, UnicodeDecodeError) as err:
            raise FineVLAError(
                "the partial result cannot be kept",
                where=path,
                expected="a file in a folder that can be written",
                found=repr(err),
                remedy="give another --json",
            ) from err

    def outcome(self, pair: Pair) -> Outcome | None:
        """What is already known of a pair."""
        document = self._done.get((pair.factor, pair.number))
        return None if document is None else _outcome(document, pair)

    def add(self, outcome: Outcome) -> None:
        """Keeps an outcome; it is on disk when this returns."""
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(plain(_document(outcome)), ensure_ascii=False) + "\n")

    def close(self) -> None:
        """Removes the file: the whole result is written elsewhere."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _header(self) -> str:
        config = json.dumps(self._config, sort_keys=True, ensure_ascii=False)
        digest = hashlib.sha256(config.encode()).hexdigest()
        header = {"kind": _KIND, "config_hash": digest, "config": self._config}
        return json.dumps(header, sort_keys=True, ensure_ascii=False) + "\n"

    def _read(self, path: Path, lines: list[str]) -> list[str]:
        """Takes over what the file holds; returns the lines to keep."""
        if lines and not lines[-1].endswith("\n"):
            lines = lines[:-1]
        if not lines:
            return []
        try:
            header, *rows = [json.loads(line) for line in lines]
            before = header["config"]
            same = header["kind"] == _KIND and lines[0] == self._header()
            self._done = {(row["factor"], row["number"]): row for row in rows}
        except (ValueError, KeyError, TypeError) as err:
            raise FineVLAError(
                "the partial result is damaged",
                where=path,
                expected=f"JSON lines of `{_KIND}`",
                found=repr(err),
                remedy="remove it to begin again",
            ) from err
        if not same:
            keys = sorted({*before, *self._config})
            changed = [key for key in keys if before.get(key) != self._config.get(key)]
            raise FineVLAError(
                "there is a partial result of another configuration",
                where=path,
                expected=", ".join(f"{key}={before.get(key)}" for key in changed),
                found=", ".join(f"{key}={self._config.get(key)}" for key in changed),
                remedy="repeat the command that began it, give another --json, or remove the file",
            )
        return lines[1:]


def _document(outcome: Outcome) -> dict[str, Any]:
    return {
        "factor": outcome.pair.factor,
        "number": outcome.pair.number,
        "runs": [run_document(run) for run in outcome.runs],
        "probes": [
            {"name": p.name, "text": p.text, "expect": p.expect, "run": run_document(p.run)}
            for p in outcome.probes
        ],
        "film": base64.b64encode(outcome.film).decode(),
        "film_error": outcome.film_error,
    }


def _outcome(document: Mapping[str, Any], pair: Pair) -> Outcome:
    return Outcome(
        pair,
        tuple(run_from(run) for run in document["runs"]),
        tuple(ProbeResult(p["name"], p["text"], p["expect"], run_from(p["run"])) for p in document["probes"]),
        base64.b64decode(document["film"]),
        document["film_error"],
    )
