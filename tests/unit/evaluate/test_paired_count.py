"""How outcomes are counted, without physics: shares, intervals, chance, McNemar, probes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest

pytest.importorskip("sapien", reason="sapien is not installed (requirements/sim.txt)")

from paired_cases import obedient, outcome, outcomes, ran

from finevla.errors import FineVLAError
from finevla.sim.factors import IN_DISTRIBUTION, OOD, other
from finevla.sim.language import probes
from finevla.sim.scene import seeded
from finevla.sim.tasks import goals
from finevla.stages.evaluate.intervals import wilson
from finevla.stages.evaluate.outcome import ProbeResult, RunResult
from finevla.stages.evaluate.paired import plan_pairs, run_rows, summarize
from finevla.stages.evaluate.statistics import Measured, bounds, mcnemar, resampled_means, share_of
from finevla.stages.evaluate.table import table, timing_words

EVERY = (*IN_DISTRIBUTION, OOD)


def wrong(pair, goal):
    """Always does the other value of the factor."""
    return other(goal, pair.field, pair.spec)


def deaf(pair, goal):
    """Draws among what the scene allows; the words play no part. Other factors stay as asked."""
    rng = seeded("deaf", pair.spec.seed)
    if pair.field == "approach":
        options = sorted({"above", *(g.approach for g in pair.goals)})
        return replace(goal, approach=options[int(rng.integers(len(options)))])
    choices = goals(pair.spec)
    taken = choices[int(rng.integers(len(choices)))]
    return replace(goal, **{name: getattr(taken, name) for name in pair.judged})


@pytest.mark.parametrize(("hits", "n"), [(0, 5), (5, 5), (1, 3), (48, 50), (50, 50), (400, 1000)])
def test_wilson_agrees_with_scipy(hits, n):
    theirs = binomtest(hits, n).proportion_ci(method="wilson")
    assert wilson(hits / n, n) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


@pytest.mark.parametrize(("share", "n"), [(0.5, 0), (1.1, 5), (float("nan"), 5)])
def test_wilson_refuses_nonsense(share, n):
    with pytest.raises(ValueError, match="share"):
        wilson(share, n)


@pytest.mark.parametrize(("b", "c"), [(0, 0), (1, 0), (5, 1), (3, 3), (50, 0), (12, 30)])
def test_mcnemar_is_the_exact_binomial_test(b, c):
    assert mcnemar(b, c) == pytest.approx(binomtest(b, b + c).pvalue if b + c else 1.0)


def test_bootstrap_is_seeded_and_agrees_with_theory():
    samples = np.random.default_rng(3).normal(2.0, 1.0, (200, 1))
    low, high = bounds(resampled_means(samples, "a")[:, 0])
    assert [low, high] == bounds(resampled_means(samples, "a")[:, 0])
    assert [low, high] != bounds(resampled_means(samples, "b")[:, 0])
    half = 1.96 * float(samples.std()) / np.sqrt(200)
    assert (high - low) / 2 == pytest.approx(half, rel=0.05)
    assert low < float(samples.mean()) < high


@pytest.mark.parametrize("n", [0, -1])
def test_a_mean_without_trials_is_refused(n):
    with pytest.raises(FineVLAError, match="without trials"):
        Measured(50.0, 0.0, 100.0, n)
    assert str(share_of(0.5, (0.25, 0.75), 8)) == "50.0 [25.0, 75.0] n=8"


def test_a_row_without_pairs_is_refused():
    with pytest.raises(FineVLAError, match="no pair of the factor color"):
        summarize(outcomes("arm", 2), ["arm", "color"])


def test_counting():
    first, second, third = plan_pairs(["arm"], ["pick_lift"], 3, 1000)

    def half(pair, goal):
        return goal if goal == pair.goals[0] else wrong(pair, goal)

    rows = [outcome(first), outcome(second, half), outcome(third, wrong)]
    row = summarize(rows, ["arm"])["factors"]["arm"]
    assert (row["n"], row["runs"]) == (3, 6)
    assert (row["compliance"], row["success"]) == (0.5, 0.5)
    assert row["ci95"] == list(wilson(0.5, 3))
    assert row["switch_rate"] == pytest.approx(1 / 3)
    assert row["changed"] == pytest.approx(2 / 3)
    assert row["changed_only"] == 1.0
    assert row["points"] == 80.0
    assert row["mcnemar"] == {"both": 1, "own_only": 1, "other_only": 1, "neither": 0, "p": 1.0}
    assert row["values"] == {"left": 3, "right": 3}


def test_a_change_of_something_else_is_seen():
    def drifts(pair, goal):
        return goal if goal == pair.goals[0] else other(goal, "color", pair.spec)

    row = summarize(outcomes("arm", 4, drifts, ["pick_lift"]), ["arm"])["factors"]["arm"]
    assert (row["compliance"], row["switch_rate"], row["changed_only"]) == (1.0, 1.0, 0.0)
    assert row["success"] == 0.5


@pytest.mark.parametrize("factor", EVERY)
def test_obeying_scores_100_on_every_row(factor):
    row = summarize(outcomes(factor, 12), [factor])["factors"][factor]
    for name in ("compliance", "success", "switch_rate", "changed_only"):
        assert row[name] == 1.0
    assert not row["at_chance"]
    assert row["mcnemar"]["own_only"] == 12
    assert row["mcnemar"]["p"] < 0.001


@pytest.mark.parametrize("factor", EVERY)
def test_not_hearing_the_words_is_at_chance_on_every_row(factor):
    row = summarize(outcomes(factor, 150, deaf), [factor])["factors"][factor]
    assert row["at_chance"], (row["compliance"], row["chance"])
    assert row["chance"] == (0.25 if factor == OOD else pytest.approx(0.5, abs=0.2))
    assert row["mcnemar"]["p"] == 1.0
    assert row["switch_rate"] == 0.0


@pytest.mark.parametrize("factor", EVERY)
def test_swapping_is_the_opposite_of_obeying(factor):
    row = summarize(outcomes(factor, 12, wrong), [factor])["factors"][factor]
    assert row["compliance"] == 0.0
    assert row["mcnemar"]["own_only"] == 0
    if row["chance"] in {0.5, 0.25}:  # of two values, the other run did what this one should have done
        assert row["mcnemar"]["other_only"] == 12


def test_averages_weigh_rows_alike_and_leave_the_untrained_one_out():
    rows = [*outcomes("arm", 4), *outcomes("colour", 2, wrong), *outcomes(OOD, 3, wrong)]
    result = summarize(rows, ["arm", "colour", OOD])
    assert result["avg_id"] == 50.0
    assert result["avg_all"] == pytest.approx(100 / 3, abs=0.01)
    assert (result["avg_id_n"], result["avg_all_n"]) == (6, 9)
    assert result["factors"][OOD]["runs"] == 3
    assert result["avg_id_ci95"] == pytest.approx([100 * bound for bound in wilson(0.5, 6)])
    assert result["avg_id_bootstrap95"] == [50.0, 50.0], "within each row all pairs went alike"
    alone = summarize(outcomes(OOD, 3), [OOD])
    assert (alone["avg_id"], alone["avg_all"]) == (None, 100.0)
    assert "Avg(ID)" not in table(alone)


def test_refused_sentences_count_as_not_complied():
    (pair,) = plan_pairs(["arm"], ["pick_lift"], 1, 1000)
    done = ran(pair.goals[0], pair.goals[0])
    refused = RunResult.refusal(pair.goals[1], "unknown word")
    row = summarize([replace(outcome(pair), runs=(done, refused))], ["arm"])["factors"]["arm"]
    assert (row["refused"], row["compliance"], row["success"]) == (1, 0.5, 0.5)
    assert row["mcnemar"]["own_only"] == 1


def test_runs_of_a_graph_have_no_points():
    (pair,) = plan_pairs(["arm"], ["pick_lift"], 1, 1000)
    runs = tuple(replace(ran(goal, goal), points=None) for goal in pair.goals)
    result = summarize([replace(outcome(pair), runs=runs)], ["arm"])
    assert "points" not in result["factors"]["arm"]
    assert "not known" in table(result)


def test_probes_are_counted_by_what_is_expected_of_them():
    rows = []
    for pair in plan_pairs(["arm"], ["pick_lift"], 4, 1000):
        moved, kept = ran(pair.goals[0], pair.goals[1]), ran(pair.goals[0], pair.goals[0])
        still = replace(moved, still=True)
        runs = {
            "empty": RunResult.refusal(pair.goals[0], "empty"),
            "nonsense": still,
            "negated": kept,
            "trailing_dot": kept,
            "synonym": moved,
        }
        tried = [
            ProbeResult(p.name, p.text, p.expect, runs.get(p.name, kept))
            for p in probes(pair.goals[0], pair.template)
        ]
        rows.append(outcome(pair, obedient, tried))
    result = summarize(rows, ["arm"])
    shares = {name: row["as_expected"] for name, row in result["probes"].items()}
    assert shares == {
        "empty": 1.0,
        "nonsense": 1.0,
        "negated": 0.0,
        "trailing_dot": 1.0,
        "synonym": 0.0,
        "clause_order": 1.0,
        "held_out": 1.0,
    }
    assert result["probes"]["empty"]["refused"] == 4
    assert result["probes"]["synonym"]["plain"] == 1.0
    assert result["probes"]["negated"]["factors"] == {"arm": {"n": 4, "as_expected": 0.0}}
    shown = table(result)
    assert "negated" in shown
    assert "0.0 [0.0, 49.0] n=4" in shown


def test_the_table_shows_n_with_every_mean_and_says_at_chance():
    text = table(summarize([*outcomes("arm", 20, deaf), *outcomes(OOD, 20)], ["arm", OOD]))
    assert "50.0 at chance" in text
    assert "25.0 at chance" not in text
    assert "Avg(All)" in text
    for line in text.splitlines():
        assert line.count("[") == line.count(" n="), line


def test_rows_of_runs_tell_single_cases():
    rows = run_rows(outcomes(OOD, 2, wrong))
    assert [row["counted"] for row in rows] == [False, True, False, True]
    assert {row["complied"] for row in rows} == {False}
    assert rows[0]["asked"]["bowl"] == "left"


def test_the_bottleneck_is_told():
    timing = {
        "episodes": 8,
        "episodes_per_minute": 52.4,
        "time_share": {"physics": 0.6, "rendering": 0.3, "inference": 0.1},
    }
    words = timing_words(timing)
    assert "52 episodes per minute" in words
    assert "physics 60 %" in words
