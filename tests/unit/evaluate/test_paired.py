"""The command `finevla evaluate paired`: oracles calibrate it, and bad flags are refused at once."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest

pytest.importorskip("sapien", reason="sapien is not installed (requirements/sim.txt)")

from finevla.errors import BundleError, FineVLAError, SimulationError
from finevla.sim.factors import IN_DISTRIBUTION, OOD
from finevla.stages.evaluate import run
from finevla.stages.evaluate.count import summarize
from finevla.stages.evaluate.paired import plan_pairs
from finevla.stages.evaluate.paired_verb import Config, main
from finevla.stages.evaluate.run import Job, Runner, outcomes_of
from finevla.stages.evaluate.seat import Seat
from finevla.stages.evaluate.seating import seat_of
from finevla.stages.evaluate.table import table

EVERY = (*IN_DISTRIBUTION, OOD)


def measured(seat, factors, n, probed=0):
    jobs = [Job(pair, pair.number < probed) for pair in plan_pairs(factors, [], n, 1000)]
    return summarize(outcomes_of(Runner(seat), jobs, 1), factors)


def test_the_expert_scores_100_on_every_factor():
    obeys_all(measured(Seat("expert"), EVERY, 1))


def obeys_all(result):
    for name, row in result["factors"].items():
        for key in ("compliance", "success", "switch_rate", "changed_only"):
            assert row[key] == 1.0, (name, key)
        assert row["points"] == 100.0, name
        assert row["refused"] == 0, name
    assert (result["avg_id"], result["avg_all"]) == (100.0, 100.0)


def test_whoever_ignores_the_words_is_at_chance_and_the_table_says_so():
    factors = ["arm", "color", "approach", OOD]
    result = measured(Seat("ignore"), factors, 4)
    shown = table(result).splitlines()
    for name in factors:
        assert "at chance" in next(line for line in shown if line.startswith(name))
    is_deaf(result)
    obedient = table(measured(Seat("expert"), ["arm"], 4))
    assert "at chance" not in obedient


def is_deaf(result):
    for name, row in result["factors"].items():
        assert row["at_chance"], (name, row["compliance"], row["chance"])
        assert row["switch_rate"] == 0.0, name
        assert row["changed"] == 0.0, name
        assert row["mcnemar"]["p"] == 1.0, name


@pytest.mark.parametrize("swapped", ["arm", "approach", "side"])
def test_a_swapped_factor_is_caught_on_that_factor_alone(swapped):
    caught_alone(swapped, ["arm", "color", "approach", "side"], 1)


def caught_alone(swapped, factors, n):
    rows = measured(Seat("swap", factor=swapped), factors, n)["factors"]
    assert {name: row["compliance"] for name, row in rows.items()} == {
        name: 0.0 if name == swapped else 1.0 for name in factors
    }
    assert all(row["changed_only"] == 1.0 for name, row in rows.items() if name != swapped)


@pytest.mark.slow
def test_oracles_on_every_factor_in_more_scenes():
    obeys_all(measured(Seat("expert"), EVERY, 8))
    is_deaf(measured(Seat("ignore"), EVERY, 12))
    for swapped in IN_DISTRIBUTION:
        caught_alone(swapped, IN_DISTRIBUTION, 2)


def test_probes_are_tried_in_the_same_scene():
    result = measured(Seat("expert"), ["arm"], 1, probed=1)
    assert {name: row["as_expected"] for name, row in result["probes"].items()} == dict.fromkeys(
        ("empty", "nonsense", "negated", "trailing_dot", "synonym", "clause_order", "held_out"), 1.0
    )
    deaf = measured(Seat("ignore"), ["arm"], 1, probed=1)["probes"]
    assert deaf["nonsense"]["as_expected"] == 0.0, "it moves, whatever is said"
    assert deaf["empty"]["refused"] == 1, "the instruction node passes no empty sentence on"


def test_workers_do_not_matter(tmp_path, capsys):
    documents = []
    for workers in (1, 2):
        out = tmp_path / f"{workers}.json"
        config = Config("arm,colour", n=2, policy="expert", workers=workers, json=out, runs=True)
        assert main(config) == 0
        documents.append(json.loads(out.read_text()))
        timing = documents[-1]["provenance"].pop("timing")
        documents[-1]["provenance"].pop("seconds")
        assert timing["episodes"] == 8
        assert timing["episodes_per_minute"] > 0
        assert sum(timing["time_share"].values()) == pytest.approx(1.0, abs=0.01)
        assert timing["time_share"]["rendering"] == 0.0
    assert documents[0] == documents[1]
    assert documents[0]["avg_id"] == 100.0
    assert set(documents[0]["factors"]) == {"arm", "colour"}
    for row in documents[0]["factors"].values():
        assert (row["n"], row["compliance"], row["success"], row["switch_rate"]) == (2, 1.0, 1.0, 1.0)
        assert row["ci95"][0] < 0.5
    shown = capsys.readouterr().out
    assert "Avg(ID), mean compliance on a scale of 100: 100.0 [51.0, 100.0] n=4" in shown
    assert "episodes per minute" in shown
    assert not list(tmp_path.glob("*.partial.jsonl"))


def test_a_scene_in_which_something_is_out_of_reach_is_named(monkeypatch):
    def breaks(*_, **__):
        raise SimulationError("no way there", where="left arm", remedy="ask for something else")

    monkeypatch.setattr(run, "run_goal", breaks)
    with pytest.raises(SimulationError, match="arm, pair 0: pick_lift, scene seed 1000; left arm") as caught:
        measured(Seat("expert"), ["arm"], 1)
    assert caught.value.remedy == "ask for something else"


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({"factors": "arm,speed"}, "no such factor"),
        ({"factors": "arm,arm"}, "--factors"),
        ({"factors": ""}, "--factors"),
        ({"task": ","}, "--task"),
        ({"task": "juggle"}, "juggle"),
        ({"factors": "pose", "task": "pick_lift"}, "cannot vary the factor pose"),
        ({"n": 0}, "--n"),
        ({"workers": 0}, "--workers"),
        ({"replan_frames": 0}, "--replan-frames"),
        ({"max_frames": 0}, "--max-frames"),
        ({"probes": 51}, "--probes"),
        ({"videos": -1}, "--videos"),
        ({"seed": 999_990}, "--seed"),
        ({"seed": -1}, "--seed"),
        ({"policy": "expert", "bundle": Path("x")}, "--bundle"),
        ({"policy": "nobody"}, "--policy"),
        ({"policy": "swap:speed"}, "no such factor"),
        ({"json": Path("/")}, "--json"),
        ({"report": Path("/")}, "--report"),
        ({"ros": True}, "--policy"),
        ({"ros": True, "policy": "bundle", "probes": 1}, "--ros"),
        ({"ros": True, "policy": "bundle", "bundle": Path("x")}, "--ros"),
        ({"ros": True, "policy": "bundle", "answers": Path("x")}, "--answers"),
        ({"ros": True, "policy": "bundle", "timeout_s": 0.0}, "--timeout-s"),
        ({"blind": Path("x")}, "--ros"),
    ],
)
def test_bad_flags_are_refused_before_anything_runs(flags, named):
    with pytest.raises(FineVLAError, match=named):
        main(Config(**({"policy": "expert"} | flags)))


def test_who_sits_in_the_seat(tmp_path):
    assert seat_of("swap:colour", None) == Seat("swap", factor="color")
    assert seat_of(str(tmp_path), None) == Seat("bundle", tmp_path)
    assert seat_of("bundle", tmp_path) == Seat("bundle", tmp_path)
    assert seat_of("bundle", None).bundle.name == "cobotmagic_demo"


@pytest.mark.sim
def test_a_bundle_that_is_not_there_is_refused(tmp_path):
    out = tmp_path / "out.json"
    with pytest.raises(BundleError):
        main(Config(bundle=tmp_path / "none", n=1, json=out))
    assert not list(tmp_path.iterdir())


def test_errors_keep_their_parts_on_the_way_from_a_worker():
    error = BundleError("broken", where="here", expected="a", found="b", remedy="mend it")
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.what, copy.remedy, str(copy)) == (error.what, error.remedy, str(error))
