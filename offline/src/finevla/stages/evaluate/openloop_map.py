"""Errors of joint x step as a small SVG heat-map; arms in rad and grippers in m have a scale each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape

_CELL_W, _CELL_H, _LEFT, _TOP = 30, 20, 110, 46


def heat_map(error: Mapping[str, Any], title: str) -> str:
    """Draws `joint_step_mean` of the errors; a cell's darkness is its share of the largest of its unit."""
    joints, values = error["joints"], error["joint_step_mean"]
    units = [row["unit"] for row in joints.values()]
    most = {
        unit: max([v for row, u in zip(values, units, strict=True) if u == unit for v in row], default=0.0)
        for unit in dict.fromkeys(units)
    }
    steps = len(values[0])
    width, height = _LEFT + steps * _CELL_W + 12, _TOP + len(values) * _CELL_H + 34
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">',
        "<style>text {font: 11px sans-serif}</style>",
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="8" y="18">{escape(title)}</text>',
    ]
    parts += [
        f'<text x="{_LEFT + i * _CELL_W + 15}" y="{_TOP - 6}" text-anchor="middle">{i + 1}</text>'
        for i in range(steps)
    ]
    for row, (name, unit) in enumerate(zip(joints, units, strict=True)):
        y = _TOP + row * _CELL_H
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 14}" text-anchor="end">{escape(name)}</text>')
        for step, value in enumerate(values[row]):
            share = value / most[unit] if most[unit] else 0.0
            parts.append(
                f'<rect x="{_LEFT + step * _CELL_W}" y="{y}" width="{_CELL_W}" height="{_CELL_H}" '
                f'fill="{_color(share)}"><title>{escape(name)}, step {step + 1}: {value:.4f} {unit}</title>'
                "</rect>"
            )
    scale = ", ".join(f"darkest: {value:.4f} {unit}" for unit, value in most.items())
    parts.append(f'<text x="8" y="{height - 10}">mean absolute error per joint and step; {scale}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _color(share: float) -> str:
    """From white to dark blue."""
    ends = zip((255, 255, 255), (8, 48, 107), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * min(max(share, 0.0), 1.0)):02x}" for a, b in ends)
