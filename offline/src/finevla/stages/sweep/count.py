"""Cells into curves: pairs are pooled over the seeds of a setting, the seeds' own values stand beside them.

Every seed has scenes of its own, so its pairs add to the trials. What training seeds differ by is not in
the interval of pooled pairs; it shows in the spread of the seeds' values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from finevla.sim.factors import OOD
from finevla.stages.evaluate.intervals import wilson
from finevla.stages.evaluate.statistics import Measured
from finevla.stages.sweep.plan import HEADS, MIXES, RAW

CellDocument = Mapping[str, Any]


def curves(cells: Sequence[CellDocument]) -> dict[str, dict[str, Any]]:
    """Head -> mix -> figures, both in their order, of all cells that are there."""
    found: dict[str, dict[str, Any]] = {}
    for head in HEADS:
        mine = [cell for cell in cells if cell["head"] == head]
        settings = {mix: [cell for cell in mine if cell["mix"] == mix] for mix in MIXES}
        points = {mix: point(chosen) for mix, chosen in settings.items() if chosen}
        if points:
            found[head] = points
    return found


def point(cells: Sequence[CellDocument]) -> dict[str, Any]:
    """The figures of one head and mix, pooled over seeds; means in percent with 95 % intervals and n."""
    ordered = sorted(cells, key=lambda cell: int(cell["seed"]))
    names = list(ordered[0]["evaluation"]["factors"])
    rows = {name: [cell["evaluation"]["factors"][name] for cell in ordered] for name in names}
    known = [name for name in names if name != OOD]
    document: dict[str, Any] = {
        "seeds": [int(cell["seed"]) for cell in ordered],
        "factors": {name: pooled(rows[name], "compliance") for name in names},
        "success_of": {name: pooled(rows[name], "success") for name in names},
        "chance": {name: _mean([row["chance"] for row in rows[name]]) for name in names},
        "avg_id": averaged([pooled(rows[name], "compliance") for name in known]),
        "success": averaged([pooled(rows[name], "success") for name in known]),
        "avg_id_chance": 100.0 * _mean([row["chance"] for name in known for row in rows[name]]),
        "ood": pooled(rows[OOD], "compliance") if OOD in rows else None,
        "ood_success": pooled(rows[OOD], "success") if OOD in rows else None,
        "avg_all": averaged([pooled(rows[name], "compliance") for name in names]),
        "by_seed": {
            "avg_id": [_over(cell, known, "compliance") for cell in ordered],
            "success": [_over(cell, known, "success") for cell in ordered],
            "ood": [_over(cell, [OOD], "compliance") for cell in ordered] if OOD in rows else [],
        },
        "training": {
            key: [cell["training"][key] for cell in ordered]
            for key in ("final_loss", "validation_loss", "r2", "updates", "seconds")
        },
    }
    return document | {"held_out": _probe(ordered, "held_out"), "ablations": _ablations(ordered)}


def pooled(rows: Sequence[Mapping[str, Any]], key: str) -> dict[str, float]:
    """One factor over several cells: the mean over all pairs, in percent, with Wilson's interval.

    Raises:
        FineVLAError: There are no pairs.
    """
    n = sum(int(row["n"]) for row in rows)
    share = sum(row[key] * row["n"] for row in rows) / n if n else 0.0
    return _figure(share, n)


def averaged(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of rows that weigh alike, with Wilson's interval over all their pairs.

    Rows that differ spread less than that interval says: it is on the safe side.
    """
    n = sum(int(part["n"]) for part in parts)
    return _figure(_mean([part["mean"] for part in parts]) / 100.0, n)


def measured(figure: Mapping[str, float]) -> Measured:
    """A figure that prints itself with its interval and n."""
    return Measured(figure["mean"], figure["low"], figure["high"], int(figure["n"]))


def separated(figure: Mapping[str, float], other: Mapping[str, float]) -> str:
    """`higher` or `lower` than the other where the intervals do not meet; `not separated` else."""
    if figure["low"] > other["high"]:
        return "higher"
    return "lower" if figure["high"] < other["low"] else "not separated"


def against_raw(cells: Sequence[CellDocument], head: str) -> dict[str, dict[str, Any]]:
    """Mix -> what it changes against raw only, per factor and on average, over the seeds of both."""
    mine = [cell for cell in cells if cell["head"] == head]
    found: dict[str, dict[str, Any]] = {}
    for mix in MIXES:
        seeds = _seeds(mine, mix) & _seeds(mine, RAW)
        if mix == RAW or not seeds:
            continue
        with_words, without = (
            point([cell for cell in mine if cell["mix"] == name and cell["seed"] in seeds])
            for name in (mix, RAW)
        )
        rows = {
            name: _change(with_words["factors"][name], without["factors"][name])
            for name in with_words["factors"]
            if name in without["factors"]
        }
        averages = {key: _change(with_words[key], without[key]) for key in ("avg_id", "success")}
        found[mix] = {"seeds": sorted(seeds), "factors": rows, **averages}
    return found


def common(cells: Sequence[CellDocument], head: str) -> list[int]:
    """The seeds that all mixes of a head have, of those mixes that are there."""
    mine = [cell for cell in cells if cell["head"] == head]
    sets = [seeds for mix in MIXES if (seeds := _seeds(mine, mix))]
    return sorted(set.intersection(*sets)) if sets else []


def _seeds(cells: Sequence[CellDocument], mix: str) -> set[int]:
    return {int(cell["seed"]) for cell in cells if cell["mix"] == mix}


def _change(now: Mapping[str, float], before: Mapping[str, float]) -> dict[str, Any]:
    return {
        "mixed": now,
        "raw": before,
        "difference": now["mean"] - before["mean"],
        "verdict": separated(now, before),
    }


def _figure(share: float, n: int) -> dict[str, float]:
    low, high = wilson(min(share, 1.0), n) if n else (0.0, 1.0)
    figure = Measured(100.0 * share, 100.0 * low, 100.0 * high, n)
    return {"mean": figure.mean, "low": figure.low, "high": figure.high, "n": figure.n}


def _over(cell: CellDocument, names: Sequence[str], key: str) -> float:
    """One cell's own mean over factors, in percent."""
    return 100.0 * _mean([cell["evaluation"]["factors"][name][key] for name in names])


def _probe(cells: Sequence[CellDocument], name: str) -> dict[str, float] | None:
    """How often a probe ended as it had to, pooled; None where it was not tried in every cell."""
    rows = [probes[name] for cell in cells if (probes := cell.get("probes")) and name in probes]
    return pooled(rows, "as_expected") if len(rows) == len(cells) else None


def _ablations(cells: Sequence[CellDocument]) -> dict[str, Any] | None:
    """Change of the prediction per ablation, the mean over seeds; None where it was not measured."""
    tables = [found["ablations"] for cell in cells if (found := cell.get("openloop"))]
    if len(tables) != len(cells):
        return None
    names = [name for name in tables[0] if all(table.get(name, {}).get("n") for table in tables)]
    keys = ("change_rad", "error_increase_rad")
    return {name: {key: _mean([table[name][key] for table in tables]) for key in keys} for name in names}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
