"""The table that a demonstration prints."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from finevla.stages.demo.rows import REPEAT_RULE, Row, Tally, repeated, tally


def _yes(value: bool) -> Text:
    return Text("yes", style="green") if value else Text("no", style="bold red")


def _sentence(row: Row) -> Text:
    text = Text(row.trial.text)
    text.highlight_words([row.trial.changed], style="bold yellow", case_sensitive=False)
    return text


def build(rows: Sequence[Row]) -> Table:
    """One line per instruction: asked, arm that moved, object lifted, complied, done, seconds."""
    table = Table(title="What the robot was told, and what it did", title_justify="left")
    table.add_column("#", justify="right")
    table.add_column("asked", overflow="fold", min_width=24)
    for name in ("arm moved", "object lifted", "complied", "done", "ended"):
        table.add_column(name)
    table.add_column("s", justify="right")
    for i, row in enumerate(rows):
        last_of_pair = i + 1 == len(rows) or rows[i + 1].trial.pair != row.trial.pair
        table.add_row(
            str(row.trial.index + 1),
            _sentence(row),
            row.verdict.moved_arm or "none",
            f"{row.verdict.lifted_color} cube" if row.verdict.lifted_color else "none",
            _yes(row.complied),
            _yes(row.verdict.done),
            row.ended,
            f"{row.seconds:.1f}",
            end_section=last_of_pair,
        )
    return table


WIDTH = 118
"""Width where there is no terminal, such as in a log."""


def report_console() -> Console:
    """Prints the report on stdout, wide enough for the table where it is no terminal."""
    console = Console()
    return console if console.is_terminal else Console(width=WIDTH)


def show(rows: Sequence[Row], console: Console) -> None:
    """Prints the table and the counts, and those of the first tries where any was repeated."""
    console.print(build(rows))
    console.print(_counts(tally(rows)))
    if repeated(rows):
        console.print(f"first tries alone: {_counts(tally(row.first for row in rows))}")
        console.print(f"tries repeated: {repeated(rows)}; {REPEAT_RULE}", soft_wrap=True, highlight=False)


def _counts(counts: Tally) -> str:
    return (
        f"arm obeyed {counts.arm}/{counts.n}, color obeyed {counts.color}/{counts.n}, "
        f"done {counts.done}/{counts.n}"
    )
