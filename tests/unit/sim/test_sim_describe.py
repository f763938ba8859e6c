"""Descriptions from truth, and their check: it passes what is so and catches every planted lie."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from finevla.contract.dimensions import SLOTS, Dimension, DimensionValue
from finevla.sim.goal import Goal
from finevla.sim.language import check as check_module
from finevla.sim.language.check import claims_in, contradictions, instruction_contradictions
from finevla.sim.language.course import course_of
from finevla.sim.language.describe import describe, sentence
from finevla.sim.language.facts import end_facts, scene_facts, step_facts
from finevla.sim.language.reading import read_claim, sentences
from finevla.sim.language.render import raw, render
from finevla.sim.language.wording import WORDINGS
from finevla.sim.log import EpisodeLog
from finevla.sim.rollout import demonstrate
from finevla.sim.tasks import goals, sample_scene
from finevla.stages.check.run import check_episode, description_of, episode_of, plan
from finevla.stages.check.verb import Config, check, table

CASES = {
    "approach": ("pick_lift", {"approach": "left"}, ""),
    "bowl": ("place_in_bowl", {"bowl": "left"}, "two_bowls"),
    "order": ("stack_blocks_two", {}, ""),
    "row": ("blocks_ranking_size", {}, ""),
    "hands": ("handover_block", {}, ""),
    "contact": ("place_cup_on_coaster", {"contact": "handle"}, ""),
    "pose": ("upright_bottle", {"pose": "upright"}, ""),
    "rotation": ("rotate_block", {"rotation": "clockwise"}, ""),
    "side": ("move_around_obstacle", {"side": "right"}, ""),
    "button": ("press_button", {}, ""),
    "tray": ("clean_table", {}, ""),
}
SWAPS = (
    ("left", "right"),
    ("red", "blue"),
    ("green", "yellow"),
    ("red", "green"),
    ("clockwise", "counterclockwise"),
    ("handle", "body"),
    ("upright", "lying"),
    ("near the robot", "far from the robot"),
    ("away from the robot", "towards the robot"),
    ("above", "the left"),
    ("from the left", "from above"),
    ("gripper open", "gripper closed"),
    ("open fingers", "closed fingers"),
    ("largest", "smallest"),
    ("onto the mark", "onto the table"),
    ("onto the coaster", "onto the table"),
    ("into the tray", "onto the table"),
    ("in the tray", "on the table"),
    ("on the mark", "on the table"),
    ("on the coaster", "on the table"),
    ("cube", "block"),
    ("cup", "bottle"),
    ("in the center", "on the left"),
)


@pytest.fixture(scope="module")
def episodes(physics):
    """One episode of each case by name: the demonstration, its description and its recording."""
    found = {}
    for name, (task, values, variant) in CASES.items():
        for seed in range(40):
            spec = sample_scene(task, seed, variant=variant)
            goal = next(g for g in goals(spec) if replace(g, **values) == g or "approach" in values)
            goal = replace(goal, **values)
            if task == "pick_lift" and "left" not in _approaches(spec, goal):
                continue
            demo = demonstrate(physics, goal, seed, 0.0, spec=spec, cameras=())
            if demo.success:
                found[name] = (
                    demo,
                    description_of(demo, physics.contract),
                    episode_of(demo, physics.contract),
                )
                break
    assert set(found) == set(CASES)
    return found


def _approaches(spec, goal):
    from finevla.sim.factors import values

    return values("approach", replace(goal, approach=""), spec)


@pytest.mark.parametrize("name", CASES)
def test_nothing_is_said_that_is_not_so(episodes, name):
    demo, text, episode = episodes[name]
    assert contradictions(text, episode) == ()
    assert instruction_contradictions(episode, demo.goal.task) == ()
    assert text.raw == raw(demo.goal.task)
    assert claims_in(text) > 20


@pytest.mark.parametrize("name", CASES)
def test_the_factor_that_was_asked_for_is_told(episodes, name):
    told = {
        "approach": "from the left",
        "bowl": "left bowl",
        "contact": "the handle of the cup",
        "pose": "an upright position",
        "rotation": " clockwise",
        "side": "past the right side of the obstacle",
        "hands": "still holds it",
    }
    demo, text, _ = episodes[name]
    assert told.get(name, "") in text.paragraph
    assert demo.goal.color in text.paragraph
    at = [text.paragraph.index(f"the {color} cube") for color in demo.goal.order]
    assert len(at) == len(demo.goal.order)


@pytest.mark.parametrize("name", CASES)
def test_steps_and_values_have_the_form_of_the_schema(episodes, name):
    _, text, _ = episodes[name]
    assert len(text.steps) >= 2
    assert all(re.fullmatch(r"[A-Z].*\.", step) for step in text.steps)
    order = [list(SLOTS).index(value.dimension) for value in text.values]
    assert order == sorted(order)
    said = {value.dimension for value in text.values}
    assert {
        Dimension.ACTION_SEQUENCE,
        Dimension.ACTIVE_ACTOR,
        Dimension.TARGET_OBJECT,
        Dimension.BODY_MOTION,
    } <= said
    assert DimensionValue(Dimension.BODY_MOTION, "base_motion", "stationary") in text.values
    actors = [value.value for value in text.values if value.slot == "actor"]
    assert actors == (["both_arms"] if name == "hands" else [f"{episodes[name][0].goal.arm}_arm"])


def test_every_dimension_is_told_somewhere(episodes):
    said = {value.dimension for _, text, _ in episodes.values() for value in text.values}
    assert said == set(Dimension)


def test_every_wording_of_every_fact_is_read_as_what_it_is(episodes):
    for demo, _, episode in episodes.values():
        log = EpisodeLog(demo.spec)
        for truth in demo.truths:
            log.add(truth)
        course = course_of(log)
        facts = [*scene_facts(course, episode.contract, demo.states), *step_facts(course), *end_facts(course)]
        for family in WORDINGS:
            for entry in facts:
                assert read_claim(sentence(entry, family)).kind == entry.kind


def lies(text):
    """A sentence with one word or number changed, in every way that the lists above know."""
    for a, b in SWAPS:
        for old, new in ((a, b), (b, a)):
            for found in re.finditer(rf"\b{old}\b", text, re.IGNORECASE):
                yield text[: found.start()] + new + text[found.end() :]
    for found in re.finditer(r"\d+", text):
        change = 20 if "degrees" in text else 4
        yield f"{text[: found.start()]}{int(found[0]) + change}{text[found.end() :]}"


@pytest.mark.parametrize("name", CASES)
def test_every_lie_in_a_sentence_is_caught(episodes, name):
    _, text, episode = episodes[name]
    told = sentences(text.paragraph)
    planted, missed = 0, []
    for i, plain in enumerate(told):
        for lie in lies(plain):
            paragraph = ". ".join([*told[:i], lie, *told[i + 1 :]]) + "."
            found = contradictions(replace(text, paragraph=paragraph), episode)
            planted += 1
            # The values, which still tell the truth, would give it away too: the text alone must.
            if not any(line.startswith("paragraph:") for line in found):
                missed.append((plain, lie))
    assert planted > 10
    assert missed == []


@pytest.mark.parametrize("name", CASES)
def test_lies_in_the_steps_are_caught_too(episodes, name):
    _, text, episode = episodes[name]
    for i, plain in enumerate(text.steps):
        for lie in lies(plain):
            steps = (*text.steps[:i], lie, *text.steps[i + 1 :])
            found = contradictions(replace(text, steps=steps), episode)
            assert any(line.startswith("steps:") for line in found), lie


@pytest.mark.parametrize("name", ["order", "row", "tray"])
def test_a_wrong_order_is_caught(episodes, name):
    _, text, episode = episodes[name]
    starts = [i for i, step in enumerate(text.steps) if read_claim(step).kind == "reach"]
    second = text.steps[starts[1] : starts[2] if len(starts) > 2 else len(text.steps) - 1]
    rest = text.steps[starts[1] + len(second) :]
    steps = (*second, *text.steps[: starts[1]], *rest)
    assert any(
        "before the one told before" in line for line in contradictions(replace(text, steps=steps), episode)
    )


def test_what_is_left_out_or_made_up_is_caught(episodes):
    demo, text, episode = episodes["order"]
    half = tuple(step for step in text.steps if demo.goal.order[1] not in step)
    assert any("not told" in line for line in contradictions(replace(text, steps=half), episode))
    for lie in (
        "The robot drives forward.",
        f"Grasping the {demo.goal.order[0]} cube takes 3 attempts.",
        f"Meanwhile the {demo.goal.order[0]} cube is pushed by about 3 cm.",
        "Both arms act.",
        "Nothing is grasped or pressed.",
        f"The {demo.goal.arm} arm does not move.",
        f"Close the left gripper near the {demo.goal.order[0]} cube without getting hold of it.",
    ):
        paragraph = f"{text.paragraph} {lie}"
        found = contradictions(replace(text, paragraph=paragraph), episode)
        assert any(line.startswith("paragraph:") for line in found), lie


@pytest.mark.parametrize("name", CASES)
def test_values_that_the_text_does_not_say_are_caught(episodes, name):
    _, text, episode = episodes[name]
    for i, value in enumerate(text.values):
        other = replace(value, value=f"{value.value}_not")
        values = (*text.values[:i], other, *text.values[i + 1 :])
        assert any(
            line.startswith("values:") for line in contradictions(replace(text, values=values), episode)
        )


@pytest.mark.parametrize("name", CASES)
def test_an_instruction_for_another_goal_is_caught(episodes, name):
    demo, _, episode = episodes[name]
    others = [g for g in goals(demo.spec) if len(g.differing(demo.goal)) == 1]
    if name == "approach":
        others = [replace(demo.goal, approach=way) for way in ("above", "right")]
    assert others
    for other in others:
        wrong = replace(episode, text=render(other, 0))
        assert instruction_contradictions(wrong, other.task), other


def test_nothing_is_said_of_the_goal_but_of_what_was_done(episodes, physics):
    demo, text, _ = episodes["button"]
    log = EpisodeLog(demo.spec)
    for truth in demo.truths:
        log.add(truth)
    other = Goal("press_button", "left" if demo.goal.arm == "right" else "right", "green")
    told = describe(demo.spec, other, log, demo.states, physics.contract)
    assert set(told.values) == set(text.values)


def test_the_check_shares_no_code_with_what_it_checks():
    own = {"check", "judge", "judge_scene", "reading", "said", "shown", "witness"}
    barred = {"course", "describe", "facts", "places", "wording"}
    barred = {f"finevla.sim.language.{name}" for name in barred}
    barred |= {f"finevla.sim.{name}" for name in ("expert", "factors", "log", "props", "score", "tasks")}
    for name in own:
        source = Path(check_module.__file__).with_name(f"{name}.py").read_text()
        found = set(re.findall(r"^from (\S+) import", source, re.MULTILINE))
        assert not any(module == wall or module.startswith(f"{wall}.") for module in found for wall in barred)


def test_an_episode_in_which_nothing_is_done_is_told_as_such(physics):
    spec = sample_scene("pick_lift", 0)
    physics.reset(spec)
    log = EpisodeLog(spec)
    log.add(physics.truth())
    joints = np.tile(physics.state(), (3, 1))
    text = describe(spec, goals(spec)[0], log, joints, physics.contract)
    assert text.steps == ()
    assert "thing" in text.paragraph
    assert not any(value.slot in {"actor", "color"} for value in text.values)


def test_the_verb_counts_claims_by_task_and_takes_every_kind_in_turn():
    result = check(Config(episodes=4, task="pick_lift,press_button", workers=1))
    assert {task: row["episodes"] for task, row in result["tasks"].items()} == {
        "pick_lift": 2,
        "press_button": 2,
    }
    assert result["claims"] == sum(row["claims"] for row in result["tasks"].values()) > 60
    assert result["contradictions"] == 0
    assert "pick_lift" in table(result)
    kinds = {check_episode(job).kind for job in plan(["press_button"], 4, 0)}
    assert kinds == {"clean", "noise", "hard", "hard, noise"}
