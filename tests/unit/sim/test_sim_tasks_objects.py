"""Tasks in which objects are turned, set upright, taken by a part, or handed over."""

from functools import cache

import numpy as np
import pytest

from finevla.sim.factors import FACTORS, other
from finevla.sim.imagine import grip_distance
from finevla.sim.rollout import demonstrate, expert_infer, run_chunks
from finevla.sim.score import EpisodeMonitor
from finevla.sim.tasks import goals, sample_scene, task_named
from finevla.sim.truth import axis_of, yaw_of

VALUES = {
    "rotate_block": ("rotation", ("clockwise", "counterclockwise")),
    "place_cup_on_coaster": ("contact", ("body", "handle")),
    "upright_bottle": ("pose", ("upright", "lying")),
    "handover_block": ("arm", ("left", "right")),
}
GOALS = [(task, i) for task in VALUES for i in range(2 if task == "handover_block" else 4)]
IDS = [f"{task}-{i}" for task, i in GOALS]


@pytest.fixture(scope="module")
def episode(physics):
    """The expert's clean episode for goal `i` of seed `i` of a task; each is run once."""

    @cache
    def run(task, i):
        spec = sample_scene(task, i)
        return demonstrate(physics, goals(spec)[i], i, spec=spec, template=0, cameras=())

    return run


def rescored(demo, goal):
    monitor = EpisodeMonitor(demo.spec)
    for truth in demo.truths:
        monitor.observe(truth)
    return monitor.score(goal)


@pytest.mark.parametrize("task", VALUES)
def test_goals_cover_every_value_with_either_arm(task):
    factor, values = VALUES[task]
    found = {(goal.arm, getattr(goal, factor)) for goal in goals(sample_scene(task, 0))}
    arms = ("left", "right")
    assert found == ({(a, a) for a in arms} if factor == "arm" else {(a, v) for a in arms for v in values})


@pytest.mark.parametrize(("task", "i"), GOALS, ids=IDS)
def test_expert_does_every_goal_as_asked(episode, task, i):
    demo = episode(task, i)
    assert demo.score.success, demo.score
    assert demo.score.points == 100.0
    assert {name: demo.score.observed[name] for name in demo.goal.values()} == demo.goal.values()
    assert len(demo.states) < 100


@pytest.mark.parametrize(("task", "i"), GOALS, ids=IDS)
def test_behaviour_is_caught_on_the_changed_factor_only(episode, task, i):
    demo = episode(task, i)
    for factor in task_named(task).factors:
        asked = other(demo.goal, factor, demo.spec)
        score = rescored(demo, asked)
        assert [name for name, kept in score.complied.items() if not kept] == [factor]
        assert not score.success


@pytest.mark.parametrize("task", VALUES)
def test_nothing_is_done_or_shown_at_the_start(episode, task):
    demo = episode(task, 0)
    monitor = EpisodeMonitor(demo.spec)
    monitor.observe(demo.truths[0])
    for goal in goals(demo.spec):
        score = monitor.score(goal)
        assert not score.done
        assert set(score.observed.values()) == {None}


@pytest.mark.parametrize("task", VALUES)
def test_expert_succeeds_in_a_hard_scene(physics, task):
    spec = sample_scene(task, 3, hard=True)
    demo = demonstrate(physics, goals(spec)[-1], 3, spec=spec, template=0, cameras=())
    assert demo.success, demo.score


@pytest.mark.parametrize("task", VALUES)
def test_expert_recovers_from_disturbance(physics, task):
    spec = sample_scene(task, 4)
    demo = demonstrate(physics, goals(spec)[0], 4, 1.0, spec=spec, template=0, cameras=())
    assert demo.success, demo.score


@pytest.mark.parametrize("task", VALUES)
def test_look_ahead_of_the_expert_leads_to_success_and_rest(physics, task):
    spec = sample_scene(task, 1)
    goal = goals(spec)[1]
    physics.reset(spec)
    run = run_chunks(physics, expert_infer(physics, goal), goal, max_frames=task_named(task).max_frames)
    assert run.score.success, run.score
    assert run.settled


def test_block_is_turned_by_more_than_was_asked_and_its_light_end_goes_along(episode):
    for i in range(4):
        demo = episode("rotate_block", i)
        turn = yaw_of(demo.truths[-1].objects["block"]) - demo.spec.object("block").yaw
        turn = np.rad2deg(np.remainder(turn + np.pi, 2 * np.pi) - np.pi)
        assert 50 < abs(turn) < 80
        assert (turn > 0) == (demo.goal.rotation == "counterclockwise")


def test_cup_hangs_from_the_part_that_was_asked_for(episode):
    for i in range(4):
        demo = episode("place_cup_on_coaster", i)
        high = max(demo.truths, key=lambda truth: truth.place("cup")[2])
        parts = {name.split(":")[1] for name in high.touching[demo.goal.arm] if ":" in name}
        assert parts == {demo.goal.contact}


def test_bottle_stands_or_lies_on_the_pad(episode):
    for i in range(4):
        demo = episode("upright_bottle", i)
        rise = axis_of(demo.truths[-1].objects["bottle"], 0)[2]
        assert (rise > 0.99) if demo.goal.pose == "upright" else (abs(rise) < 0.05)


def test_block_passes_from_hand_to_hand_without_touching_anything_between(episode):
    for i in range(2):
        demo = episode("handover_block", i)
        giver = demo.goal.arm
        receiver = "left" if giver == "right" else "right"
        held = [tuple("block" in t.touching[side] for side in (giver, receiver)) for t in demo.truths]
        first, both = held.index((True, False)), held.index((True, True))
        alone = held.index((False, True))
        assert first < both < alone
        table = demo.spec.object("block").size[2] / 2
        between = demo.truths[both : alone + 1]
        assert min(truth.place("block")[2] for truth in between) > table + 0.03
        gap = [np.linalg.norm(t.tips["left"] - t.tips["right"]) for t in demo.truths]
        assert min(gap) > 0.08


def test_hand_at_a_handle_or_an_end_counts_as_near(episode):
    cup = episode("place_cup_on_coaster", 0)
    pose, item = cup.truths[0].objects["cup"], cup.spec.object("cup")
    assert grip_distance(pose[:3] + 0.038 * axis_of(pose, 0), pose, item) < 0.005
    assert grip_distance(pose[:3] - 0.038 * axis_of(pose, 0), pose, item) > 0.030
    bar = episode("handover_block", 0)
    pose, item = bar.truths[0].objects["block"], bar.spec.object("block")
    assert grip_distance(pose[:3] + 0.070 * axis_of(pose, 0), pose, item) < 1e-6
    assert grip_distance(pose[:3] + 0.120 * axis_of(pose, 0), pose, item) == pytest.approx(0.040, abs=1e-6)


def test_tasks_are_listed_with_the_factors_that_they_vary():
    for task, (factor, _) in VALUES.items():
        assert factor in task_named(task).factors
        if factor != "arm":
            assert task in FACTORS[factor].tasks
