import json
import pickle
from pathlib import Path

import pytest
from scipy.stats import binomtest

pytest.importorskip("sapien", reason="sapien is not installed (requirements/sim.txt)")

from finevla.errors import BundleError, FineVLAError
from finevla.sim.language import Goal
from finevla.sim.rollout import Rollout
from finevla.sim.scene import sample_scene
from finevla.sim.score import Score
from finevla.stages.evaluate.intervals import wilson
from finevla.stages.evaluate.paired import Outcome, plan_pairs, summarize
from finevla.stages.evaluate.paired_verb import Config, main


@pytest.mark.parametrize(("hits", "n"), [(0, 5), (5, 5), (1, 3), (48, 50), (50, 50), (400, 1000)])
def test_wilson_agrees_with_scipy(hits, n):
    theirs = binomtest(hits, n).proportion_ci(method="wilson")
    assert wilson(hits / n, n) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


@pytest.mark.parametrize(("share", "n"), [(0.5, 0), (1.1, 5), (float("nan"), 5)])
def test_wilson_refuses_nonsense(share, n):
    with pytest.raises(ValueError, match="share"):
        wilson(share, n)


def test_pairs_differ_in_one_word_and_share_a_scene():
    pairs = plan_pairs(["arm", "colour"], ["pick_lift", "place_in_bowl"], 20, 1000)
    assert len(pairs) == 40
    for pair in pairs:
        a, b = (text.split() for text in pair.texts)
        changed = [(x, y) for x, y in zip(a, b, strict=True) if x != y]
        assert len(changed) == 1
        assert ({*changed[0]} == {"left", "right"}) == (pair.factor == "arm")
    assert [p.spec for p in pairs[:20]] == [p.spec for p in pairs[20:]]
    assert {p.goals[0].arm for p in pairs} == {"left", "right"}
    assert {p.template for p in pairs} == set(range(5))


def outcome(factor, first, second, number=0):
    spec = sample_scene("pick_lift", number)
    pair = plan_pairs([factor], ["pick_lift"], 1, number)[0]
    assert pair.spec == spec
    runs = tuple(
        Rollout(Score("left", None, arm, color, done), 10, done) for arm, color, done in (first, second)
    )
    return Outcome(pair, runs)


def test_counting():
    good, wrong_arm = (True, True, True), (False, True, True)
    result = summarize(
        [outcome("arm", good, good), outcome("arm", good, wrong_arm, 1), outcome("colour", good, wrong_arm)],
        ["arm", "colour"],
    )
    arm, colour = result["factors"]["arm"], result["factors"]["colour"]
    assert (arm["n"], arm["runs"], arm["compliance"], arm["switch_rate"]) == (2, 4, 0.75, 0.5)
    assert arm["success"] == 0.75
    assert arm["ci95"] == list(wilson(0.75, 2))
    assert (colour["compliance"], colour["success"], colour["switch_rate"]) == (1.0, 0.5, 1.0)
    assert result["avg_id"] == 87.5


def test_the_expert_scores_100_and_workers_do_not_matter(tmp_path, capsys):
    documents = []
    for workers in (1, 2):
        out = tmp_path / f"{workers}.json"
        config = Config("arm,colour", n=2, policy="expert", workers=workers, json=out, runs=True)
        assert main(config) == 0
        documents.append(json.loads(out.read_text()))
        documents[-1]["provenance"].pop("seconds")
    assert documents[0] == documents[1]
    assert documents[0]["avg_id"] == 100.0
    assert set(documents[0]["factors"]) == {"arm", "colour"}
    for row in documents[0]["factors"].values():
        assert (row["n"], row["compliance"], row["success"], row["switch_rate"]) == (2, 1.0, 1.0, 1.0)
        assert row["ci95"][0] < 0.5
    assert "average compliance 100.0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({"factors": "arm,speed"}, "--factors"),
        ({"factors": "arm,arm"}, "--factors"),
        ({"factors": ""}, "--factors"),
        ({"task": ","}, "--task"),
        ({"task": "juggle"}, "juggle"),
        ({"n": 0}, "--n"),
        ({"workers": 0}, "--workers"),
        ({"seed": 999_990}, "--seed"),
        ({"policy": "expert", "bundle": Path("x")}, "--bundle"),
        ({"json": Path("/")}, "--json"),
    ],
)
def test_bad_flags_are_refused_before_anything_runs(flags, named):
    with pytest.raises(FineVLAError, match=named):
        main(Config(**flags))


@pytest.mark.sim
def test_a_bundle_that_is_not_there_is_refused(tmp_path):
    out = tmp_path / "out.json"
    with pytest.raises(BundleError):
        main(Config(bundle=tmp_path / "none", n=1, json=out))
    assert not out.exists()


def test_errors_keep_their_parts_on_the_way_from_a_worker():
    error = BundleError("broken", where="here", expected="a", found="b", remedy="mend it")
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.what, copy.remedy, str(copy)) == (error.what, error.remedy, str(error))


def test_goals_of_a_pair_are_goals_of_its_scene():
    for pair in plan_pairs(["color"], ["place_in_bowl"], 8, 7):
        assert all(isinstance(goal, Goal) and goal.color in pair.spec.colors for goal in pair.goals)
