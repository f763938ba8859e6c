"""Which pairs are run: one factor apart, balanced, deterministic, and never trained where it says so."""

from __future__ import annotations

import hashlib
from collections import Counter

import pytest

pytest.importorskip("sapien", reason="sapien is not installed (requirements/sim.txt)")

from finevla.errors import FineVLAError
from finevla.sim.factors import FACTORS, IN_DISTRIBUTION, OOD, is_ood
from finevla.sim.goal import Goal
from finevla.sim.tasks import sample_scene
from finevla.stages.evaluate import plan
from finevla.stages.evaluate.plan import plan_pairs, row_names, row_of

EVERY = (*IN_DISTRIBUTION, OOD)


def asked(pairs):
    return Counter(getattr(pair.goals[i], pair.field) for pair in pairs for i in pair.counted)


def test_the_pairs_of_the_published_figures_stay_as_they_are():
    pairs = plan_pairs(["arm", "colour"], ["pick_lift", "place_in_bowl"], 50, 1000)
    assert pairs == plan_pairs(["arm", "colour"], [], 50, 1000)
    assert [pair.spec.seed for pair in pairs] == [*range(1000, 1050)] * 2
    assert [pair.spec for pair in pairs[:50]] == [pair.spec for pair in pairs[50:]]
    assert {pair.passed_over for pair in pairs} == {0}
    for pair in pairs:
        turn = pair.number // 2
        scene = sample_scene(("pick_lift", "place_in_bowl")[pair.number % 2], 1000 + pair.number)
        first, second = scene.colors
        goals = [(arm, color) for arm in ("left", "right") for color in (first, second)]
        assert (pair.goals[0].arm, pair.goals[0].color) == goals[turn % 4]
        assert pair.template == turn % 5
    texts = "\n".join(text for pair in pairs for text in pair.texts)
    digest = "8f321a1087b4046759c85648bcef355a446caf9fed1ebeb359fa040784d6a214"
    assert hashlib.sha256(texts.encode()).hexdigest() == digest, "figures of released bundles rest on these"


@pytest.mark.parametrize("factor", EVERY)
def test_pairs_differ_in_one_factor_and_every_value_is_asked_for(factor):
    pairs = plan_pairs([factor], [], 24, 1000)
    assert pairs == plan_pairs([factor], [], 24, 1000)
    assert len(pairs) == 24
    for pair in pairs:
        assert pair.goals[0].differing(pair.goals[1]) == (pair.field,)
        assert pair.texts[0] != pair.texts[1]
        assert pair.goals[0].task == pair.spec.task
        assert 0 < pair.chance <= 0.5
    counts = asked(pairs)
    if factor in {"arm", "pose", "rotation", "contact", "side"}:
        assert set(counts.values()) == {24}
    assert {pair.spec.task for pair in pairs} == set(FACTORS[pairs[0].field].tasks)


def test_the_combination_that_is_never_trained_is_in_its_own_row_only():
    for pair in plan_pairs([*IN_DISTRIBUTION, "bowl"], [], 12, 1000):
        assert not any(is_ood(goal) for goal in pair.goals)
    pairs = plan_pairs([OOD], [], 12, 1000)
    for pair in pairs:
        assert [is_ood(goal) for goal in pair.goals] == [False, True]
        assert pair.goals[0].bowl == "left"
        assert pair.counted == (1,)
        assert pair.chance == 0.25
    assert {pair.goals[0].color for pair in pairs} == {"red", "blue", "green", "yellow"}


def test_scenes_without_a_second_value_are_passed_over_and_counted(monkeypatch):
    usual = plan_pairs(["arm"], [], 6, 1000)
    scenes = plan._scene

    def only_even(row, task, seed):
        return scenes(row, task, seed) if seed % 2 == 0 else None

    monkeypatch.setattr(plan, "_scene", only_even)
    pairs = plan_pairs(["arm"], [], 6, 1001)
    assert [pair.spec.seed for pair in pairs] == [1002, 1004, 1006, 1008, 1010, 1012]
    assert sum(pair.passed_over for pair in pairs) == 6
    assert [pair.goals[0].arm for pair in pairs] == [pair.goals[0].arm for pair in usual]


def test_a_task_in_which_no_scene_varies_the_factor_is_refused(monkeypatch):
    monkeypatch.setattr(plan, "_firsts", lambda row, spec: [])
    with pytest.raises(FineVLAError, match="no scene of pick_lift allows a second value of the factor arm"):
        plan_pairs(["arm"], ["pick_lift"], 1, 1000)


def test_an_approach_is_asked_for_where_its_lane_is_free():
    pairs = plan_pairs(["approach"], [], 30, 1000)
    assert {"above", "left", "right"} == set(asked(pairs))
    assert {pair.goals[0].approach for pair in pairs} >= {"above", "left", "right"}


def test_names_of_rows():
    assert row_names("all") == list(EVERY)
    assert row_names(" arm, colour ,ood") == ["arm", "colour", "ood"]
    assert row_of("colour").field == "color"
    assert row_of("trajectory").field == "side"
    with pytest.raises(FineVLAError, match="no such factor"):
        row_names("arm,speed")


@pytest.mark.parametrize(
    ("factor", "task"), [("approach", "place_in_bowl"), ("pose", "pick_lift"), ("ood", "pick_lift")]
)
def test_a_task_that_cannot_vary_the_factor_is_refused(factor, task):
    with pytest.raises(FineVLAError, match=f"the task {task} cannot vary the factor {factor}"):
        plan_pairs([factor], [task], 1, 1000)


def test_seeds_of_training_scenes_are_never_taken():
    assert plan_pairs(["arm"], [], 3, 999_997)[-1].spec.seed == 999_999
    with pytest.raises(FineVLAError, match="training data"):
        plan_pairs(["arm"], [], 3, 999_998)


def test_goals_of_a_pair_are_goals_of_its_scene():
    for pair in plan_pairs(["color"], ["place_in_bowl"], 8, 7):
        assert all(isinstance(goal, Goal) and goal.color in pair.spec.colors for goal in pair.goals)
