"""`finevla doctor`: one row per thing that must work, with the remedy for what does not."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table

from finevla.stages.doctor.checks import CHECKS, FAIL, OK, Row

COLORS = {"ok": "green", "warn": "yellow", "fail": "red"}


@dataclass(frozen=True)
class Config:
    """Say what of the installation works, and how to repair the rest."""

    json: bool = False
    """Print the rows as JSON."""


def _table(rows: list[Row]) -> Table:
    table = Table("check", "state", "found", box=None, pad_edge=False)
    for row in rows:
        remedy = f"\n[bold]remedy:[/bold] {row.remedy}" if row.remedy and row.state != OK else ""
        table.add_row(
            row.check, f"[{COLORS[row.state]}]{row.state}[/]", row.found.replace("[", r"\[") + remedy
        )
    return table


def main(config: Config) -> int:
    """Runs all checks; returns 1 if one failed."""
    progress = Console(stderr=True)
    rows = []
    for check in CHECKS:
        with progress.status(f"checking {check.__name__.replace('_', ' ')} ..."):
            rows.append(check())
    if config.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        Console().print(_table(rows))
    return 1 if any(row.state == FAIL for row in rows) else 0
