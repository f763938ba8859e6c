"""Shows a running sweep: a bar over cells and what each running cell is at; without a terminal, log lines."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.progress import TaskID

from finevla.stages.evaluate.partial import SUFFIX
from finevla.stages.report import progress
from finevla.stages.sweep.phases import PAIRED, TRAIN, events
from finevla.stages.sweep.plan import CellJob

_LOG = logging.getLogger("finevla.sweep")
_SAY_EVERY_S = 60.0


def phase_words(job: CellJob) -> str:
    """What a cell is at, as in `train 1500/4000`; empty where it has not begun or is between phases."""
    rows = events(job.run)
    if not rows or rows[-1]["event"] != "start":
        return ""
    phase = str(rows[-1]["phase"])
    if phase == TRAIN:
        return f"{phase} {_last_step(job.run / TRAIN / 'metrics.jsonl')}/{job.settings.steps}"
    if phase == PAIRED:
        return f"{phase} {_lines(job.run / f'paired.json{SUFFIX}')} pairs"
    return phase


def _last_step(path: Path) -> int:
    lines = path.read_text("utf-8").splitlines(keepends=True) if path.exists() else []
    whole = [line for line in lines if line.endswith("\n")]
    return int(json.loads(whole[-1])["step"]) if whole else 0


def _lines(path: Path) -> int:
    """Measured pairs: the lines of the partial result but for its head."""
    return max(path.read_bytes().count(b"\n") - 1, 0) if path.exists() else 0


class Watch(AbstractContextManager["Watch"]):
    """The progress of a sweep on stderr.

    Args:
        jobs: Cells that are run now.
        complete: Cells that were complete before.
    """

    def __init__(self, jobs: Sequence[CellJob], complete: int) -> None:
        self._jobs = {job.cell.name: job for job in jobs}
        self._bar = progress("cells")
        self._whole = self._bar.add_task("sweep", total=len(jobs) + complete, completed=complete)
        self._rows: dict[str, TaskID] = {}
        self._said: dict[str, str] = {}
        self._said_at = 0.0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def look(self) -> None:
        """Reads what the running cells are at and shows it."""
        words = {name: found for name, job in self._jobs.items() if (found := phase_words(job))}
        for name in [name for name in self._rows if name not in words]:
            self._bar.remove_task(self._rows.pop(name))
        for name, text in words.items():
            if name not in self._rows:
                self._rows[name] = self._bar.add_task(name, total=None)
            self._bar.update(self._rows[name], description=f"  {name}: {text}")
        self._say(words)

    def ended(self, job: CellJob, error: str = "") -> None:
        """A cell came to its end."""
        self._jobs.pop(job.cell.name, None)
        self._bar.advance(self._whole)
        if error:
            _LOG.error("%s failed: %s", job.cell.name, error)
        elif not self._bar.console.is_terminal:
            _LOG.info("%s is complete", job.cell.name)

    def _say(self, words: dict[str, str]) -> None:
        """A log line at every change of phase and once a minute; none where a terminal shows the bar."""
        if self._bar.console.is_terminal:
            return
        phases = {name: text.split()[0] for name, text in words.items()}
        now = time.monotonic()
        if phases != self._said or now - self._said_at >= _SAY_EVERY_S:
            self._said, self._said_at = phases, now
            _LOG.info("%s", "; ".join(f"{name}: {text}" for name, text in words.items()) or "between phases")
