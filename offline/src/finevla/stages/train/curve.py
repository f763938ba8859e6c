"""The learning curve as a small SVG: losses on a log axis, the binding probe on its own axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.sax.saxutils import escape

from finevla.stages.train.metrics import Measurement

_WIDTH, _HEIGHT, _MARGIN = 640, 320, 48
_SERIES = (("loss", "#1f6fb4", "training loss"), ("validation_loss", "#d07a00", "validation loss"))
_PROBE_COLOR = "#2a8f3c"


def curve_svg(lines: Sequence[Measurement], title: str) -> str:
    """Draws the measurements of a run; `title` stands above."""
    steps = max((line.step for line in lines), default=1)
    values = [v for line in lines for name, _, _ in _SERIES if (v := getattr(line, name))]
    low, high = math.log10(min(values, default=0.1)), math.log10(max(values, default=1.0))
    span = max(high - low, 1e-6)

    def across(step: int) -> float:
        return _MARGIN + (_WIDTH - 2 * _MARGIN) * step / steps

    def up(share: float) -> float:
        return _HEIGHT - _MARGIN - (_HEIGHT - 2 * _MARGIN) * min(max(share, 0.0), 1.0)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}">',
        "<style>text {font: 12px sans-serif}</style>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        _text(_MARGIN, 20, title, "black"),
        f'<path d="M{_MARGIN} {up(1):.1f}V{up(0):.1f}H{_WIDTH - _MARGIN}" fill="none" stroke="black"/>',
        _text(4, up(1) + 4, f"{10**high:.3g}", "black"),
        _text(4, up(0) + 4, f"{10**low:.3g}", "black"),
        _text(_WIDTH - _MARGIN + 4, up(1) + 4, "R2 1", _PROBE_COLOR),
        _text(_WIDTH - _MARGIN + 4, up(0) + 4, "R2 0", _PROBE_COLOR),
        _text(_WIDTH - _MARGIN - 30, _HEIGHT - 28, f"{steps} steps", "black"),
    ]
    for row, (name, color, label) in enumerate(_SERIES):
        points = [
            (across(m.step), up((math.log10(v) - low) / span)) for m in lines if (v := getattr(m, name))
        ]
        parts += [_line(points, color), _text(_MARGIN + 150 * row, _HEIGHT - 10, label, color)]
    probe = [(across(m.step), up(m.r2)) for m in lines if m.r2 is not None]
    parts += [
        _line(probe, _PROBE_COLOR),
        _text(_MARGIN + 300, _HEIGHT - 10, "binding probe R2", _PROBE_COLOR),
    ]
    return "\n".join([*parts, "</svg>", ""])


def _line(points: Sequence[tuple[float, float]], color: str) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>'


def _text(x: float, y: float, text: str, color: str) -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" fill="{color}">{escape(text)}</text>'
