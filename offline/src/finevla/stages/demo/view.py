"""Live progress on stderr."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from finevla.stages.demo.rows import Row, verdict_words


class View:
    """What the bring-up waits for, then which instruction runs."""

    def __init__(self) -> None:
        self.console = Console(stderr=True)
        self._progress = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=self.console
        )
        self._task = self._progress.add_task("starting the ROS graph")
        self._said: dict[str, str] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the running line; what was said stays."""
        self._progress.stop()

    def say(self, text: str) -> None:
        """Shows a line of its own and keeps it."""
        self._progress.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def now(self, text: str) -> None:
        """Replaces the running line."""
        self._progress.update(self._task, description=text)

    def waiting(self, awaited: Mapping[str, str], passed_s: float) -> None:
        """Says what is still awaited, and once what has arrived."""
        for node in [name for name in self._said if name not in awaited]:
            del self._said[node]
            self.say(f"  ready after {passed_s:5.1f} s: {node}")
        self._said = dict(awaited)
        if awaited:
            self.now("waiting for " + "; ".join(f"{node}: {what}" for node, what in awaited.items()))

    def row(self, row: Row) -> None:
        """Says how one instruction went."""
        took = f"({row.seconds:.1f} s{_tries(row)})"
        self.say(f"  {row.trial.index + 1}. {row.trial.text}: {verdict_words(row)} {took}")


def _tries(row: Row) -> str:
    if row.attempts == 1:
        return ""
    return f", try {row.attempts}: before, the simulator did not keep real time in the first seconds"
