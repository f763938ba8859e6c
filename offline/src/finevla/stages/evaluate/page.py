"""The HTML report of the paired evaluation: one file that shows everything without a network.

Films are embedded; there is no script and no address outside the file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from html import escape
from typing import Any

from finevla.contract import load_contract
from finevla.sim.factors import FACTORS, OOD
from finevla.stages.evaluate.film import FPS
from finevla.stages.evaluate.outcome import Outcome, RunResult
from finevla.stages.evaluate.plan import Pair
from finevla.stages.evaluate.statistics import METHOD, Measured, share_of
from finevla.stages.evaluate.table import average, chance_words, measures, p_words, timing_words
from finevla.stages.media import STYLE, data_uri

_STYLE = """
.range{position:relative;height:14px;min-width:140px;background:var(--card);border-radius:4px}
.range i{position:absolute;top:4px;height:6px;background:var(--good);border-radius:3px;opacity:.55}
.range b{position:absolute;top:1px;width:3px;height:12px;background:var(--good)}
.range u{position:absolute;top:-2px;width:2px;height:18px;background:var(--bad)}
.film video{max-width:none}.film .sides{grid-template-columns:1fr 1fr;gap:8px}
.film .sides p{margin:0 0 4px}.badge{background:var(--mark);border-radius:4px;padding:0 5px}
"""
_GUIDE = (
    "A pair is one scene and two sentences that differ in one factor only; both are run from the same start, "
    "and simulator truth, which no policy can see, says what the behaviour showed. <b>Compliance</b> is the "
    "share of runs that showed the value asked for; <b>chance</b> (the red line) is what whoever does not "
    "hear the words would get. <b>Switched</b>: both runs of a pair complied. <b>Nothing else changed</b>: "
    "every other factor that the sentences name stayed as it was. <b>Own : other words</b> counts the pairs "
    "in which only the run with its own words, or only the run with the other's words, did what the sentence "
    "says, with the exact p value of McNemar's test."
)


def render_page(result: Mapping[str, Any], outcomes: Sequence[Outcome]) -> str:
    """The whole page.

    Args:
        result: As it is written as JSON, provenance included.
        outcomes: Those with a film are shown.
    """
    provenance = result["provenance"]
    title = f"Does it obey? {provenance['checkpoint_id']}"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}{_STYLE}</style></head><body>"
        f"<h1>{escape(title)}</h1>"
        f'<p class="dim">{len(outcomes)} pairs of instructions in simulation; '
        f"{escape(timing_words(provenance['timing']))}.</p>"
        f"{_figures(result)}<h2>Factor by factor</h2>{_table(result['factors'])}<p>{_GUIDE}</p>"
        f"{_probes(result)}<h2>Same scene, one phrase changed</h2>{_films(outcomes, provenance)}"
        f"<h2>Intervals</h2><p>They are 95 %, and trials are pairs. Shares and averages: Wilson. Points: "
        f"{escape(METHOD)}.</p>"
        f"<h2>Where it comes from</h2>{_facts(provenance)}</body></html>\n"
    )


def marked(text: str, other: str) -> str:
    """A sentence as HTML in which the words that the other one lacks or has elsewhere are marked."""
    words, others = text.split(), other.split()
    parts = []
    for kind, begin, end, _, _ in SequenceMatcher(None, words, others, autojunk=False).get_opcodes():
        phrase = escape(" ".join(words[begin:end]))
        if phrase:
            parts.append(phrase if kind == "equal" else f"<mark>{phrase}</mark>")
    return " ".join(parts)


def _figures(result: Mapping[str, Any]) -> str:
    shown = [("Avg(ID), compliance of 100", average(result, "avg_id"))]
    if OOD in result["factors"]:
        shown.append(("Avg(All), with the combination never trained", average(result, "avg_all")))
    cards = "".join(
        f'<div class="figure"><b>{measured.mean:.1f}</b>{_interval(measured)}<br>{name}</div>'
        for name, measured in shown
        if measured is not None
    )
    return f'<div class="figures">{cards}</div>'


def _interval(measured: Measured) -> str:
    return f"[{measured.low:.1f}, {measured.high:.1f}] n={measured.n}"


def _table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    head = (
        "factor",
        "compliance %",
        "",
        "chance %",
        "success %",
        "points of 100",
        "switched %",
        "nothing else changed %",
        "own : other words",
        "refused",
    )
    lines = []
    for name, row in rows.items():
        found, mcnemar = measures(row), row["mcnemar"]
        badge = ' <span class="badge">at chance</span>' if row["at_chance"] else ""
        cells = (
            f"<b>{escape(name)}</b><br><span class=dim>{escape(_title(name))}</span>",
            _measured(found["compliance"]),
            _range(found["compliance"], 100 * row["chance"]),
            chance_words(row).split()[0] + badge,
            _measured(found["success"]),
            _measured(found["points"]) if "points" in found else "not known",
            _measured(found["switch_rate"]),
            _measured(found["changed_only"]),
            f"{mcnemar['own_only']} : {mcnemar['other_only']}<br>p {p_words(mcnemar['p'])}",
            f"{row['refused']} of {row['runs']}",
        )
        lines.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return _html_table(head, lines)


def _title(name: str) -> str:
    if name == OOD:
        return "left arm to right bowl, never trained"
    return next((f.title for f in FACTORS.values() if f.name == name), name)


def _measured(measured: Measured) -> str:
    return f"{measured.mean:.1f} <span class=dim>{_interval(measured)}</span>"


def _range(measured: Measured, chance: float) -> str:
    """The interval as a bar, the mean as a stroke and the chance level as a red line; decoration only."""
    width = max(measured.high - measured.low, 0.5)
    return (
        '<div class="range" aria-hidden="true">'
        f'<i style="left:{measured.low:.1f}%;width:{width:.1f}%"></i>'
        f'<u style="left:{chance:.1f}%"></u><b style="left:calc({measured.mean:.1f}% - 2px)"></b></div>'
    )


def _html_table(head: Sequence[str], lines: Sequence[str]) -> str:
    header = "".join(f"<th>{name}</th>" for name in head)
    body = "".join(lines)
    return f'<div class="scroll"><table><thead><tr>{header}</tr></thead><tbody>{body}</tbody></table></div>'


def _probes(result: Mapping[str, Any]) -> str:
    if "probes" not in result:
        return ""
    lines = []
    for name, row in result["probes"].items():
        same = row["expect"] == "same"
        cells = (
            f"<b>{escape(name.replace('_', ' '))}</b>",
            escape(repr(row["example"])),
            "done as the plain sentence asks" if same else "refused, or nothing moves",
            _measured(share_of(row["as_expected"], row["ci95"], row["n"])),
            _measured(share_of(row["plain"], row["plain_ci95"], row["n"])) if same else "",
            f"{row['refused']} of {row['n']}",
        )
        lines.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    head = ("probe", "for example", "must be", "as it must be %", "plain sentence obeyed %", "refused")
    return f"<h2>The sentence itself</h2>{_html_table(head, lines)}"


def _films(outcomes: Sequence[Outcome], provenance: Mapping[str, Any]) -> str:
    shown = [row for row in outcomes if row.film or row.film_error]
    if not shown:
        return "<p>No pair was filmed: give --videos.</p>"
    frames = provenance["replan_frames"]
    speed = frames * load_contract().frame_period_s * FPS
    note = (
        f"The first pairs of each factor, seen from above, at {speed:.1f} times real speed: one picture per "
        f"inference, every {frames} frames. Only the words that differ are marked."
    )
    return f"<p class=dim>{note}</p>" + "".join(_film(row) for row in shown)


def _film(row: Outcome) -> str:
    pair = row.pair
    sides = "".join(
        f"<div><p><b>{marked(pair.texts[i], pair.texts[1 - i])}</b></p>"
        f'<p class="{"good" if row.complied[i] else "bad"}">{escape(_verdict(row, i))}</p></div>'
        for i in range(2)
    )
    label = escape(f"{pair.texts[0]}; beside it: {pair.texts[1]}")
    video = (
        f'<video autoplay loop muted playsinline controls aria-label="{label}" '
        f'src="{data_uri("video/mp4", row.film)}"></video>'
        if row.film
        else f'<p class="bad">{escape(row.film_error)}</p>'
    )
    return (
        f'<div class="pair film"><p class="dim">{escape(_title(pair.factor))}: {escape(pair.spec.task)}, '
        f'scene {pair.spec.seed}</p><div class="sides">{sides}</div>{video}</div>'
    )


def _verdict(row: Outcome, i: int) -> str:
    run: RunResult = row.runs[i]
    if run.refused:
        return f"refused: {run.refused}"
    shown = ", ".join(_shown(row.pair, run, name) for name in row.pair.judged)
    uncounted = "" if i in row.pair.counted else " (not counted)"
    done = "task done as asked" if run.success else "task not done as asked"
    return f"{shown}: {'complied' if row.complied[i] else 'did not comply'}, {done}{uncounted}"


def _shown(pair: Pair, run: RunResult, name: str) -> str:
    value = run.observed.get(name)
    words = "nothing" if value is None else ", ".join(value) if isinstance(value, tuple) else str(value)
    return f"{_title(name) if pair.ood else 'showed'} {words}"


def _facts(provenance: Mapping[str, Any]) -> str:
    entries = {
        name.replace("_", " "): value if isinstance(value, str) else json.dumps(value)
        for name, value in provenance.items()
    }
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in entries.items())
    return f"<dl>{rows}</dl>"
