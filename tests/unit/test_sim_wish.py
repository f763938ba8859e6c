"""What a sentence asks for in a scene: every factor it fixes, and a clear word on what it leaves open."""

from __future__ import annotations

import numpy as np
import pytest
from finevla_sim.scene_watch import SceneWatch
from finevla_sim.wish import whole_goal, wish_of

from finevla.contract import load_contract
from finevla.errors import FineVLAError, InstructionError, SimulationError
from finevla.sim.factors import FACTORS, IN_DISTRIBUTION, OOD
from finevla.sim.language import render
from finevla.sim.props import rest_height
from finevla.sim.scene import Kind
from finevla.sim.tasks import goals, sample_scene, task_names
from finevla.sim.truth import Truth
from finevla.stages.evaluate.plan import plan_pairs

CONTRACT = load_contract()


@pytest.mark.parametrize("row", [*IN_DISTRIBUTION, OOD])
def test_every_instruction_of_the_evaluation_is_understood_whole(row: str) -> None:
    for pair in plan_pairs([row], (), 6, 1000):
        for goal, text in zip(pair.goals, pair.texts, strict=True):
            wish = wish_of(text, pair.spec)
            assert (wish.task, wish.values) == (goal.task, goal.values())
            assert whole_goal(wish) == goal


@pytest.mark.parametrize("task", task_names())
def test_a_sentence_of_any_task_gives_its_goal(task: str) -> None:
    spec = sample_scene(task, 4)
    for template, goal in enumerate(goals(spec)):
        assert whole_goal(wish_of(render(goal, template), spec)) == goal


@pytest.mark.parametrize(
    ("task", "variant", "text", "missing"),
    [
        ("pick_lift", "", "pick up a cube", "arm, color"),
        ("pick_lift", "", "pick up a cube with the left arm", "color"),
        ("place_in_bowl", "two_bowls", "put the {color} cube into the bowl with the left arm", "bowl"),
        ("rotate_block", "", "turn the block with the right arm", "rotation"),
        ("stack_blocks_two", "", "stack the cubes with the left arm", "order"),
    ],
)
def test_what_the_leader_would_have_to_guess_is_named(task, variant, text, missing) -> None:
    spec = sample_scene(task, 4, variant=variant)
    with pytest.raises(InstructionError) as caught:
        whole_goal(wish_of(text.format(color=(spec.colors or ("",))[0]), spec))
    assert caught.value.found == f"missing: {missing}"


@pytest.mark.parametrize(
    ("task", "text", "word"),
    [
        ("pick_lift", "pick up the purple cube with the left arm", "colour"),
        ("pick_lift", "pick up the cube with both arms", "arm"),
        ("place_in_bowl", "put the cube into the left bowl", "bowl"),
        ("rotate_block", "pick up the block with the left arm", "task"),
        ("clean_table", "put the purple cube then the red cube into the tray", "colour"),
        ("stack_blocks_two", "put the cube into the bowl", "task"),
    ],
)
def test_what_the_scene_cannot_show_is_refused(task: str, text: str, word: str) -> None:
    with pytest.raises(SimulationError, match=f"cannot show the {word}"):
        wish_of(text, sample_scene(task, 4))


def test_a_sentence_may_ask_for_picking_up_in_the_scene_of_the_bowl() -> None:
    spec = sample_scene("place_in_bowl", 4)
    assert wish_of("pick up a cube", spec).task == "pick_lift"
    assert wish_of("put a cube into the bowl", sample_scene("pick_lift", 4)).task == "place_in_bowl"
    with pytest.raises(FineVLAError, match="nothing to do"):
        wish_of("", spec)


@pytest.mark.parametrize("task", task_names())
def test_every_factor_of_the_sentence_is_judged_and_none_that_it_leaves_open(task: str) -> None:
    spec = sample_scene(task, 4)
    watch = SceneWatch(spec, CONTRACT)
    poses = {item.name: np.array([*item.xy, rest_height(item), 1, 0, 0, 0]) for item in spec.objects}
    buttons = {item.name: 0.0 for item in spec.of(Kind.BUTTON)}
    far = {side: np.array([0.1, 0.5, 0.3]) for side in CONTRACT.arms}
    watch.observe(Truth(0.0, poses, far, dict.fromkeys(CONTRACT.arms, 0.07), buttons), CONTRACT.home)
    goal = goals(spec)[-1]
    judged = watch.judge(render(goal))
    assert judged.asked == goal.values()
    assert judged.score.complied == dict.fromkeys(goal.values(), False)
    assert set(judged.asked) <= set(FACTORS)
    assert judged.score.points < 30


def test_what_is_left_open_costs_nothing() -> None:
    spec = sample_scene("rotate_block", 4)
    watch = SceneWatch(spec, CONTRACT)
    poses = {item.name: np.array([*item.xy, rest_height(item), 1, 0, 0, 0]) for item in spec.objects}
    tips = {side: np.array([0.1, 0.5, 0.3]) for side in CONTRACT.arms}
    watch.observe(Truth(0.0, poses, tips, dict.fromkeys(CONTRACT.arms, 0.07)), CONTRACT.home)
    both = watch.judge("turn the block clockwise with the left arm")
    one = watch.judge("turn the block with the left arm")
    none = watch.judge("turn the block")
    assert [len(judged.asked) for judged in (both, one, none)] == [2, 1, 0]
    assert (one.score.parts["manner"], none.score.parts["manner"]) == (0.0, 1.0)
    assert set(one.score.complied) == {"arm"}
