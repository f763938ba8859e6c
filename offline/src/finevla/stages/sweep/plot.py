"""The curve as SVG and PNG: a panel per head, and beside it what the paper published."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from finevla.stages.sweep.plan import MIXES
from finevla.stages.sweep.published import REAL_ROBOT_AVG_ID, REAL_ROBOT_OOD, ROBOTWIN, SOURCE

CURVE_FILES = ("curve.svg", "curve.png")
_SERIES = (
    ("avg_id", "Avg(ID) compliance", "#0072b2", "o"),
    ("success", "success", "#009e73", "s"),
    ("ood", "out of distribution", "#d55e00", "^"),
)
_SHIFT = 0.10
_GRAY = "#6b6b6b"


def draw_curve(summary: Mapping[str, Any], folder: Path) -> None:
    """Writes `curve.svg` and `curve.png` of a summary."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    heads = list(summary["curves"])
    style: Any = {
        "svg.hashsalt": "finevla",
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    with plt.rc_context(style):
        figure, axes = plt.subplots(
            1, len(heads) + 1, figsize=(4.6 * (len(heads) + 1), 4.8), sharey=True, layout="constrained"
        )
        for axis, head in zip(axes, heads, strict=False):
            _head_panel(axis, head, summary["curves"][head])
        _published_panel(axes[-1])
        axes[0].set_ylabel("percent (bars: 95 % intervals)")
        settings = summary["settings"]
        figure.suptitle(
            f"Obedience over FG:Raw mixes, {settings['n']} pairs per factor and seed, "
            f"{settings['steps']} updates",
            fontsize=12,
        )
        for name in CURVE_FILES:
            metadata = {"Date": None} if name.endswith(".svg") else {"Software": None}
            figure.savefig(folder / name, dpi=130, metadata=metadata)
        plt.close(figure)


def _head_panel(axis: Any, head: str, points: Mapping[str, Any]) -> None:
    """Ours: means with intervals, small hollow points for seeds, chance as a dotted line."""
    for place, (key, label, color, marker) in enumerate(_SERIES):
        shown = [(i, points[mix]) for i, mix in enumerate(MIXES) if mix in points and points[mix][key]]
        if not shown:
            continue
        x = [i + _SHIFT * (place - 1) for i, _ in shown]
        y = [found[key]["mean"] for _, found in shown]
        below = [found[key]["mean"] - found[key]["low"] for _, found in shown]
        above = [found[key]["high"] - found[key]["mean"] for _, found in shown]
        axis.errorbar(x, y, [below, above], color=color, marker=marker, capsize=3, label=label, lw=1.8, ms=5)
        seeds = [(i + _SHIFT * (place - 1) + 0.06, v) for i, found in shown for v in found["by_seed"][key]]
        axis.scatter(*zip(*seeds, strict=True), s=10, facecolors="white", edgecolors=color, lw=0.8, zorder=3)
    chance = [(i, points[mix]["avg_id_chance"]) for i, mix in enumerate(MIXES) if mix in points]
    axis.plot(*zip(*chance, strict=True), ":", color=_GRAY, label="chance of Avg(ID)")
    seeds = sorted({seed for found in points.values() for seed in found["seeds"]})
    _dress(axis, f"simulated CobotMagic, head {head}\n{_seed_words(len(seeds))}, hollow: single seeds")


def _published_panel(axis: Any) -> None:
    """Theirs: gray and dashed, so that nobody takes them for ours."""
    marks = iter("Dvx*")
    places = range(len(MIXES))
    robot = [REAL_ROBOT_AVG_ID[mix] for mix in MIXES]
    axis.plot(places, robot, "--", marker="o", color="black", label="real robot, Avg(ID)")
    for name, row in ROBOTWIN.items():
        mean = [sum(row[mix]) / 2 for mix in MIXES]
        axis.plot(places, mean, "--", marker=next(marks), color=_GRAY, lw=1, label=f"RoboTwin, {name}")
    ood = [REAL_ROBOT_OOD[mix] for mix in MIXES]
    axis.plot(places, ood, "--", marker="^", color="#b0b0b0", label="real robot, out of distribution")
    _dress(axis, SOURCE.replace(", other", ",\nother"))


def _dress(axis: Any, title: str) -> None:
    axis.set_xticks(range(len(MIXES)), MIXES)
    axis.set_xlim(-0.5, len(MIXES) - 0.5)
    axis.set_ylim(-3, 103)
    axis.set_xlabel("FG:Raw")
    axis.set_title(title, fontsize=10)
    axis.grid(axis="y", alpha=0.3)
    axis.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2, frameon=False)


def _seed_words(count: int) -> str:
    return "1 seed" if count == 1 else f"{count} seeds"
