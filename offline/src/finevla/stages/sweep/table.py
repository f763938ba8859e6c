"""The result of a sweep as Markdown; every mean of ours goes through `Measured`, so none lacks its n."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from finevla.stages.sweep.count import measured
from finevla.stages.sweep.plan import MIXES
from finevla.stages.sweep.published import REAL_ROBOT_AVG_ID, ROBOTWIN, ROBOTWIN_OF_HEAD, SOURCE

_MARKS = {"higher": " ▲", "lower": " ▼", "not separated": ""}


def markdown(summary: Mapping[str, Any]) -> str:
    """The whole page of a summary."""
    parts = ["# FG:Raw mixes: obedience of a policy", _about(summary)]
    for head, points in summary["curves"].items():
        parts += [f"## Head `{head}`", _curve_table(head, points), summary["verdicts"][head]["text"]]
        parts += ["Compliance per factor, %:", _factor_table(points, summary["against_raw"][head])]
        if extra := _extra_table(points):
            parts += ["Beside obedience:", extra]
    parts.append(_notes())
    return "\n\n".join(parts) + "\n"


def _about(summary: Mapping[str, Any]) -> str:
    settings, dataset = summary["settings"], summary["settings"]["dataset_hash"][:12]
    size = f"{settings['steps']} updates, {settings['n']} pairs per factor and seed"
    commits = ", ".join(f"`{commit}`" for commit in summary["git_commits"])
    lines = [
        f"- {len(summary['cells'])} cells; dataset `{dataset}`; {size}",
        f"- frames of each seed proven equal over all its cells: {_manifests(summary['manifests'])}",
        f"- commits: {commits}; {', '.join(summary['machines'])}",
    ]
    if summary["missing"]:
        lines.append(f"- **missing cells ({len(summary['missing'])})**: {', '.join(summary['missing'])}")
    lines += [f"- **failed** {name}: {error}" for name, error in summary["failed"].items()]
    return "\n".join(lines)


def _manifests(found: Mapping[str, str]) -> str:
    return ", ".join(f"seed {seed} `{value[:12]}`" for seed, value in found.items())


def _curve_table(head: str, points: Mapping[str, Any]) -> str:
    series = ROBOTWIN_OF_HEAD[head]
    header = ["FG:Raw", "Avg(ID) %", "by seed", "success %", "OOD compliance %", "OOD success %"]
    header += ["*Avg(ID), real robot*", *(f"*RoboTwin easy/hard, {name}*" for name in series)]
    rows = []
    for mix in MIXES:
        ours = _ours(points[mix]) if mix in points else ["missing", "", "", "", ""]
        robotwin = ["/".join(f"{value:.1f}" for value in ROBOTWIN[name][mix]) for name in series]
        rows.append([mix, *ours, *(f"*{text}*" for text in (f"{REAL_ROBOT_AVG_ID[mix]:.1f}", *robotwin))])
    return f"{_table(header, rows)}\n\nColumns in italics: {SOURCE}."


def _ours(found: Mapping[str, Any]) -> list[str]:
    by_seed = ", ".join(f"{value:.1f}" for value in found["by_seed"]["avg_id"])
    ood = [str(measured(found[key])) if found[key] else "not measured" for key in ("ood", "ood_success")]
    return [str(measured(found["avg_id"])), by_seed, str(measured(found["success"])), *ood]


def _factor_table(points: Mapping[str, Any], against: Mapping[str, Any]) -> str:
    names = list(dict.fromkeys(name for found in points.values() for name in found["factors"]))
    rows = []
    for name in names:
        chance = next(found["chance"][name] for found in points.values() if name in found["chance"])
        cells = [_factor_cell(name, mix, points, against) for mix in points]
        rows.append([name, f"{100 * chance:.0f}", *cells])
    return _table(["factor", "chance", *points], rows)


def _factor_cell(name: str, mix: str, points: Mapping[str, Any], against: Mapping[str, Any]) -> str:
    figure = points[mix]["factors"].get(name)
    if figure is None:
        return ""
    mark = _MARKS[against[mix]["factors"][name]["verdict"]] if mix in against else ""
    return f"{measured(figure)}{mark}"


def _extra_table(points: Mapping[str, Any]) -> str:
    """Held-out wordings, how far wrong words move the prediction, and training figures."""
    rows = []
    for mix, found in points.items():
        held_out, training = found["held_out"], found["training"]
        ablations = found["ablations"] or {}
        moved = "; ".join(f"{name} {row['change_rad']:.3f}" for name, row in ablations.items())
        rows.append(
            [
                mix,
                str(measured(held_out)) if held_out else "not measured",
                moved or "not measured",
                ", ".join(f"{value:.4f}" for value in training["final_loss"]),
                ", ".join("none" if value is None else f"{value:.2f}" for value in training["r2"]),
            ]
        )
    header = ["FG:Raw", "held-out wordings as asked %", "chunk moved by other words, rad", "last loss"]
    return _table([*header, "binding R2"], rows)


def _notes() -> str:
    return (
        "`mean [low, high] n=pairs`: 95 % intervals of Wilson over pairs pooled over seeds. Each seed has "
        "scenes of its own, and all mixes and heads of a seed the same ones. How much training seeds differ "
        "shows in *by seed*, not in the interval. Avg(ID) is the mean over the factors of the training "
        "distribution. ▲ ▼: above or below raw with intervals apart, over the seeds that both have. OOD: "
        "the combination that no training episode holds."
    )


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
