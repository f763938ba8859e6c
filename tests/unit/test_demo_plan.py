"""Pairs of the demonstration: same scene, one word apart, reproducible."""

from __future__ import annotations

from dataclasses import replace

import pytest

from finevla.errors import FineVLAError
from finevla.sim.tasks import sample_scene
from finevla.stages.demo.plan import FACTORS, SHOWN_COLORS, TASKS, changed_word, plan
from finevla.stages.evaluate.plan import EVALUATION_SEEDS


@pytest.mark.parametrize("seed", range(5))
def test_pairs_share_the_scene_and_differ_in_one_word(seed: int) -> None:
    trials = plan(8, seed)
    assert [t.index for t in trials] == list(range(8))
    assert {(t.task, t.factor) for t in trials} == {(task, factor) for task in TASKS for factor in FACTORS}
    for a, b in zip(trials[::2], trials[1::2], strict=True):
        assert (a.pair, a.task, a.seed, a.factor) == (b.pair, b.task, b.seed, b.factor)
        assert a.text.replace(a.changed, b.changed) == b.text
        value = {"arm": a.arm, "color": a.color}[a.factor]
        assert a.changed == value
        goal = replace(b.goal, **{a.factor: value})
        same = replace(b, index=a.index, text=a.text, changed=a.changed, goal=goal)
        assert same == a, "nothing but the factor differs"
        assert a.color in sample_scene(a.task, a.seed).colors
        if a.factor == "color":
            assert {a.color, b.color} == SHOWN_COLORS
    assert len({t.seed for t in trials}) == 4
    assert max(t.seed for t in trials) < EVALUATION_SEEDS, "no scene that a recording may hold"


def test_the_seed_decides() -> None:
    assert plan(8, 1) == plan(8, 1)
    assert plan(8, 1) != plan(8, 2)


def test_one_task_only() -> None:
    assert {t.task for t in plan(8, 1, TASKS[:1])} == {TASKS[0]}


@pytest.mark.parametrize("number", [7, -2])
def test_pairs_need_an_even_number(number: int) -> None:
    with pytest.raises(FineVLAError, match="pairs"):
        plan(number, 1)


@pytest.mark.parametrize("texts", [("a b", "a b"), ("a b", "c d"), ("a b", "a b c")])
def test_sentences_that_are_not_one_word_apart_are_refused(texts: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="one word apart"):
        changed_word(*texts)
