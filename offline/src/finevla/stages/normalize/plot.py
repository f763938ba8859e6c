"""The distribution of the divergence scores as a picture."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from finevla.errors import SetupError
from finevla.stages.normalize.filters import Rule
from finevla.stages.normalize.report import Judged

_KEPT, _DROPPED, _LINE = "#0072b2", "#d55e00", "#1b2027"


def require_matplotlib() -> None:
    """Makes sure that the picture can be drawn, before anything is read.

    Raises:
        SetupError: matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise SetupError(
            "the scores cannot be drawn",
            where="matplotlib",
            expected="it is installed",
            found="no such package",
            remedy="pip install 'finevla[curate]'",
        )


def draw_scores(judged: Sequence[Judged], rule: Rule, title: str, path: Path) -> None:
    """Writes a histogram of the finite scores, kept and dropped, with the threshold.

    Args:
        judged: All episodes.
        rule: The filters.
        title: Name of the dataset.
        path: The PNG.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import MaxNLocator

    scores = [(item.episode.score, not item.faults) for item in judged]
    finite = [(score, kept) for score, kept in scores if score is not None and math.isfinite(score)]
    style: Any = {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}
    with plt.rc_context(style):
        figure, axis = plt.subplots(figsize=(7.2, 4.2), layout="constrained")
        both = [[s for s, kept in finite if kept], [s for s, kept in finite if not kept]]
        labels = [f"kept ({len(both[0])})", f"dropped, for any reason ({len(both[1])})"]
        axis.hist(both, bins=_bins(len(finite)), stacked=True, color=[_KEPT, _DROPPED], label=labels)
        if rule.threshold is not None:
            axis.axvline(
                rule.threshold, color=_LINE, ls="--", lw=1.2, label=f"threshold {rule.threshold:.4g}"
            )
        axis.set_xlabel(f"divergence of state and action: {', '.join(rule.compare)}")
        axis.set_ylabel("episodes")
        axis.set_title(f"{title}: {len(judged)} episodes{_outside(scores)}", fontsize=11)
        axis.yaxis.set_major_locator(MaxNLocator(integer=True))
        figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)
        figure.savefig(path, dpi=130, metadata={"Software": None})
        plt.close(figure)


def _bins(count: int) -> int:
    """Square root of the number of episodes, within what can be read."""
    return max(5, min(60, math.isqrt(count)))


def _outside(scores: Sequence[tuple[float | None, bool]]) -> str:
    """How many episodes have no place on the axis."""
    endless = sum(score == math.inf for score, _ in scores)
    none = sum(score is None or math.isnan(score) for score, _ in scores)
    parts = [f"{endless} with an infinite score"] * (endless > 0) + [f"{none} without one"] * (none > 0)
    return f"; {', '.join(parts)} not shown" if parts else ""
