"""From the cells in a folder to `summary.json`, `table.md`, `curve.svg` and `curve.png`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from finevla.files import write_whole
from finevla.stages.sweep import published
from finevla.stages.sweep.count import against_raw, curves
from finevla.stages.sweep.ledger import Ledger
from finevla.stages.sweep.manifest import prove
from finevla.stages.sweep.plan import SweepError
from finevla.stages.sweep.table import markdown
from finevla.stages.sweep.verdict import verdict

SUMMARY_FILE, TABLE_FILE = "summary.json", "table.md"


def summarize(
    results: Mapping[str, Mapping[str, Any]],
    settings: Mapping[str, Any],
    missing: Sequence[str] = (),
    failed: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """All figures of a sweep.

    Args:
        results: Cells by name.
        settings: What they share.
        missing: Names of cells that were asked for and are not there.
        failed: Names of cells that failed, with the first line of the error.

    Raises:
        ManifestError: Cells of one seed were trained on different frames or judged on different pairs.
        SweepError: There are no cells, or some are of other settings.
    """
    if not results:
        raise SweepError(
            "there is no cell to draw",
            expected="cells/*.json",
            found="none",
            remedy="run `finevla sweep` without --only-table",
        )
    _check_settings(results, settings)
    manifests = prove(results)
    cells = list(results.values())
    found = curves(cells)
    return {
        "settings": dict(settings),
        "cells": list(results),
        "missing": list(missing),
        "failed": dict(failed or {}),
        "manifests": {str(seed): value for seed, value in manifests.items()},
        "git_commits": sorted({str(cell["git_commit"]) for cell in cells}),
        "machines": sorted({f"{cell['machine']['cpu']}, {cell['machine']['cpus']} CPUs" for cell in cells}),
        "seconds": _seconds(cells),
        "curves": found,
        "against_raw": {head: against_raw(cells, head) for head in found},
        "verdicts": {head: verdict(cells, head) for head in found},
        "published": {
            "source": published.SOURCE,
            "real_robot_avg_id": dict(published.REAL_ROBOT_AVG_ID),
            "robotwin_easy_hard": {name: dict(row) for name, row in published.ROBOTWIN.items()},
        },
    }


def draw(ledger: Ledger, *, plot: bool = True) -> dict[str, Any]:
    """Writes summary, table and curve of what is in the folder; gives the summary.

    Cells that were asked for, by whichever command, and are not there are named as missing.

    Raises:
        ManifestError, SweepError: As in `summarize`. Nothing is written.
    """
    results, failures = ledger.results(), ledger.failures()
    missing = [name for name in ledger.asked() if name not in results]
    failed = {name: (str(row["error"]).splitlines() or [""])[0] for name, row in failures.items()}
    summary = summarize(results, ledger.settings(), missing, failed)
    write_whole(ledger.out / SUMMARY_FILE, summary)
    (ledger.out / TABLE_FILE).write_text(markdown(summary), "utf-8")
    if plot:
        from finevla.stages.sweep.plot import draw_curve  # matplotlib is imported where it is used

        draw_curve(summary, ledger.out)
    return summary


def _check_settings(results: Mapping[str, Mapping[str, Any]], settings: Mapping[str, Any]) -> None:
    for name, cell in results.items():
        changed = [key for key in settings if cell["config"].get(key) != settings[key]]
        if changed:
            raise SweepError(
                f"the cell {name} is of another configuration than its folder",
                expected=", ".join(f"{key}={settings[key]!r}" for key in changed),
                found=", ".join(f"{key}={cell['config'].get(key)!r}" for key in changed),
                remedy="remove it from cells/, with its run, and sweep again",
            )


def _seconds(cells: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Time of all cells per phase, s."""
    spent: dict[str, float] = {}
    for cell in cells:
        for phase, seconds in cell["seconds"].items():
            spent[phase] = round(spent.get(phase, 0.0) + float(seconds), 1)
    return spent
