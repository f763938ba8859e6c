"""The result as text. Every mean goes through `Measured`, so that none stands without its n."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from finevla.stages.evaluate.statistics import Measured, share_of


def measures(row: Mapping[str, Any]) -> dict[str, Measured]:
    """The means of one row of the result, in percent and points, by key."""
    n = int(row["n"])
    found = {
        "compliance": share_of(row["compliance"], row["ci95"], n),
        "success": share_of(row["success"], row["success_ci95"], n),
        "switch_rate": share_of(row["switch_rate"], row["switch_ci95"], n),
        "changed_only": share_of(row["changed_only"], row["changed_only_ci95"], n),
    }
    if "points" in row:
        low, high = row["points_ci95"]
        found["points"] = Measured(row["points"], low, high, n)
    return found


def average(result: Mapping[str, Any], key: str) -> Measured | None:
    """`avg_id` or `avg_all`; None where no row belongs to it."""
    if result[key] is None:
        return None
    low, high = result[f"{key}_ci95"]
    return Measured(result[key], low, high, result[f"{key}_n"])


def chance_words(row: Mapping[str, Any]) -> str:
    """The chance level, and whether compliance cannot be told from it."""
    return f"{100 * row['chance']:.1f}" + (" at chance" if row["at_chance"] else "")


def p_words(p: float) -> str:
    """A p value, short."""
    return f"{p:.3f}" if p >= 0.001 else f"{p:.0e}"


def timing_words(timing: Mapping[str, Any]) -> str:
    """How fast it went and where the time goes."""
    if not timing["episodes"]:
        return "nothing was run: all of it was measured before"
    shares = ", ".join(f"{part} {100 * share:.0f} %" for part, share in timing["time_share"].items())
    rate = timing["episodes_per_minute"]
    speed = f"{rate:.0f} episodes per minute" if rate is not None else "all of it measured before"
    return f"{timing['episodes']} episodes, {speed}; time of the workers: {shares}"


def table(result: Mapping[str, Any]) -> str:
    """The result of `summarize` as text."""
    rows = result["factors"]
    first, second = [], []
    for name, row in rows.items():
        found = measures(row)
        points = str(found["points"]) if "points" in found else "not known"
        first.append([name, str(found["compliance"]), chance_words(row), str(found["success"]), points])
        mcnemar = row["mcnemar"]
        split = f"{mcnemar['own_only']} : {mcnemar['other_only']}, p {p_words(mcnemar['p'])}"
        refused = f"{row['refused']} of {row['runs']}"
        second.append([name, str(found["switch_rate"]), str(found["changed_only"]), split, refused])
    parts = [
        _columns(["factor", "compliance %", "chance %", "success %", "points of 100"], first),
        _columns(["factor", "switched %", "nothing else changed %", "own : other words", "refused"], second),
    ]
    if "probes" in result:
        parts.append(_probe_table(result["probes"]))
    return "\n\n".join([*parts, _averages(result)])


def _averages(result: Mapping[str, Any]) -> str:
    known, everything = average(result, "avg_id"), average(result, "avg_all")
    lines = [f"Avg(ID), mean compliance on a scale of 100: {known}"] if known else []
    if everything is not None and "ood" in result["factors"]:
        lines.append(f"Avg(All), with the combination never trained: {everything}")
    lines.append("n counts pairs; intervals are 95 %: Wilson, for points bootstrap over pairs")
    return "\n".join(lines)


def _probe_table(probes: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [
        [
            name,
            row["expect"],
            str(share_of(row["as_expected"], row["ci95"], row["n"])),
            str(share_of(row["plain"], row["plain_ci95"], row["n"])) if row["expect"] == "same" else "",
            f"{row['refused']} of {row['n']}",
        ]
        for name, row in probes.items()
    ]
    return _columns(["probe", "expected", "as expected %", "plain sentence %", "refused"], rows)


def _columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[i]) for line in (head, *rows)) for i in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in (head, *rows)
    )
