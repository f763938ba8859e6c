"""The figures of a sweep against plain references, its proof, its verdict, its files."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sweep_cells import SETTINGS, document, factor_row, job

from finevla.sim.factors import IN_DISTRIBUTION, OOD
from finevla.stages.evaluate.intervals import wilson
from finevla.stages.sweep import published
from finevla.stages.sweep.cell import evaluation
from finevla.stages.sweep.count import against_raw, point, separated
from finevla.stages.sweep.ledger import QUEUED, Ledger
from finevla.stages.sweep.manifest import ManifestError, prove
from finevla.stages.sweep.plan import MIXES, Cell, SweepError, plan_cells
from finevla.stages.sweep.plot import draw_curve
from finevla.stages.sweep.summary import draw, summarize
from finevla.stages.sweep.table import markdown
from finevla.stages.sweep.verdict import verdict

NOWHERE = Path("nowhere")


def cell(head: str, mix: str, seed: int, **compliance: float) -> dict:
    """A cell with the compliance of some factors set."""
    made = document(job(NOWHERE, Cell(head, mix, seed)))
    for name, value in compliance.items():
        made["evaluation"]["factors"][name] = factor_row(value, value, 20)
    return made


def results(cells: list[dict]) -> dict[str, dict]:
    return {made["cell"]: made for made in cells}


def whole(seeds: tuple[int, ...] = (0, 1)) -> dict[str, dict]:
    return results([cell(c.head, c.mix, c.seed) for c in plan_cells(["oft", "flow"], MIXES, seeds)])


def test_pairs_are_pooled_over_seeds() -> None:
    first, second = cell("oft", "1:1", 1), cell("oft", "1:1", 0)
    first["evaluation"]["factors"]["arm"] = factor_row(0.9, 0.5, 30)
    second["evaluation"]["factors"]["arm"] = factor_row(0.6, 0.1, 10)
    found = point([first, second])
    share = (0.9 * 30 + 0.6 * 10) / 40
    low, high = wilson(share, 40)
    assert found["seeds"] == [0, 1]
    assert found["factors"]["arm"] == pytest.approx(
        {"mean": 100 * share, "low": 100 * low, "high": 100 * high, "n": 40}
    )


def test_averages_are_means_over_factors_with_all_pairs() -> None:
    cells = [cell("oft", "1:1", seed) for seed in (0, 1, 2)]
    found = point(cells)
    table = np.array([[c["evaluation"]["factors"][n]["compliance"] for n in IN_DISTRIBUTION] for c in cells])
    mean, n = table.mean(), 3 * len(IN_DISTRIBUTION) * 20
    assert found["avg_id"]["mean"] == pytest.approx(100 * mean)
    assert (found["avg_id"]["low"], found["avg_id"]["high"]) == pytest.approx(
        tuple(100 * bound for bound in wilson(mean, n))
    )
    assert found["avg_id"]["n"] == n
    assert found["by_seed"]["avg_id"] == pytest.approx(list(100 * table.mean(axis=1)))
    assert found["ood"]["mean"] == pytest.approx(
        100 * np.mean([c["evaluation"]["factors"][OOD]["compliance"] for c in cells])
    )
    assert found["avg_id_chance"] == pytest.approx(40.0)


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(61, 70, "higher"), (10, 39, "lower"), (60, 70, "not separated")]
)
def test_intervals_that_touch_are_not_separated(low: float, high: float, expected: str) -> None:
    assert separated({"low": low, "high": high}, {"low": 40, "high": 60}) == expected


def test_mixes_are_compared_with_raw_over_the_seeds_that_both_have() -> None:
    cells = [
        cell("oft", "raw", 0, arm=0.0),
        cell("oft", "raw", 1, arm=1.0),
        cell("oft", "1:1", 0, arm=1.0, color=0.3),
        cell("flow", "raw", 0, arm=1.0),
    ]
    found = against_raw(cells, "oft")
    assert list(found) == ["1:1"]
    assert found["1:1"]["seeds"] == [0]
    assert found["1:1"]["factors"]["arm"]["verdict"] == "higher"
    assert found["1:1"]["factors"]["arm"]["difference"] == pytest.approx(100.0)
    assert against_raw(cells, "flow") == {}


def curve_of(values: dict[str, float]) -> list[dict]:
    return [cell("oft", mix, 0, **dict.fromkeys(IN_DISTRIBUTION, value)) for mix, value in values.items()]


def test_an_inner_maximum_is_found_and_told() -> None:
    found = verdict(curve_of(dict(zip(MIXES, (0.1, 0.3, 0.5, 0.9, 0.6, 0.5, 0.4), strict=True))), "oft")
    assert (found["peak"], found["inner_maximum"], found["complete"]) == ("1:1", True, True)
    assert found["against_ends"] == {"raw": "higher", "fg": "higher"}
    assert found["factors"]["1:1"] == {"higher": len(IN_DISTRIBUTION), "lower": 0, "not separated": 0}
    assert "has an inner maximum" in found["text"]


def test_a_maximum_at_an_end_is_not_called_inner() -> None:
    found = verdict(curve_of(dict(zip(MIXES, (0.1, 0.3, 0.4, 0.5, 0.6, 0.7, 0.9), strict=True))), "oft")
    assert (found["peak"], found["inner_maximum"]) == ("fg", False)
    assert "at the end fg, not inside" in found["text"]


def test_a_maximum_within_noise_is_called_so() -> None:
    found = verdict(curve_of(dict(zip(MIXES, (0.1, 0.5, 0.5, 0.52, 0.5, 0.5, 0.5), strict=True))), "oft")
    assert (found["peak"], found["inner_maximum"]) == ("1:1", True)
    assert "inside, but not separated from fg" in found["text"]


def test_a_partial_curve_has_no_last_word() -> None:
    found = verdict(curve_of({"raw": 0.2, "1:1": 0.9}), "oft")
    assert found["inner_maximum"] is None
    assert "Without 1:4, 1:2, 2:1, 4:1, fg" in found["text"]


def test_the_verdict_uses_seeds_that_all_mixes_have() -> None:
    cells = curve_of(dict.fromkeys(MIXES, 0.5))
    cells.append(cell("oft", "raw", 1, **dict.fromkeys(IN_DISTRIBUTION, 1.0)))
    found = verdict(cells, "oft")
    assert found["seeds"] == [0]
    lone = [cell("oft", "raw", 1), cell("oft", "fg", 2)]
    assert "no verdict yet" in verdict(lone, "oft")["text"]


def test_cells_of_a_seed_must_have_seen_the_same_frames() -> None:
    cells = whole()
    assert prove(cells) == {0: "0" * 64, 1: "1" * 64}
    cells["oft-fg-seed1"]["hashes"]["manifest"] = "another"
    with pytest.raises(ManifestError, match="seed 1 were not trained on the same frames") as caught:
        summarize(cells, SETTINGS.to_json())
    assert "oft-fg-seed1: another" in caught.value.found


def test_cells_without_a_manifest_are_not_drawn() -> None:
    cells = results([cell("oft", "raw", 0)])
    cells["oft-raw-seed0"]["hashes"]["manifest"] = ""
    with pytest.raises(ManifestError):
        prove(cells)


def test_cells_of_a_seed_must_be_judged_on_the_same_pairs() -> None:
    cells = whole()
    cells["flow-1to1-seed0"]["evaluation"]["plan_hash"] = "another"
    with pytest.raises(ManifestError, match="judged on the same pairs"):
        prove(cells)


def test_a_cell_of_other_settings_is_not_drawn() -> None:
    cells = whole()
    cells["oft-raw-seed0"]["config"]["steps"] = 7
    with pytest.raises(SweepError, match="oft-raw-seed0 is of another configuration") as caught:
        summarize(cells, SETTINGS.to_json())
    assert caught.value.found == "steps=7"


def test_nothing_is_not_drawn() -> None:
    with pytest.raises(SweepError, match="no cell"):
        summarize({}, SETTINGS.to_json())


def test_the_table_shows_ours_theirs_and_what_is_missing() -> None:
    cells = whole()
    del cells["flow-4to1-seed0"], cells["flow-4to1-seed1"]
    text = markdown(
        summarize(cells, SETTINGS.to_json(), ["flow-4to1-seed0", "flow-4to1-seed1"], {"oft-x": "no luck"})
    )
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0] for row in rows[2:9]] == [f"| {mix}" for mix in MIXES]
    assert "| *62.7* | *73.9/72.4* | *86.8/82.5* |" in rows[5]
    shown = point([cells["oft-1to1-seed0"], cells["oft-1to1-seed1"]])["avg_id"]
    assert f"{shown['mean']:.1f} [{shown['low']:.1f}, {shown['high']:.1f}] n=320" in rows[5]
    assert "**missing cells (2)**: flow-4to1-seed0, flow-4to1-seed1" in text
    assert "| 4:1 | missing |" in text
    assert "**failed** oft-x: no luck" in text
    assert published.SOURCE in text


def test_published_averages_are_those_of_their_rows() -> None:
    assert tuple(published.REAL_ROBOT_AVG_ID) == MIXES
    for mix, points in published.REAL_ROBOT.items():
        assert published.REAL_ROBOT_AVG_ID[mix] == pytest.approx(np.mean(points), abs=0.06)
        assert all(tuple(row) == MIXES for row in published.ROBOTWIN.values())


def test_files_of_a_sweep_are_made(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.begin(SETTINGS)
    cells = plan_cells(["oft"], ["raw", "1:1", "fg"], [0, 1])
    for asked in cells:
        ledger.note(QUEUED, asked)
    for made in cells[:5]:
        ledger.keep(made, document(job(tmp_path, made)))
    summary = draw(ledger)
    assert summary["missing"] == ["oft-fg-seed1"]
    assert json.loads((tmp_path / "summary.json").read_text()) == json.loads(json.dumps(summary))
    assert (tmp_path / "table.md").read_text() == markdown(summary)
    with Image.open(tmp_path / "curve.png") as picture:
        assert min(picture.size) > 400
        assert len(set(picture.convert("RGB").resize((64, 32)).get_flattened_data())) > 20
    svg = (tmp_path / "curve.svg").read_text()
    assert ET.fromstring(svg).tag.endswith("svg")
    draw_curve(summary, tmp_path)
    assert (tmp_path / "curve.svg").read_text() == svg  # the same figures give the same file


def test_a_cell_keeps_the_figures_of_its_evaluation() -> None:
    factors = {"arm": factor_row(0.8, 0.5, 10), "color": factor_row(0.6, 0.2, 30), OOD: factor_row(0, 0, 10)}
    averages = {f"{key}{end}": 1 for key in ("avg_id", "avg_all") for end in ("", "_n", "_ci95")}
    paired = {"factors": factors, **averages, "provenance": {"plan_hash": "p", "seed": 1000}}
    found = evaluation(paired)
    assert found["success"] == pytest.approx((0.5 * 10 + 0.2 * 30) / 40)
    assert found["success_n"] == 40
    assert found["success_ci95"] == pytest.approx(list(wilson(found["success"], 40)))
    assert found["factors"]["arm"]["compliance"] == 0.8
    assert found["plan_hash"] == "p"
