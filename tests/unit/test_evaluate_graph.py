"""Paired evaluation through the graph: same pairs, same counts, honest comparison."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from finevla.errors import FineVLAError
from finevla.stages.demo.rows import Row, Trial, Verdict
from finevla.stages.evaluate.graph import compare, first_tries, run_pairs, trials_of
from finevla.stages.evaluate.graph_verb import Config, _judge, _table, main
from finevla.stages.evaluate.paired import plan_pairs, run_rows, summarize

TASKS = ("pick_lift", "place_in_bowl")


def obedient(trial: Trial) -> Row:
    verdict = Verdict(trial.arm, trial.color, True, True, True)
    return Row(trial, verdict, "finished", "settled", "", 4.0, 0.1, 0.005)


def color_blind(trial: Trial) -> Row:
    """Always takes the same cube of the scene: right in one of the two runs of a color pair."""
    color = sorted({"red", "blue", "green", "yellow"})[0]
    right = trial.color == color
    verdict = Verdict(trial.arm, color, True, right, right)
    return Row(trial, verdict, "timeout", "timeout", "", 30.0, None, 0.005)


def test_trials_are_the_pairs_of_the_evaluation_in_process() -> None:
    for pair in plan_pairs(("arm", "color"), TASKS, 6, 1000):
        trials = trials_of(pair, 10)
        assert tuple(t.text for t in trials) == pair.texts
        assert [(t.task, t.arm, t.color) for t in trials] == [(g.task, g.arm, g.color) for g in pair.goals]
        assert [(t.seed, t.index) for t in trials] == [(pair.spec.seed, 10), (pair.spec.seed, 11)]


def test_counts_have_the_keys_of_the_evaluation_in_process() -> None:
    pairs = plan_pairs(("arm", "colour"), TASKS, 4, 1000)
    seen: list[Row] = []
    outcomes, rows = run_pairs(pairs, obedient, 0.1, seen.append)
    assert seen == rows
    assert len(rows) == 16
    result = summarize(outcomes, ("arm", "colour"))
    assert set(result) == {"factors", "avg_id"}
    for factor in ("arm", "colour"):
        entry = result["factors"][factor]
        assert (entry["n"], entry["compliance"], entry["success"], entry["settled"]) == (4, 1.0, 1.0, 1.0)
        assert 0 < entry["ci95"][0] < entry["ci95"][1] == 1.0
    assert {run["frames"] for run in run_rows(outcomes)} == {40}


def test_disobedience_and_timeouts_are_counted() -> None:
    outcomes, _ = run_pairs(plan_pairs(("arm", "color"), TASKS, 8, 1000), color_blind, 0.1, lambda _: None)
    result = summarize(outcomes, ("arm", "color"))["factors"]
    assert result["arm"]["compliance"] == 1.0
    assert result["color"]["compliance"] <= 0.5
    assert result["color"]["settled"] == 0.0


def test_first_tries_are_counted_of_their_own() -> None:
    def second_time_lucky(trial: Trial) -> Row:
        return replace(obedient(trial), attempts=2, first_try=color_blind(trial))

    pairs = plan_pairs(("arm", "color"), TASKS, 8, 1000)
    outcomes, rows = run_pairs(pairs, second_time_lucky, 0.1, lambda _: None)
    strict, _ = run_pairs(pairs, color_blind, 0.1, lambda _: None)
    expected = summarize(strict, ("arm", "color"))["factors"]
    result = summarize(outcomes, ("arm", "color"))
    for factor, shares in first_tries(outcomes, rows, ("arm", "color")).items():
        assert result["factors"][factor]["compliance"] == 1.0
        assert shares == {
            "first_try_compliance": expected[factor]["compliance"],
            "first_try_success": expected[factor]["success"],
        }
        result["factors"][factor] |= shares
    assert expected["color"]["compliance"] < 1.0
    for again, words in ((32, "tries repeated: 32; the rule"), (0, "no try was repeated")):
        shown = _table(result | {"provenance": {"repeated": again, "repeat_rule": "the rule"}})
        assert words in str(shown.caption)
        assert len(shown.columns) == (6 if again else 5)


def test_the_evaluation_repeats_nothing_unless_asked_to() -> None:
    assert Config().repeats == 0


def document(**compliance: float) -> dict:
    return {"factors": {k: {"n": 50, "compliance": v, "success": v} for k, v in compliance.items()}}


def test_difference_is_in_points_and_spelling_does_not_matter() -> None:
    rows = compare(document(arm=0.9, color=0.8), document(arm=1.0, colour=0.8, height=0.1))
    assert [(r.factor, r.measure, round(r.points, 6)) for r in rows] == [
        ("arm", "compliance", -10.0),
        ("arm", "success", -10.0),
        ("color", "compliance", 0.0),
        ("color", "success", 0.0),
    ]


@pytest.mark.parametrize(("graph", "code"), [(0.89, 1), (0.91, 0), (1.0, 0)])
def test_more_than_the_allowed_loss_fails(graph: float, code: int, capsys) -> None:
    from rich.console import Console

    assert _judge(compare(document(arm=graph), document(arm=1.0)), 10.0, Console()) == code
    assert ("more than the 10 allowed" in capsys.readouterr().out) == bool(code)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"factors": "arm,smell"}, "smell"),
        ({"n": 0}, "--n"),
        ({"seed": 999_999, "n": 5}, "--seed"),
        ({"task": "dance"}, "no such task"),
        ({"against": Path("absent.json")}, "evaluate paired --json"),
    ],
)
def test_wrong_flags_are_refused_before_anything_starts(changes: dict, word: str) -> None:
    with pytest.raises(FineVLAError, match=word):
        main(Config(**changes))


def test_a_result_without_factors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"factors": {"smell": {}}}))
    with pytest.raises(FineVLAError, match="cannot be read"):
        main(Config(against=path))
