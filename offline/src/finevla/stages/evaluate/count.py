"""Outcomes of pairs into the figures of the result.

Trials are pairs everywhere: the two runs of a pair share a scene, so that counting them as two
independent trials would claim too much. What the names mean is in the docstring of `paired`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from finevla.errors import FineVLAError
from finevla.sim.factors import OOD
from finevla.stages.evaluate.intervals import wilson
from finevla.stages.evaluate.outcome import Outcome, ProbeResult
from finevla.stages.evaluate.statistics import METHOD, FloatArray, bounds, mcnemar, resampled_means

SHARES: Mapping[str, Callable[[Outcome], float]] = {
    "compliance": lambda row: row.compliance,
    "success": lambda row: row.success,
    "switch_rate": lambda row: float(row.switched),
    "changed": lambda row: float(row.changed),
    "changed_only": lambda row: float(row.others_kept),
}
"""Measures of a pair, each 0 to 1."""
_INTERVALS = {
    "compliance": "ci95",
    "success": "success_ci95",
    "switch_rate": "switch_ci95",
    "changed_only": "changed_only_ci95",
}


def summarize(outcomes: Iterable[Outcome], factors: Sequence[str]) -> dict[str, Any]:
    """The figures: `{"factors": {NAME: {...}}, "avg_id": ..., "avg_all": ..., ...}`.

    Args:
        outcomes: Of all pairs that were run.
        factors: Names of the rows, in the order of the result.

    Raises:
        FineVLAError: A row has no pair, so that its mean does not exist.
    """
    rows = list(outcomes)
    table, means = {}, {}
    for factor in factors:
        chosen = [row for row in rows if row.pair.factor == factor]
        if not chosen:
            raise FineVLAError(
                f"no pair of the factor {factor} was run",
                expected="n of 1 or more",
                found="n=0",
                remedy="a mean needs at least one pair",
            )
        table[factor], means[factor] = _factor(factor, chosen)
    result = {"factors": table, **_averages(table, means)}
    tried = [(row, probe) for row in rows for probe in row.probes]
    return result | ({"probes": _probes(tried)} if tried else {})


def _factor(factor: str, rows: Sequence[Outcome]) -> tuple[dict[str, Any], FloatArray]:
    n, runs = len(rows), [run for row in rows for run in row.counted]
    chance = sum(row.pair.chance for row in rows) / n
    document = {"n": n, "runs": len(runs), **_shares(rows), "chance": chance}
    low, high = document["ci95"]
    document["at_chance"] = low <= chance <= high
    document["refused"] = sum(bool(run.refused) for run in runs)
    document["settled"] = sum(run.settled for run in runs) / len(runs)
    document["mcnemar"] = _mcnemar(rows)
    samples = _samples(rows)
    means = resampled_means(samples, factor, n)
    document["bootstrap95"] = {name: bounds(means[:, i]) for i, name in enumerate(SHARES)}
    if samples.shape[1] > len(SHARES):
        document["points"] = float(samples[:, -1].mean())
        document["points_ci95"] = bounds(means[:, -1])
    document["passed_over"] = sum(row.pair.passed_over for row in rows)
    document["values"] = _asked(rows)
    document["tasks"] = {
        task: {"n": len(chosen), **_shares(chosen)}
        for task in sorted({row.pair.spec.task for row in rows})
        if (chosen := [row for row in rows if row.pair.spec.task == task])
    }
    return document, means[:, 0]


def _samples(rows: Sequence[Outcome]) -> FloatArray:
    """One row per pair: all shares and, where runs have points, their mean as the last column."""
    columns = [[measure(row) for row in rows] for measure in SHARES.values()]
    points = [[run.points for run in row.counted if run.points is not None] for row in rows]
    if all(points):
        columns.append([sum(values) / len(values) for values in points])
    return np.array(columns, dtype=np.float64).T


def _shares(rows: Sequence[Outcome]) -> dict[str, Any]:
    n = len(rows)
    shares = {name: sum(map(measure, rows)) / n for name, measure in SHARES.items()}
    return shares | {key: list(wilson(shares[name], n)) for name, key in _INTERVALS.items()}


def _mcnemar(rows: Sequence[Outcome]) -> dict[str, Any]:
    """The 2x2 table of `Outcome.matches` over pairs, and the exact two-sided p value."""
    cells = Counter(row.matches for row in rows)
    own_only, other_only = cells[True, False], cells[False, True]
    return {
        "both": cells[True, True],
        "own_only": own_only,
        "other_only": other_only,
        "neither": cells[False, False],
        "p": mcnemar(own_only, other_only),
    }


def _asked(rows: Sequence[Outcome]) -> dict[str, int]:
    """How often each value was asked for in the counted runs."""
    asked = Counter(
        _word(getattr(row.pair.goals[i], row.pair.field)) for row in rows for i in row.pair.counted
    )
    return dict(sorted(asked.items()))


def _word(value: Any) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)


def _averages(table: Mapping[str, Mapping[str, Any]], means: Mapping[str, FloatArray]) -> dict[str, Any]:
    """Mean compliance over the rows of the training distribution, and over all; every row weighs alike.

    Wilson's interval with all pairs as trials is on the safe side: rows that differ spread less.
    """
    known = [name for name in table if name != OOD]
    found: dict[str, Any] = {}
    for key, names in (("avg_id", known), ("avg_all", list(table))):
        n = sum(table[name]["n"] for name in names)
        found |= {key: None, f"{key}_n": n, f"{key}_ci95": None, f"{key}_bootstrap95": None}
        if n:
            average = sum(table[name]["compliance"] for name in names) / len(names)
            drawn = bounds(np.mean([means[name] for name in names], axis=0))
            found[key] = round(100.0 * average, 2)
            found[f"{key}_ci95"] = [100.0 * bound for bound in wilson(min(average, 1.0), n)]
            found[f"{key}_bootstrap95"] = [100.0 * bound for bound in drawn]
    return found | {"bootstrap": METHOD}


def _probes(tried: Sequence[tuple[Outcome, ProbeResult]]) -> dict[str, Any]:
    """Per probe: how often what happened is what had to, and how often the plain sentence was obeyed."""
    document = {}
    for name in dict.fromkeys(probe.name for _, probe in tried):
        chosen = [(row, probe) for row, probe in tried if probe.name == name]
        n, found = len(chosen), [probe for _, probe in chosen]
        share = sum(probe.as_expected for probe in found) / n
        plain = sum(all(row.runs[0].complied.values()) for row, _ in chosen) / n
        document[name] = {
            "n": n,
            "expect": found[0].expect,
            "as_expected": share,
            "ci95": list(wilson(share, n)),
            "plain": plain,
            "plain_ci95": list(wilson(plain, n)),
            "refused": sum(bool(probe.run.refused) for probe in found),
            "still": sum(probe.run.still for probe in found),
            "success": sum(probe.run.success for probe in found) / n,
            "example": found[0].text,
            "factors": _by_factor(chosen),
        }
    return document


def _by_factor(chosen: Sequence[tuple[Outcome, ProbeResult]]) -> dict[str, dict[str, float]]:
    table: dict[str, list[bool]] = {}
    for row, probe in chosen:
        table.setdefault(row.pair.factor, []).append(probe.as_expected)
    return {name: {"n": len(flags), "as_expected": sum(flags) / len(flags)} for name, flags in table.items()}
