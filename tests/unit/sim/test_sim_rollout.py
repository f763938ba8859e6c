import numpy as np
import pytest

from finevla.contract import ActionChunk
from finevla.errors import SimulationError
from finevla.sim.expert import ACCELERATION_RAD_S2, SPEED_RAD_S, Expert, Leader
from finevla.sim.goal import Goal
from finevla.sim.rollout import HOLD_FRAMES, demonstrate, expert_infer, run_chunks
from finevla.sim.tasks import DEMO_TASKS, goals, sample_goal, sample_scene


def demo(world, task, seed, noise=0.0, **kwargs):
    return demonstrate(world, sample_goal(sample_scene(task, seed)), seed, noise, cameras=(), **kwargs)


@pytest.mark.parametrize("noise", [0.0, 1.0])
@pytest.mark.parametrize("task", DEMO_TASKS)
def test_the_expert_does_what_is_asked(physics, task, noise):
    assert all(demo(physics, task, seed, noise).success for seed in range(6))


def test_an_episode_is_the_same_whatever_came_before(physics):
    first = demo(physics, "place_in_bowl", 3, 1.0)
    demo(physics, "pick_lift", 4, 1.0)
    again = demo(physics, "place_in_bowl", 3, 1.0)
    np.testing.assert_array_equal(first.states, again.states)
    np.testing.assert_array_equal(first.actions, again.actions)
    assert first.text == again.text


def test_chunks_read_back_from_the_actions_are_what_the_leader_did(physics):
    episode = demo(physics, "pick_lift", 1, 1.0, samples=True)
    chunk = ActionChunk(int(episode.stamps_ns[0]), 0.1, episode.actions, 0, "", "")
    replayed = np.stack([chunk.sample(int(stamp)) for stamp in episode.samples.stamps_ns])
    np.testing.assert_allclose(replayed, episode.samples.leader, atol=1e-9)
    np.testing.assert_allclose(episode.states[0], episode.actions[0], atol=1e-6)


def test_the_leader_keeps_its_limits_and_ends_at_rest_while_the_idle_arm_stays_home(physics):
    episode = demo(physics, "place_in_bowl", 2)
    contract = physics.contract
    arms = np.ones(contract.dof, dtype=bool)
    arms[list(contract.grippers.values())] = False
    speed = np.diff(episode.actions, axis=0) / contract.frame_period_s
    assert np.abs(speed[:, arms]).max() <= SPEED_RAD_S + 1e-9
    assert np.abs(np.diff(speed[:, arms], axis=0)).max() <= 1.5 * ACCELERATION_RAD_S2 * 0.1
    assert (np.abs(speed) <= contract.velocity).all()
    assert np.abs(speed[-HOLD_FRAMES + 1 :]).max() < 0.02
    idle = contract.arm_slice("left" if episode.goal.arm == "right" else "right")
    np.testing.assert_array_equal(
        episode.actions[:, idle], np.tile(contract.home[idle], (len(episode.actions), 1))
    )


def test_disturbances_push_the_follower_and_leave_the_leader_clean(physics):
    clean, pushed = (demo(physics, "pick_lift", 1, noise) for noise in (0.0, 1.0))

    def roughness(actions):
        return np.abs(np.diff(actions[:, :6], n=2, axis=0)).max()

    gap = [np.abs(e.states - e.actions)[:, e_arm(physics, e)].max() for e in (clean, pushed)]
    assert gap[1] > gap[0] + 0.02
    assert roughness(pushed.actions) < 2 * max(roughness(clean.actions), 0.04)


def e_arm(world, episode):
    part = world.contract.arm_slice(episode.goal.arm)
    return slice(part.start, part.stop - 1)


@pytest.mark.parametrize("task", DEMO_TASKS)
def test_the_expert_as_a_policy_succeeds_and_settles(physics, task):
    spec = sample_scene(task, 1001)
    for goal in goals(spec):
        physics.reset(spec)
        result = run_chunks(physics, expert_infer(physics, goal), goal, replan_frames=4)
        assert result.score.success
        assert result.settled
        assert result.frames < 80


def test_a_policy_that_does_nothing_settles_and_obeys_nothing(physics):
    spec = sample_scene("pick_lift", 5)
    physics.reset(spec)
    home = np.tile(physics.contract.home, (16, 1))
    result = run_chunks(
        physics, lambda o: ActionChunk(o.stamp_ns, 0.1, home, o.stamp_ns, "", ""), goals(spec)[0]
    )
    assert result.settled
    assert not any((result.score.arm_complied, result.score.color_complied, result.score.success))


def test_a_run_ends_at_its_frame_limit(physics):
    spec = sample_scene("pick_lift", 5)
    physics.reset(spec)
    result = run_chunks(physics, expert_infer(physics, goals(spec)[0]), goals(spec)[0], max_frames=6)
    assert (result.frames, result.settled, result.score.done) == (6, False, False)


def test_the_expert_takes_over_from_any_state(physics):
    spec = sample_scene("pick_lift", 9)
    goal = goals(spec)[0]
    rng = np.random.default_rng(0)
    for _ in range(4):
        physics.reset(spec)
        pose = physics.contract.home.copy()
        part = physics.contract.arm_slice(goal.arm)
        pose[part.start : part.stop - 1] += rng.normal(0.0, 0.15, 6)
        pose[part.stop - 1] = rng.uniform(0.0, 0.07)
        physics.set_arms(np.clip(pose, physics.contract.lower, physics.contract.upper))
        assert run_chunks(physics, expert_infer(physics, goal), goal).score.success


def test_impossible_goals_are_refused(physics):
    spec = sample_scene("pick_lift", 0)
    absent = next(color for color in ("red", "blue", "green", "yellow") if color not in spec.colors)
    with pytest.raises(SimulationError, match="no such object of that colour in this scene"):
        demonstrate(physics, Goal("pick_lift", "left", absent), 0, spec=spec, cameras=())
    with pytest.raises(SimulationError, match="no such arm"):
        Expert(Goal("pick_lift", "middle", "red"), spec)
    physics.reset(spec)
    truth = physics.truth()
    far = {name: pose + 2.0 for name, pose in truth.objects.items()}
    from dataclasses import replace

    with pytest.raises(SimulationError, match="cannot reach"):
        Expert(goals(spec)[0], spec).advance(
            Leader.at_rest(physics.contract.home), replace(truth, objects=far), 0.1
        )


@pytest.mark.sim
def test_a_demonstration_has_one_picture_per_camera_and_frame(world):
    goal = sample_goal(sample_scene("pick_lift", 0))
    episode = demonstrate(world, goal, 0, max_frames=3)
    assert {name: len(images) for name, images in episode.images.items()} == dict.fromkeys(
        world.contract.cameras, 3
    )
    assert not episode.success
