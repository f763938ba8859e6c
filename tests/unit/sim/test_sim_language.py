"""The sentences: what they say, what they leave out, what is kept from training, and the way back."""

from __future__ import annotations

import itertools
import re

import pytest

from finevla.contract.instruction import Level, asked, parse
from finevla.errors import InstructionError, SimulationError
from finevla.sim.goal import Goal
from finevla.sim.language import (
    FAMILIES,
    HELD_OUT_FAMILIES,
    HELD_OUT_WORDS,
    PROBES,
    held_out,
    probes,
    raw,
    render,
    swapped,
    synonym,
    templates,
    words,
)
from finevla.sim.language.probes import REFUSED, SAME
from finevla.sim.language.sentences import ACTIONS
from finevla.sim.language.understand import fields_of, goal_of, require
from finevla.sim.tasks import task_named, task_names

TASKS = tuple(ACTIONS)
VALUES = {
    "color": ("red", "blue", "green", "yellow"),
    "approach": ("", "above", "left", "right"),
    "contact": ("body", "handle"),
    "side": ("left", "right"),
    "rotation": ("clockwise", "counterclockwise"),
    "pose": ("upright", "lying"),
    "bowl": ("", "left", "right"),
}
LEGACY = {
    "pick_lift": (
        "use the left arm to pick up the red cube",
        "lift the red cube with the left arm",
        "with your left arm grasp the red cube and raise it",
        "pick up the red block using the left gripper",
        "the left arm should take the red block and lift it off the table",
    ),
    "place_in_bowl": (
        "use the left arm to put the red cube into the bowl",
        "place the red cube in the bowl with the left arm",
        "with your left arm drop the red cube into the bowl",
        "put the red block in the bowl using the left gripper",
        "the left arm should move the red block into the bowl",
    ),
}


def orders(task):
    if "order" not in fields_of(task):
        return [()]
    counts = {"stack_blocks_two": (2,), "stack_blocks_three": (3,)}.get(task, (2, 3))
    return [order for n in counts for order in itertools.permutations(VALUES["color"], n)]


def goals(task):
    """Every goal that the sentences of a task can name."""
    names = [name for name in VALUES if name in fields_of(task)]
    for arm, order in itertools.product(("left", "right"), orders(task)):
        for values in itertools.product(*(VALUES[name] for name in names)):
            yield Goal(task, arm, **dict(zip(names, values, strict=True)), order=order)


@pytest.mark.parametrize("task", LEGACY)
def test_the_sentences_that_the_shipped_bundle_learned_are_unchanged(task):
    assert tuple(render(Goal(task, "left", "red"), i) for i in range(5)) == LEGACY[task]
    assert len(templates(task)) == 5


def test_every_registered_task_has_sentences_and_names_in_them_all_that_it_fixes():
    for task in task_names():
        own = task_named(task)
        assert fields_of(task) == {*own.factors, *own.optional, "arm"}
    assert set(task_names()) <= set(TASKS)


@pytest.mark.parametrize("task", TASKS)
def test_sentences_are_plain_words_and_all_different(task):
    assert len(templates(task)) == len(FAMILIES) >= 5
    for goal in goals(task):
        texts = [render(goal, i) for i in range(len(FAMILIES))]
        assert len(set(texts)) == len(FAMILIES)
        assert all(re.fullmatch(r"[a-z]+( [a-z]+)*", text) for text in texts)
        assert render(goal, 2) == render(goal, 2 + len(FAMILIES))


@pytest.mark.parametrize("task", TASKS)
def test_goals_that_differ_in_one_factor_give_sentences_that_differ_only_in_its_words(task):
    own = {"arm": {"left", "right"}, "bowl": {"left", "right"}, "side": {"left", "right"}}
    own |= {"approach": {"left", "right", "top"}, "order": set(VALUES["color"])}
    everything = [goal for goal in goals(task) if goal.order[:1] in {(), ("red",), ("blue",)}]
    for a, b in itertools.combinations(everything[:120], 2):
        differing = a.differing(b)
        if len(differing) != 1 or "" in (getattr(a, differing[0]), getattr(b, differing[0])):
            continue
        if len(a.order) != len(b.order):
            continue
        allowed = own.get(differing[0]) or set(VALUES[differing[0]])
        for i in range(len(FAMILIES)):
            pairs = list(zip(render(a, i).split(), render(b, i).split(), strict=True))
            changed = [pair for pair in pairs if pair[0] != pair[1]]
            assert changed
            assert all(set(pair) <= allowed for pair in changed)
            assert len(changed) == 1 or differing[0] == "order"


def test_raw_sentences_name_neither_arm_nor_manner():
    manner = {"left", "right", "top", "handle", "body", "clockwise", "counterclockwise", "upright", "lying"}
    for task in TASKS:
        parsed = parse(raw(task))
        assert not set(raw(task).split()) & (manner | set(VALUES["color"]))
        assert parsed.level is Level.RAW
        assert not parsed.unknown_words
        assert goal_of(parsed, task) == {}


def training_sentences():
    for task in TASKS:
        yield raw(task)
        for goal in goals(task):
            yield from (render(goal, i) for i in range(len(FAMILIES)))


def order_of_clauses(text, task):
    """Whether arm, verb and object come in which order, read from the words alone."""
    verbs = r"\b(pick|put|place|drop|lift|grasp|take|move|stack|build|arrange|line|sort|order|pass|give|grip|"
    verbs += r"set|turn|rotate|twist|carry|press|push|touch|clean|clear)\b"
    things = r"\b(cube|cubes|block|blocks|cup|bottle|button|object|handle|body)\b"
    at = {
        "arm": re.search(r"\b(left|right) (arm|gripper)\b", text).start(),
        "verb": re.search(verbs, text).start(),
        "object": re.search(things, text).start(),
    }
    return tuple(sorted(at, key=at.get))


def test_no_training_sentence_has_a_held_out_word_or_family():
    held = {word for phrase in HELD_OUT_WORDS.values() for word in phrase.split()}
    # "up" and "over" also stand in usual phrases; what is held out is the phrase.
    held -= {"up"}
    kept = {("object", "verb", "arm"), ("verb", "arm", "object")}
    assert not held & set(words())
    for task in TASKS:
        for goal in goals(task):
            texts = [render(goal, i) for i in range(len(FAMILIES))]
            evaluated = [held_out(goal, i) for i in range(len(HELD_OUT_FAMILIES))]
            assert not set(texts) & set(evaluated)
            assert not any(phrase in f" {text} " for text in texts for phrase in (" pile ", " hand "))
            assert {order_of_clauses(text, task) for text in evaluated} == kept
            assert not {order_of_clauses(text, task) for text in texts} & kept


def test_the_vocabulary_is_that_of_the_training_sentences_and_suffices_for_held_out_families():
    seen = {word for text in training_sentences() for word in text.split()}
    assert seen <= set(words())
    assert set(words()) - seen <= {"object"}
    for task in TASKS:
        for goal in goals(task):
            assert {word for i in range(2) for word in held_out(goal, i).split()} <= seen


@pytest.mark.parametrize("task", TASKS)
def test_every_sentence_is_understood_as_the_goal_that_it_was_made_of(task):
    for goal in goals(task):
        for i in range(len(FAMILIES)):
            plain = render(goal, i)
            for text in (plain, swapped(goal, i), held_out(goal, i), synonym(held_out(goal, i)), f"{plain}."):
                parsed = parse(text)
                assert not parsed.unknown_words, text
                assert goal_of(parsed, task) == goal.values(), text
            assert parse(synonym(plain)).values == parse(plain).values


def test_a_synonym_changes_words_and_never_a_factor():
    text = render(Goal("pick_lift", "left", "red", approach="right"), 0)
    assert synonym(text) == "use the left hand to fetch the red brick from the right"


def test_an_order_is_no_single_target_and_neither_old_task():
    parsed = parse("put the red cube then the blue cube into the bowl with the left arm")
    assert parsed.order == ("red", "blue")
    assert asked(parsed) == ("left", None, None)
    with pytest.raises(InstructionError, match="more than one object"):
        parse("put the red cube and the blue cube into the bowl")


def test_what_a_sentence_leaves_open_is_named():
    assert goal_of(parse("pick up the red cube"), "pick_lift") == {"color": "red"}
    assert goal_of(parse("lift it with both arms"), "pick_lift") == {}
    with pytest.raises(SimulationError, match="does not say what pick_lift needs"):
        require(parse("pick up the red cube"), "pick_lift")
    with pytest.raises(SimulationError, match="does not say"):
        require(parse("use the left arm to pick up the red frobnicator"), "pick_lift")
    assert require(parse("lift the red cube with the left arm"), "pick_lift")["arm"] == "left"


def test_a_goal_that_leaves_open_what_is_named_is_refused():
    with pytest.raises(SimulationError, match="leaves open"):
        render(Goal("rotate_block", "left"), 0)
    with pytest.raises(SimulationError, match="no such task"):
        render(Goal("juggle", "left"), 0)


@pytest.mark.parametrize("task", TASKS)
def test_probes_say_the_same_or_must_be_refused(task):
    goal = next(iter(goals(task)))
    for template in range(len(FAMILIES)):
        found = probes(goal, template)
        assert tuple(probe.name for probe in found) == PROBES
        refused = {probe.name for probe in found if probe.expect == REFUSED}
        assert refused == {"empty", "nonsense", "negated"}
        for probe in found:
            assert probe.text != render(goal, template)
            if probe.expect == SAME:
                assert goal_of(parse(probe.text), task) == goal.values()


def test_nothing_refusable_is_taken_for_an_instruction():
    empty, nonsense, negated = probes(Goal("press_button", "left", "red"), 4)[:3]
    for probe in (empty, negated):
        with pytest.raises(InstructionError):
            parse(probe.text)
    assert set(parse(nonsense.text).unknown_words) - set(words())
