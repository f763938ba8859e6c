"""Paired evaluation through the graph: same pairs, same counts, honest comparison."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from finevla.errors import FineVLAError
from finevla.sim.factors import FACTORS, IN_DISTRIBUTION, OOD
from finevla.sim.tasks import task_names
from finevla.stages.demo.rows import Row, Trial, Verdict
from finevla.stages.evaluate.graph import (
    changed_words,
    compare,
    first_tries,
    result_of,
    run_pairs,
    trials_of,
)
from finevla.stages.evaluate.graph_verb import Config, _judge, _table, main
from finevla.stages.evaluate.paired import plan_pairs, run_rows, summarize

TASKS = ("pick_lift", "place_in_bowl")
ROWS = (*(name for name in IN_DISTRIBUTION if FACTORS[name].tasks[0] in task_names()), OOD)


def said(value: object) -> str:
    return " ".join(value) if isinstance(value, tuple) else str(value)


def verdict_of(trial: Trial, done: bool, points: float, **observed: str) -> Verdict:
    """As the simulator answers: the factors that the sentence fixes; what is not given is as asked."""
    asked = {name: said(value) for name, value in trial.goal.values().items()}
    shown = asked | {name: value for name, value in observed.items() if name in asked}
    complied = {name: shown[name] == value for name, value in asked.items()}
    ok = [complied.get(name, True) for name in ("arm", "color")]
    return Verdict(shown["arm"], shown.get("color", ""), *ok, done, asked, shown, complied, points)


def obedient(trial: Trial) -> Row:
    return Row(trial, verdict_of(trial, True, 100.0), "finished", "settled", "", 4.0, 0.1, 0.005)


def color_blind(trial: Trial) -> Row:
    """Always takes the same cube of the scene: right in one of the two runs of a color pair."""
    color = sorted({"red", "blue", "green", "yellow"})[0]
    verdict = verdict_of(trial, trial.color == color, 60.0, color=color)
    return Row(trial, verdict, "timeout", "timeout", "", 30.0, None, 0.005)


def test_trials_are_the_pairs_of_the_evaluation_in_process() -> None:
    for pair in plan_pairs(ROWS, (), 3, 1000):
        trials = trials_of(pair, 10)
        assert tuple(t.text for t in trials) == pair.texts
        assert tuple(t.goal for t in trials) == pair.goals
        assert [(t.seed, t.index, t.variant) for t in trials] == [
            (pair.spec.seed, 10, pair.spec.variant),
            (pair.spec.seed, 11, pair.spec.variant),
        ]
        words = [trial.changed.split() for trial in trials]
        assert words[0] != words[1]
        assert pair.field == "order" or [len(changed) for changed in words] == [1, 1]


def test_every_factor_comes_back_from_the_graph_as_the_rules_know_it() -> None:
    for pair in plan_pairs(ROWS, (), 2, 1000):
        outcomes, _ = run_pairs([pair], obedient, 0.1, lambda _: None)
        (outcome,) = outcomes
        assert [dict(run.observed) for run in outcome.runs] == [goal.values() for goal in pair.goals]
        assert (outcome.compliance, outcome.success, outcome.changed, outcome.others_kept) == (
            1,
            1,
            True,
            True,
        )
        assert outcome.matches == (True, False), "neither run matches the other's words"
        assert {run.points for run in outcome.runs} == {100.0}


def test_a_refusal_of_the_policy_is_a_refusal_and_nothing_observed_is_none() -> None:
    (pair,) = plan_pairs(["color"], (), 1, 1000)
    trial = trials_of(pair, 0)[0]
    row = replace(
        obedient(trial), ending="rejected", reason_code="unknown_word", verdict=verdict_of(trial, False, 0.0)
    )
    lost = replace(row, verdict=verdict_of(trial, False, 0.0, arm="", color=""))
    run = result_of(lost, 0.1)
    assert (run.refused, run.still, run.settled) == ("unknown_word", True, False)
    assert dict(run.observed) == {"arm": None, "color": None}
    assert not any(run.complied.values())


def test_a_factor_that_the_simulator_did_not_judge_is_not_guessed() -> None:
    (pair,) = plan_pairs(["side"], (), 1, 1000)
    row = obedient(trials_of(pair, 0)[0])
    partial = replace(row, verdict=replace(row.verdict, complied={"arm": True}))
    with pytest.raises(FineVLAError, match="did not judge side"):
        result_of(partial, 0.1)


def test_changed_words() -> None:
    texts = ("put the red cube then the blue cube away", "put the blue cube then the red cube away")
    assert changed_words(*texts) != ""
    assert changed_words("from the left", "from the top") == "left"
    assert changed_words("same here", "same here") == ""


def test_counts_have_the_keys_of_the_evaluation_in_process() -> None:
    pairs = plan_pairs(("arm", "colour"), TASKS, 4, 1000)
    seen: list[Row] = []
    outcomes, rows = run_pairs(pairs, obedient, 0.1, seen.append)
    assert seen == rows
    assert len(rows) == 16
    result = summarize(outcomes, ("arm", "colour"))
    assert {"factors", "avg_id", "avg_id_n", "avg_all"} <= set(result)
    assert result["factors"]["arm"]["points"] == 100.0
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
