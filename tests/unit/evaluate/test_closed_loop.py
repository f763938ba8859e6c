"""`finevla evaluate closed-loop`: what is run and counted, floors, resuming, and each its own instruction."""

import json
from dataclasses import asdict, replace

import pytest

pytest.importorskip("sapien", reason="sapien is not installed (requirements/sim.txt)")

from finevla.errors import FineVLAError, SimulationError
from finevla.stages.evaluate import closed_loop, closed_loop_verb, seat
from finevla.stages.evaluate.closed_loop import Episode, Guard, Job, asked, plan_jobs, run_job, summarize
from finevla.stages.evaluate.closed_loop_verb import Config, main, misses
from finevla.stages.evaluate.partial import Partial, partial_path
from finevla.stages.evaluate.seat import Run, Seat, Step, acted_goal, run_goal

EXPERT = Seat("expert")


def job(seat=EXPERT, task="press_button", number=0, **kwargs):
    return Job(seat, task, "clean", number, 4, 1000, 4, **kwargs)


def config(tmp_path, **kwargs):
    given = {"policy": "expert", "task": "press_button", "episodes": 2, "workers": 1, **kwargs}
    return Config(json=tmp_path / "result.json", **given)


def test_the_expert_succeeds_clean_and_hard_and_the_table_says_with_how_many(tmp_path, capsys):
    assert main(config(tmp_path, floor_clean=98, floor_hard=95, log=tmp_path / "steps.jsonl")) == 0
    printed = capsys.readouterr().out
    assert "press_button" in printed
    assert "100.0 %" in printed
    result = json.loads((tmp_path / "result.json").read_text())
    for kind in ("clean", "hard"):
        cell = result["tasks"]["press_button"][kind]
        assert (cell["n"], cell["successes"], cell["refused"]) == (2, 2, 0)
        assert 0 < cell["ci95"][0] < cell["ci95"][1] == 1.0
    assert result["misses"] == []
    assert not (tmp_path / "result.json.partial.jsonl").exists()
    steps = [json.loads(line) for line in (tmp_path / "steps.jsonl").read_text().splitlines()]
    texts = {row["key"]: row["text"] for row in result["episodes"]}
    assert {step["episode"] for step in steps} == set(texts)
    assert all(step["text"] == texts[step["episode"]] for step in steps)
    assert all(step["instruction_id"].startswith(step["episode"]) for step in steps)
    assert all(texts[key] == texts[key.replace("/clean/", "/hard/")] for key in texts)


def test_goals_take_turns_then_sentences():
    spec = closed_loop.sample_scene("press_button", 5)
    seen = [asked(spec, number) for number in range(8)]
    assert len({goal for goal, _ in seen}) == 4
    assert len({text for _, text in seen}) == 8


def test_an_inference_with_another_episodes_instruction_stops_the_run():
    guard = Guard("a/clean/0/1000", "press the red button")
    guard(Step(0, "a/clean/0/1000", "press the red button"))
    for wrong in (
        Step(1, "a/clean/1/1001", "press the red button"),
        Step(1, "a/clean/0/1000", "press the blue one"),
    ):
        with pytest.raises(FineVLAError, match="instruction of another one"):
            guard(wrong)
    assert len(guard.steps) == 1


def test_whoever_ignores_the_words_fails_some_and_the_reasons_are_counted():
    episodes = [run_job(job(Seat("ignore"), number=number)) for number in range(4)]
    cell = summarize([asdict(e) for e in episodes])["all"]["clean"]
    assert cell["n"] == 4
    assert cell["successes"] < 4
    assert sum(cell["reasons"].values()) == 4 - cell["successes"]


def test_a_sentence_that_is_not_taken_is_a_failure_of_its_own_kind(monkeypatch):
    real = run_goal

    def refusing(who, *args, **kwargs):
        return Run(None, "unknown word 'button'") if who.kind == "ignore" else real(who, *args, **kwargs)

    monkeypatch.setattr(closed_loop, "run_goal", refusing)
    episode = run_job(job(Seat("ignore")))
    assert (episode.success, episode.reason, episode.detail) == (False, "refused", "unknown word 'button'")
    cell = summarize([asdict(episode)])["tasks"]["press_button"]["clean"]
    assert (cell["refused"], cell["success"]) == (1, 0.0)


def test_seeds_that_tell_nothing_are_replaced_for_policies_only(monkeypatch):
    def shaky(_, spec):
        if spec.seed in {1000, 1004}:
            raise SimulationError("the scene is unstable")

    monkeypatch.setattr(closed_loop, "check_stable", shaky)
    episode = run_job(job(Seat("ignore")))
    assert episode.seed == 1008
    assert [row["seed"] for row in episode.replaced] == [1000, 1004]
    assert "unstable" in episode.replaced[0]["why"]
    assert run_job(job()).seed == 1000
    monkeypatch.setattr(closed_loop, "check_stable", lambda *_: shaky(_, type("S", (), {"seed": 1000})))
    with pytest.raises(SimulationError, match="20 tries"):
        run_job(job(Seat("ignore")))


def test_an_interrupted_run_goes_on_and_gives_the_same_result(tmp_path, monkeypatch):
    main(config(tmp_path / "whole"))
    made = []

    def failing(one):
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(one.key)
        return run_job(one)

    monkeypatch.setattr(closed_loop_verb, "run_job", failing)
    with pytest.raises(KeyboardInterrupt):
        main(config(tmp_path / "cut"))
    assert partial_path(tmp_path / "cut" / "result.json").exists()
    monkeypatch.setattr(
        closed_loop_verb, "run_job", lambda one: made.append(one.key) or replace(run_job(one), seconds=0)
    )
    main(config(tmp_path / "cut"))
    assert len(made) == len(set(made)) == 4
    whole, cut = (
        json.loads((tmp_path / name / "result.json").read_text())["episodes"] for name in ("whole", "cut")
    )
    for row in (*whole, *cut):
        row.pop("seconds")
    assert whole == cut


def test_a_partial_result_of_another_command_is_refused_and_a_torn_line_dropped(tmp_path):
    path = tmp_path / "r.json.partial.jsonl"
    Partial(path, {"seed": 1}).add({"key": "a"})
    with path.open("a") as file:
        file.write('{"key": "b"')
    assert Partial(path, {"seed": 1}).rows == [{"key": "a"}]
    with pytest.raises(FineVLAError, match="another command") as caught:
        Partial(path, {"seed": 2})
    assert "seed=1" in caught.value.expected
    path.write_text("[1]\nnonsense\n")
    with pytest.raises(FineVLAError, match="damaged"):
        Partial(path, {"seed": 1})


def test_a_floor_that_is_missed_is_named():
    row = Episode("k", "press_button", "clean", 1, {}, "", True, "", "", 100.0, 30, True, 8, 0.1)
    rows = [asdict(row), asdict(replace(row, success=False))]
    result = summarize(rows)
    assert misses(result, {"clean": 50, "hard": 99}) == []
    (miss,) = misses(result, {"clean": 98, "hard": None})
    assert "press_button clean" in miss
    assert "50.0 % of 2" in miss


def test_a_missed_floor_is_the_exit_code(tmp_path, capsys):
    cut_short = config(tmp_path, episodes=1, difficulty="clean", max_frames=4, floor_clean=98)
    assert main(cut_short) == 1
    assert "below its floor: press_button clean" in capsys.readouterr().out
    assert main(replace(cut_short, floor_clean=None)) == 0


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({"episodes": 0}, "--episodes"),
        ({"workers": 0}, "--workers"),
        ({"difficulty": "easy"}, "--difficulty"),
        ({"difficulty": "clean,clean"}, "--difficulty"),
        ({"task": ","}, "--task"),
        ({"task": "press_button,press_button"}, "--task"),
        ({"seed": -1}, "--seed"),
        ({"seed": 999_999}, "--seed"),
        ({"replan_frames": 0}, "--replan-frames"),
        ({"max_frames": 0}, "--max-frames"),
        ({"floor_hard": 101.0}, "--floor"),
        ({"policy": "ignore"}, "--policy"),
        ({"policy": "nobody"}, "--policy"),
        ({"task": "juggle"}, "juggle"),
    ],
)
def test_flags_that_are_not_right_are_named(tmp_path, flags, named):
    with pytest.raises(FineVLAError) as caught:
        main(config(tmp_path, **flags))
    assert named in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_jobs_cover_tasks_versions_and_numbers_once():
    jobs = plan_jobs(EXPERT, ["pick_lift", "press_button"], ["clean", "hard"], 3, 1000, replan_frames=4)
    assert len({one.key for one in jobs}) == len(jobs) == 12


def test_oracles_do_what_their_kind_says():
    spec = closed_loop.sample_scene("press_button", 1000)
    choices = closed_loop.goals(spec)
    for goal in choices:
        assert acted_goal(EXPERT, spec, goal) == goal
        assert acted_goal(Seat("swap", factor="color"), spec, goal).differing(goal) == ("color",)
    assert len({acted_goal(Seat("ignore"), spec, goal) for goal in choices}) == 1


def test_one_world_serves_a_process(monkeypatch):
    made = []
    monkeypatch.setattr(seat, "_WORLDS", {})
    monkeypatch.setattr(seat, "World", lambda render: made.append(render) or object())
    assert seat.world(True) is seat.world(True) is seat.world(False)
    assert made == [True]
