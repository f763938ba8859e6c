"""The HTML report of a demonstration: one file that shows everything without a network.

Pictures and the film are embedded; there is no script and no address outside the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from finevla.stages.demo.facts import Facts
from finevla.stages.demo.rows import REPEAT_RULE, Row, pairs, repeated, tally, verdict_words
from finevla.stages.media import STYLE, data_uri


def highlight(text: str, word: str) -> str:
    """The sentence as HTML with every occurrence of one word marked, whole words only."""
    return " ".join(
        f"<mark>{escape(part)}</mark>" if part.strip(".,;:!?").lower() == word.lower() else escape(part)
        for part in text.split()
    )


def _yes(value: bool) -> str:
    return '<span class="good">yes</span>' if value else '<span class="bad">no</span>'


def _side(row: Row, stills: Sequence[bytes]) -> str:
    images = "".join(
        f'<img alt="{escape(row.trial.text)}, picture {i + 1} of {len(stills)}" '
        f'src="{data_uri("image/jpeg", s)}">'
        for i, s in enumerate(stills)
    )
    tone = "good" if row.complied else "bad"
    return (
        f"<div><p><b>{highlight(row.trial.text, row.trial.changed)}</b></p>"
        f'<div class="strip">{images}</div><p class="{tone}">{escape(verdict_words(row))}</p></div>'
    )


def _pairs(rows: Sequence[Row], stills: Mapping[int, Sequence[bytes]]) -> str:
    blocks = []
    for number, group in enumerate(pairs(rows), start=1):
        first = group[0].trial
        factor = {"arm": "arm", "color": "colour"}.get(first.factor, first.factor)
        sides = "".join(_side(row, stills.get(row.trial.index, ())) for row in group)
        blocks.append(
            f'<div class="pair"><p class="dim">Pair {number}: {escape(first.task)}, scene {first.seed}; '
            f'only the {factor} word differs</p><div class="sides">{sides}</div></div>'
        )
    return "".join(blocks)


def _table(rows: Sequence[Row]) -> str:
    head = ("#", "asked", "arm moved", "object lifted", "arm", "colour", "done", "ended", "s")
    lines = []
    for row in rows:
        verdict = row.verdict
        cells = (
            f"<td class=n>{row.trial.index + 1}</td><td>{highlight(row.trial.text, row.trial.changed)}</td>"
            f"<td>{escape(verdict.moved_arm or 'none')}</td><td>{escape(verdict.lifted_color or 'none')}</td>"
            f"<td>{_yes(verdict.arm_complied)}</td><td>{_yes(verdict.color_complied)}</td>"
            f"<td>{_yes(verdict.done)}</td><td>{escape(row.ended)}</td>"
            f"<td class=n>{row.seconds:.1f}</td>"
        )
        lines.append(f"<tr>{cells}</tr>")
    header = "".join(f"<th>{name}</th>" for name in head)
    body = "".join(lines)
    return f'<div class="scroll"><table><thead><tr>{header}</tr></thead><tbody>{body}</tbody></table></div>'


def _facts(facts: Facts) -> str:
    entries = {
        "checkpoint": facts.checkpoint_id,
        "bundle": facts.bundle,
        "contract hash": facts.contract_hash,
        "seed": f"{facts.seed} (give it with --seed to see the same scenes again)",
        "inference": f"median {facts.latency_p50_s * 1e3:.1f} ms, p95 {facts.latency_p95_s * 1e3:.1f} ms",
        "sentence to first chunk": f"median {facts.applied_p50_s * 1e3:.0f} ms",
        "simulator": f"at least {facts.real_time_factor:.2f} of real time",
        "action chunks published": str(facts.chunks),
        "bring-up": f"{facts.bringup_s:.1f} s",
        "machine": facts.machine,
        "versions": ", ".join(f"{name} {version}" for name, version in facts.versions.items()),
        "ROS domain": str(facts.domain_id),
        "started": facts.started_utc,
    }
    return "<dl>" + "".join(f"<dt>{k}</dt><dd>{escape(v)}</dd>" for k, v in entries.items()) + "</dl>"


def _figures(rows: Sequence[Row]) -> str:
    counts = tally(rows)
    shown = (("arm obeyed", counts.arm), ("colour obeyed", counts.color), ("task done", counts.done))
    cards = "".join(f'<div class="figure"><b>{count} / {counts.n}</b>{name}</div>' for name, count in shown)
    return f'<div class="figures">{cards}</div>'


def _repeats(rows: Sequence[Row]) -> str:
    if not repeated(rows):
        return ""
    first = tally(row.first for row in rows)
    return (
        f"<p>Number of tries repeated: {repeated(rows)}. The rule: {escape(REPEAT_RULE)}. How a try ended "
        "and how long it took have no part in it. The first tries alone: "
        f"arm obeyed {first.arm} / {first.n}, colour obeyed {first.color} / {first.n}, "
        f"task done {first.done} / {first.n}.</p>"
    )


def render(
    rows: Sequence[Row], facts: Facts, film: bytes | None, stills: Mapping[int, Sequence[bytes]]
) -> str:
    """The whole page.

    Args:
        rows: One per instruction, in the order in which they were issued.
        facts: Provenance.
        film: The MP4, or None where no camera frame arrived.
        stills: JPEG pictures by index of the trial.
    """
    n = len(rows)
    video = (
        f'<video controls muted playsinline src="{data_uri("video/mp4", film)}"></video>'
        if film
        else '<p class="bad">No camera frame arrived, so there is no film.</p>'
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>FineVLA demo: {n} instructions</title><style>{STYLE}</style></head><body>"
        "<h1>FineVLA: told how, not only what</h1>"
        f'<p class="dim">{n} sentences were published one by one on the topic of the running ROS 2 graph. '
        "The simulated CobotMagic acted on each; the verdicts come from simulator truth, which no acting "
        "node can read.</p>"
        f"{_figures(rows)}{video}"
        "<h2>Same scene, one word changed</h2>"
        f"{_pairs(rows, stills)}"
        f"<h2>Every instruction</h2>{_table(rows)}"
        "<h2>How to read this</h2>"
        f"<p>{n} instructions are a demonstration, not a measurement: a share out of {n} is known "
        "only to some tens of points. <code>finevla evaluate paired</code> measures compliance "
        "with its number of trials and its 95 % interval. The arms are simulated; the driver, the CAN frames "
        "and the whole ROS 2 graph are the ones for the robot.</p>"
        f"{_repeats(rows)}"
        f"<h2>Where it comes from</h2>{_facts(facts)}</body></html>\n"
    )
