"""The blind rating: nothing gives away what was asked, and answers join the key or are refused by name."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from random import Random

import pytest

from finevla.errors import FineVLAError
from finevla.sim.factors import FACTORS, IN_DISTRIBUTION, OOD
from finevla.sim.scene import Kind, ObjectSpec, SceneSpec
from finevla.sim.tasks import task_names
from finevla.stages.evaluate.blind.answers import NONE, join, questions, read_answers, said
from finevla.stages.evaluate.blind.key import Ended, Key, key_document, key_from, key_path, new_key
from finevla.stages.evaluate.blind.layout import layout
from finevla.stages.evaluate.blind.page import items, render
from finevla.stages.evaluate.blind.session import open_key, read_key, write_key
from finevla.stages.evaluate.count import summarize
from finevla.stages.evaluate.plan import plan_pairs
from finevla.stages.evaluate.table import table

ROWS = (*(name for name in IN_DISTRIBUTION if FACTORS[name].tasks[0] in task_names()), OOD)
DONE = Ended("finished", "settled", 4.0)
FACTS = {"checkpoint_id": "ck"}


def key_of(rows=ROWS, n: int = 2, seed: int = 7, *, ended: bool = True) -> Key:
    key = new_key(plan_pairs(rows, (), n, 1000), rows, FACTS, Random(seed))
    for run in key.runs if ended else ():
        key = key.after(run, DONE)
    return key


def obedient(key: Key) -> dict:
    """Answers of a rater who saw exactly what was asked for."""
    return {
        run.name: {name: said(value) for name, value in key.goal(run).values().items()} | {"done": "yes"}
        for run in key.videos
    }


def saved(key: Key, answers: dict) -> str:
    return json.dumps({"seal": key.seal, "answers": answers})


def test_names_are_random_and_the_order_within_pairs_too() -> None:
    key = key_of(n=6)
    names = [run.name for run in key.runs]
    assert len(set(names)) == len(names) == 2 * len(key.pairs)
    assert all(re.fullmatch(r"[0-9a-f]{16}", name) for name in names)
    assert {run.goal for run in key.runs[::2]} == {0, 1}, "either instruction comes first"
    assert [run.name for run in key.videos] != names, "not in the order of the runs"
    assert not {run.name for run in key_of(seed=8).runs} & set(names)
    assert all(a.pair == b.pair for a, b in zip(key.runs[::2], key.runs[1::2], strict=True)), (
        "both runs of a pair follow each other: the layout is the same"
    )


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.fields: dict[str, dict[str, list[str]]] = {}
        self.feed(text)

    def handle_starttag(self, tag, attrs) -> None:
        found = dict(attrs)
        self.sources += [found[name] for name in ("src", "href") if name in found]
        if tag == "input":
            video, field = found["name"].split(":")
            self.fields.setdefault(video, {}).setdefault(field, []).append(found["value"])


def test_the_page_tells_nothing_of_what_was_asked() -> None:
    key = key_of()
    text = render(items(key), key.seal)
    for pair in key.pairs:
        assert not [sentence for sentence in pair.texts if sentence in text]
    page = Page(text)
    assert page.sources == [f"{run.name}.mp4" for run in key.videos]
    assert "http" not in text
    assert key.nonce not in text
    swapped = replace(key, runs=tuple(replace(run, goal=1 - run.goal) for run in key.runs))
    assert render(items(swapped), "seal") == render(items(key), "seal"), (
        "the goals leave no trace in the page"
    )
    for run in key.videos:
        fields = page.fields[run.name]
        assert set(fields) == {*key.goal(run).values(), "done"}
        for name, value in key.goal(run).values().items():
            assert said(value) in fields[name]
            assert fields[name][-1] == NONE
            assert len(fields[name]) >= 3
        assert fields["done"] == ["yes", "no"]


def test_questions_do_not_depend_on_which_goal_was_asked() -> None:
    for pair in key_of().pairs:
        assert questions(pair) == questions(replace(pair, goals=pair.goals[::-1]))
        assert all(list(options) == sorted(options) for options in questions(pair).values())


def test_answers_and_key_give_the_result_of_the_simulator() -> None:
    key = key_of()
    outcomes = join(key, read_answers(saved(key, obedient(key)), key, "x"), 0.1)
    assert tuple(outcome.pair for outcome in outcomes) == key.pairs
    result = summarize(outcomes, ROWS)
    assert {row["compliance"] for row in result["factors"].values()} == {1.0}
    assert {row["success"] for row in result["factors"].values()} == {1.0}
    assert {row["switch_rate"] for row in result["factors"].values()} == {1.0}
    assert "points" not in result["factors"]["arm"], "a rater gives no points"
    assert (outcomes[0].runs[0].frames, outcomes[0].runs[0].settled) == (40, True)
    assert "n=2" in table(result)


def test_a_rater_who_saw_the_other_value_lowers_that_factor_alone() -> None:
    key = key_of(("arm", "order"))
    answers = obedient(key)
    for run in key.videos:
        pair = key.pairs[run.pair]
        if pair.factor == "arm":
            answers[run.name]["arm"] = pair.goals[1 - run.goal].arm
    answers[key.videos[0].name]["done"] = "no"
    result = summarize(join(key, read_answers(saved(key, answers), key, "x"), 0.1), ("arm", "order"))
    assert result["factors"]["arm"]["compliance"] == 0.0
    assert result["factors"]["arm"]["changed_only"] == 1.0
    assert result["factors"]["order"]["compliance"] == 1.0


def test_what_could_not_be_told_is_no_value_and_a_refusal_needs_no_video() -> None:
    key = key_of(("color",), 1, ended=False)
    key = key.after(key.runs[0], Ended("rejected", "unknown_word", 0.1)).after(key.runs[1], DONE)
    (shown,) = key.videos
    assert [item.name for item in items(key)] == [shown.name]
    answer = {"arm": NONE, "color": NONE, "done": "no"}
    (outcome,) = join(key, read_answers(saved(key, {shown.name: answer}), key, "x"), 0.1)
    seen, refused = (outcome.runs[run.goal] for run in (shown, key.runs[0]))
    assert dict(seen.observed) == {"arm": None, "color": None}
    assert (refused.refused, refused.success) == ("unknown_word", False)
    assert outcome.compliance == 0.0


def test_missing_double_unknown_and_invented_answers_are_refused_by_name() -> None:
    key = key_of(("color",), 2)
    names = [run.name for run in key.videos]
    good = obedient(key)
    less = {name: answer for name, answer in good.items() if name != names[1]}
    with pytest.raises(FineVLAError, match="1 of 4 videos are not answered") as caught:
        read_answers(saved(key, less), key, "x")
    assert names[1] in caught.value.found
    half = good | {names[2]: {"arm": "left", "done": "yes"}}
    with pytest.raises(FineVLAError, match="not answered") as caught:
        read_answers(saved(key, half), key, "x")
    assert caught.value.found == str([names[2]])
    twice = saved(key, good).replace('"answers": {', f'"answers": {{"{names[0]}": {{}}, ')
    with pytest.raises(FineVLAError, match=f"answered twice: {names[0]}"):
        read_answers(twice, key, "x")
    with pytest.raises(FineVLAError, match="there are not") as caught:
        read_answers(saved(key, good | {"ffff": {}}), key, "x")
    assert "ffff" in caught.value.found
    for field, value in (("color", "mauve"), ("arm", "both"), ("done", "maybe"), ("done", [])):
        with pytest.raises(FineVLAError, match=f"{field} of video {names[0]} was not offered"):
            read_answers(saved(key, good | {names[0]: good[names[0]] | {field: value}}), key, "x")
    with pytest.raises(FineVLAError, match="belong to other videos"):
        read_answers(saved(key_of(("color",), 2, seed=9), good), key, "x")
    with pytest.raises(FineVLAError, match="cannot be read"):
        read_answers("[]", key, "x")


def test_runs_that_were_not_carried_out_are_refused() -> None:
    key = key_of(("color",), 2, ended=False)
    key = key.after(key.runs[0], DONE)
    with pytest.raises(FineVLAError, match="3 of 4 runs were not carried out"):
        join(key, read_answers(saved(key, obedient(key)), key, "x"), 0.1)


def test_the_key_comes_back_from_its_file_and_does_not_bear_a_change(tmp_path: Path) -> None:
    folder = tmp_path / "films"
    key = key_of()
    write_key(folder, key)
    path = key_path(folder)
    assert path.parent == tmp_path, "apart from the videos"
    assert path.stat().st_mode & 0o077 == 0
    assert read_key(folder) == key
    document = key_document(key)
    document["runs"][0]["goal"], document["runs"][1]["goal"] = 1, 1
    with pytest.raises(FineVLAError, match="not as it was sealed"):
        key_from(json.loads(json.dumps(document)), "x")
    with pytest.raises(FineVLAError, match="cannot be read"):
        key_from({"kind": "else"}, "x")
    with pytest.raises(FineVLAError, match="no key"):
        read_key(tmp_path / "other")


def test_a_session_goes_on_only_with_the_same_plan_and_policy(tmp_path: Path) -> None:
    folder, pairs = tmp_path / "films", plan_pairs(("arm",), (), 2, 1000)
    key = open_key(folder, pairs, ("arm",), FACTS, Random(1))
    later = key.after(key.runs[0], DONE)
    write_key(folder, later)
    assert open_key(folder, pairs, ("arm",), FACTS, Random(2)) == later
    for changed in (
        (plan_pairs(("arm",), (), 2, 1001), ("arm",), FACTS),
        (pairs, ("arm",), {"checkpoint_id": "another"}),
    ):
        with pytest.raises(FineVLAError, match="another measurement"):
            open_key(folder, *changed, Random(2))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "holiday.mp4").touch()
    with pytest.raises(FineVLAError, match="not empty and has no key"):
        open_key(tmp_path / "full", pairs, ("arm",), FACTS, Random(2))


def test_the_layout_names_every_object_in_cm_from_the_middle_line() -> None:
    for pair in key_of().pairs:
        assert len(layout(pair.spec)) == len(pair.spec.objects)
    spec = SceneSpec(
        "pick_lift",
        0,
        (
            ObjectSpec("red_cube", Kind.CUBE, 0.2143, 0.05, 1.745, (0.036,), "red"),
            ObjectSpec("cup", Kind.CUP, 0.25, -0.102, -1.5708, (0.03, 0.08)),
            ObjectSpec("bowl", Kind.BOWL, 0.3, 0.0, 0.4, (0.052,)),
        ),
    )
    assert layout(spec) == [
        "red cube, edge 3.6 cm: 21.4 cm ahead, 5.0 cm to the left, turned 10 degrees counterclockwise",
        "cup with a handle, radius 3.0 cm, height 8.0 cm: 25.0 cm ahead, 10.2 cm to the right, "
        "handle pointing 90 degrees to the right of straight ahead",
        "bowl, inner radius 5.2 cm: 30.0 cm ahead, on the middle line",
    ]
