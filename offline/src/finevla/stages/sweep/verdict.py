"""What a curve says, computed: where its maximum is, whether inside, and whether intervals are apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from finevla.sim.factors import OOD
from finevla.stages.sweep.count import CellDocument, against_raw, common, measured, point, separated
from finevla.stages.sweep.plan import FINE, MIXES, RAW


def verdict(cells: Sequence[CellDocument], head: str) -> dict[str, Any]:
    """The verdict on one head, over the seeds that all its mixes have.

    Attributes of the document: `complete` (all seven mixes), `peak` (mix with the highest Avg(ID)),
    `inner_maximum` (the peak is neither raw nor fg; None where one of these is missing),
    `against_ends` (separated from raw and from fg or not), `factors` (per mix, how many factors of the
    training distribution are higher and lower than raw with intervals apart), `text`.
    """
    seeds = common(cells, head)
    mine = [cell for cell in cells if cell["head"] == head and int(cell["seed"]) in seeds]
    points = {mix: point(chosen) for mix in MIXES if (chosen := [c for c in mine if c["mix"] == mix])}
    if not points:
        return {"seeds": [], "text": f"{head}: no seed has all the mixes that are there; no verdict yet."}
    peak = max(points, key=lambda mix: points[mix]["avg_id"]["mean"])
    ends = {end: points[end]["avg_id"] for end in (RAW, FINE) if end in points}
    against = {end: separated(points[peak]["avg_id"], found) for end, found in ends.items() if end != peak}
    document = {
        "seeds": seeds,
        "complete": set(points) == set(MIXES),
        "peak": peak,
        "inner_maximum": peak not in ends if len(ends) == 2 else None,
        "against_ends": against,
        "factors": _factor_counts(cells, head),
    }
    return document | {"text": _text(head, points, document)}


def _factor_counts(cells: Sequence[CellDocument], head: str) -> dict[str, dict[str, int]]:
    return {
        mix: {
            kind: sum(row["verdict"] == kind for name, row in found["factors"].items() if name != OOD)
            for kind in ("higher", "lower", "not separated")
        }
        for mix, found in against_raw(cells, head).items()
    }


def _text(head: str, points: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    peak, seeds = document["peak"], document["seeds"]
    which = f"seeds {', '.join(map(str, seeds))}" if len(seeds) > 1 else f"seed {seeds[0]}"
    parts = [f"{head} ({which}): Avg(ID) is highest at {peak}, {measured(points[peak]['avg_id'])}."]
    parts += [_end_words(end, points, document) for end in (RAW, FINE) if end in points and end != peak]
    parts.append(_shape_words(document))
    if peak in document["factors"]:
        counts = document["factors"][peak]
        parts.append(
            f"Factors at {peak} against raw, with intervals apart: {counts['higher']} above, "
            f"{counts['lower']} below; {counts['not separated']} not separated."
        )
    missing = [mix for mix in MIXES if mix not in points]
    if missing:
        parts.append(f"Without {', '.join(missing)}, so this is not the last word.")
    return " ".join(parts)


def _end_words(end: str, points: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    apart = document["against_ends"][end] == "higher"
    words = "intervals apart" if apart else "intervals overlap"
    return f"{end}: {measured(points[end]['avg_id'])}, {words}."


def _shape_words(document: Mapping[str, Any]) -> str:
    inner, against = document["inner_maximum"], document["against_ends"]
    if inner is None:
        return "Whether the maximum is inside cannot be said without raw and fg."
    if not inner:
        return f"The maximum is at the end {document['peak']}, not inside."
    if all(found == "higher" for found in against.values()):
        return "The curve has an inner maximum, with intervals apart from both ends."
    open_ends = [end for end, found in against.items() if found != "higher"]
    return f"The highest point is inside, but not separated from {' and '.join(open_ends)}."
