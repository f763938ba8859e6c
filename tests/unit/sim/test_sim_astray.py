"""Episodes that begin after a missed grasp: where the hand is, and that the expert still does the task."""

from dataclasses import replace

import numpy as np
import pytest

from finevla.contract import load_contract
from finevla.contract.kinematics import tool_pose
from finevla.sim.noise import Disturbance
from finevla.sim.rollout import demonstrate
from finevla.sim.scene import Kind, ObjectSpec
from finevla.sim.tasks import goals, sample_scene

CONTRACT = load_contract()
TASKS = ("pick_lift", "place_in_bowl", "place_cup_on_coaster", "move_around_obstacle", "clean_table")


def start(task, arm, seed):
    rng = np.random.default_rng(seed)
    spec = sample_scene(task, seed)
    return spec, Disturbance(CONTRACT, arm, 1.0, rng).astray(CONTRACT.home, spec)


@pytest.mark.parametrize("arm", ["left", "right"])
def test_the_acting_hand_is_low_over_the_table_and_touches_nothing(arm):
    shut = 0
    for seed in range(40):
        spec, pose = start(TASKS[seed % len(TASKS)], arm, seed)
        part, gripper = CONTRACT.arm_slice(arm), CONTRACT.grippers[arm]
        tip = tool_pose(CONTRACT, arm, pose[part])[:3, 3] - [0.0, 0.0, spec.look.table_z_m]
        assert 0.029 < tip[2] < 0.131
        assert 0.16 < tip[0] < 0.37
        assert abs(tip[1]) < 0.15
        assert pose[gripper] in (0.0, CONTRACT.home[gripper])
        shut += pose[gripper] == 0.0
        if tip[2] < 0.07:
            assert min(np.hypot(o.x - tip[0], o.y - tip[1]) for o in spec.objects) > 0.044
        other = CONTRACT.arm_slice("right" if arm == "left" else "left")
        np.testing.assert_allclose(pose[other], CONTRACT.home[other], atol=0.15)
        assert ((CONTRACT.lower <= pose) & (pose <= CONTRACT.upper)).all()
    assert 12 < shut < 36  # of 40, where 24 are expected


def test_a_full_table_leaves_the_hand_at_home():
    spec, _ = start("clean_table", "left", 0)
    places = [(x, y) for x in np.arange(0.15, 0.4, 0.04) for y in np.arange(-0.16, 0.17, 0.04)]
    crowd = tuple(ObjectSpec(f"{x:.2f}_{y:.2f}", Kind.PILLAR, x, y, size=(0.02, 0.1)) for x, y in places)
    full = replace(spec, objects=crowd)
    pose = Disturbance(CONTRACT, "left", 1.0, np.random.default_rng(0)).astray(CONTRACT.home, full)
    np.testing.assert_allclose(pose, CONTRACT.home, atol=0.15)


@pytest.mark.parametrize("task", TASKS)
def test_the_expert_opens_the_hand_and_does_the_task(physics, task):
    spec = sample_scene(task, 11)
    goal = goals(spec)[-1]
    episode = demonstrate(physics, goal, 11, astray=True, spec=spec, cameras=())
    usual = demonstrate(physics, goal, 11, spec=spec, cameras=())
    assert episode.success
    assert np.abs(episode.states[0] - usual.states[0])[CONTRACT.arm_slice(goal.arm)].max() > 0.2
    again = demonstrate(physics, goal, 11, astray=True, spec=spec, cameras=())
    np.testing.assert_array_equal(episode.states, again.states)
