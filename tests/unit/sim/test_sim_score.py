from dataclasses import replace

import numpy as np
import pytest

from finevla.sim import scene
from finevla.sim.goal import Goal
from finevla.sim.scene import SceneSpec
from finevla.sim.score import EpisodeMonitor
from finevla.sim.truth import Truth

SPEC = SceneSpec(
    "pick_lift", 0, (scene.cube("red", 0.2, 0.05), scene.cube("blue", 0.2, -0.05), scene.bowl(0.34, 0.0))
)
GOAL = Goal("pick_lift", "left", "red")
FLAT = np.array([1.0, 0, 0, 0])


def cube(x, y, z=0.018):
    return np.concatenate([[x, y, z], FLAT])


START = Truth(
    time_s=0.0,
    objects={"red_cube": cube(0.2, 0.05), "blue_cube": cube(0.2, -0.05), "bowl": cube(0.34, 0.0, 0.0)},
    tips={"left": np.array([0.2, 0.3, 0.2]), "right": np.array([0.2, -0.3, 0.2])},
    openings={"left": 0.07, "right": 0.07},
)


def hand(truth, side, x, y, z):
    return replace(truth, tips={**truth.tips, side: np.array([x, y, z])})


def lifted(truth, color, side, z=0.12):
    x, y = truth.cubes[color][:2]
    return hand(moved(truth, color, x, y, z), side, x, y, z)


def moved(truth, color, x, y, z=0.018):
    return replace(truth, objects={**truth.objects, f"{color}_cube": cube(x, y, z)})


def scored(*truths, goal=GOAL):
    monitor = EpisodeMonitor(SPEC)
    for i, truth in enumerate((START, *truths)):
        monitor.observe(replace(truth, time_s=0.1 * i))
    return monitor.score(goal)


def test_lift_as_asked_is_a_success():
    score = scored(lifted(START, "red", "left"))
    assert (score.moved_arm, score.lifted_color) == ("left", "red")
    assert score.arm_complied
    assert score.color_complied
    assert score.success


def test_wrong_arm_and_wrong_cube_are_told_apart():
    score = scored(lifted(START, "red", "right"))
    assert (score.arm_complied, score.color_complied, score.done) == (False, True, False)
    score = scored(lifted(START, "blue", "left"))
    assert (score.arm_complied, score.color_complied, score.done) == (True, False, False)


def test_nothing_lifted_is_judged_by_the_nearest_tip():
    score = scored(hand(START, "right", 0.2, -0.05, 0.03), hand(START, "right", 0.2, -0.2, 0.2))
    assert (score.moved_arm, score.lifted_color) == ("right", None)
    assert scored(hand(START, "left", 0.2, 0.05, 0.03)).color_complied
    assert not scored(hand(START, "left", 0.2, 0.0, 0.05)).color_complied  # between the cubes


def test_a_robot_that_stays_still_obeys_nothing():
    score = scored(START, hand(START, "left", 0.2, 0.29, 0.2))
    assert score.moved_arm is None
    assert not any((score.arm_complied, score.color_complied, score.done))


def test_waving_far_from_any_cube_is_not_acting():
    waved = hand(START, "left", 0.3, 0.2, 0.2)
    assert scored(waved).moved_arm is None
    assert not scored(waved).arm_complied
    assert scored(waved, lifted(START, "red", "left")).arm_complied


def test_a_second_arm_or_a_second_cube_spoils_it():
    helped = hand(lifted(START, "red", "left"), "right", 0.2, -0.05, 0.02)
    assert not scored(helped).arm_complied
    both = lifted(lifted(START, "blue", "left"), "red", "left")
    assert not scored(both).color_complied


def test_done_is_judged_at_the_end_and_place_wants_an_open_hand_clear_of_the_bowl():
    assert not scored(lifted(START, "red", "left"), START).done
    goal = Goal("place_in_bowl", "left", "red")
    inside = moved(START, "red", 0.35, 0.01)
    assert scored(hand(inside, "left", 0.34, 0.0, 0.12), goal=goal).done
    assert not scored(hand(inside, "left", 0.34, 0.0, 0.03), goal=goal).done
    closed = replace(hand(inside, "left", 0.34, 0.0, 0.12), openings={"left": 0.03, "right": 0.07})
    assert not scored(closed, goal=goal).done


def test_scoring_nothing_is_a_mistake():
    with pytest.raises(ValueError, match="observe"):
        EpisodeMonitor(SPEC).score(GOAL)
