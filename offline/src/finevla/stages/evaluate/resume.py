"""Outcomes of pairs that were measured so far, kept so that the same command goes on where it stopped."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from finevla.stages.evaluate.outcome import Outcome, ProbeResult, run_document, run_from
from finevla.stages.evaluate.partial import Partial
from finevla.stages.evaluate.plan import Pair

_KIND = "finevla evaluate paired"


class Ledger:
    """The partial result of one configuration.

    Args:
        path: Where it is kept; nothing is kept when None.
        config: Everything that decides the result.

    Raises:
        FineVLAError: The file cannot be written, is damaged, or belongs to another configuration.
    """

    def __init__(self, path: Path | None, config: Mapping[str, Any]) -> None:
        self._partial = Partial(path, {"kind": _KIND, **config})
        try:
            self._done = {(row["factor"], row["number"]): row for row in self._partial.rows}
        except KeyError as err:
            raise self._partial.damaged(f"a row without {err}") from err

    def outcome(self, pair: Pair) -> Outcome | None:
        """What is already known of a pair."""
        document = self._done.get((pair.factor, pair.number))
        return None if document is None else _outcome(document, pair)

    def add(self, outcome: Outcome) -> None:
        """Keeps an outcome; it is on disk when this returns."""
        self._partial.add(_document(outcome))

    def close(self) -> None:
        """Removes the file: the whole result is written elsewhere."""
        self._partial.close()


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
