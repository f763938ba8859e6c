"""The simulation's real-time loop and its leader, on worlds without physics or renderer."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest
from finevla_sim.arm_bus import ArmBus
from finevla_sim.leader import LeaderPlayer, Seen
from finevla_sim.sim_loop import LoopSettings, SimLoop, _Every, answer

from finevla.contract import load_contract
from finevla.contract.kinematics import tool_pose
from finevla.errors import SimulationError
from finevla.sim.goal import Goal
from finevla.sim.props import rest_height
from finevla.sim.scene import Kind
from finevla.sim.tasks import goals, sample_scene, task_names
from finevla.sim.truth import Truth

CONTRACT = load_contract()
SPEC = sample_scene("pick_lift", 3)


class StillWorld:
    """Joints are where they are commanded to be; the objects never move."""

    dt_s = 0.004

    def __init__(self, render_s: float = 0.0) -> None:
        self.joints = CONTRACT.home.copy()
        self.steps, self.resets, self.render_s = 0, [], render_s

    @property
    def time_ns(self) -> int:
        return self.steps * 4_000_000

    def reset(self, spec, arms_home=True) -> None:
        self.resets.append((spec.seed, arms_home))

    def command(self, targets) -> None:
        self.joints = targets

    def step(self, n=1) -> None:
        self.steps += n

    def state(self):
        return self.joints

    def images(self, cameras=None):
        time.sleep(self.render_s)
        return {name: np.zeros((2, 2, 3), np.uint8) for name in cameras}

    def truth(self) -> Truth:
        poses = {
            item.name: np.array([item.x, item.y, rest_height(item), 1, 0, 0, 0]) for item in SPEC.objects
        }
        tips = {
            side: tool_pose(CONTRACT, side, self.joints[CONTRACT.arm_slice(side)])[:3, 3]
            for side in CONTRACT.arms
        }
        openings = {side: float(self.joints[i]) for side, i in CONTRACT.grippers.items()}
        return Truth(self.steps * self.dt_s, poses, tips, openings)


@contextmanager
def running(world: StillWorld, cameras=("cam_high",), **settings):
    bus = ArmBus(CONTRACT, CONTRACT.home, time.time_ns)
    images, truths = [], []
    loop = SimLoop(
        world,
        SPEC,
        bus,
        CONTRACT,
        time.time_ns,
        LoopSettings(**settings),
        lambda stamp, _pictures: images.append(stamp),
        truths.append,
        lambda: cameras,
    )
    thread = threading.Thread(target=loop.run)
    thread.start()
    try:
        yield loop, images, truths
    finally:
        loop.stop()
        thread.join()
        bus.close()


def test_simulated_time_keeps_pace_and_images_carry_the_moment_they_show():
    world = StillWorld()
    started = time.time_ns()
    with running(world, camera_hz=20.0) as (loop, images, truths):
        time.sleep(1.3)
        passed = time.time_ns() - started
    assert world.time_ns + loop.health.given_up_s * 1e9 == pytest.approx(passed, abs=0.25e9)
    assert set(np.diff(images) // 1_000_000) <= {48, 52, 50} or loop.health.given_up_s > 0
    assert started < images[0] < started + 10**9
    assert len(truths) > 5
    assert truths[-1].travel == (0.0, 0.0)


def test_a_machine_that_is_too_slow_gives_time_up_and_says_so():
    with running(StillWorld(render_s=0.3), camera_hz=10.0) as (loop, images, _truths):
        time.sleep(1.8)
    assert loop.health.given_up_s > 0.2
    assert loop.health.real_time_factor < 0.9
    assert loop.health.render_s >= 0.3
    assert (np.diff(images) > 0).all()


def test_a_reset_leaves_the_arms_and_errors_come_back_to_the_caller():
    world = StillWorld()
    with running(world) as (loop, _images, _truths):
        report = answer(loop.reset(sample_scene("pick_lift", 3)), 5.0)
        assert world.resets == [(3, False)]
        assert {entry.name for entry in report.objects} >= {"bowl"}
        with pytest.raises(SimulationError, match="colour"):
            answer(loop.judge("pick up the purple cube with the left arm"), 5.0)
        judged = answer(loop.judge("pick up a cube"), 5.0)
        assert (judged.asked, judged.score.moved_arm, judged.score.done) == ({}, None, False)


def test_a_loop_that_does_not_run_is_reported_and_not_waited_for():
    bus = ArmBus(CONTRACT, CONTRACT.home, time.time_ns)
    loop = SimLoop(
        StillWorld(), SPEC, bus, CONTRACT, time.time_ns, LoopSettings(), lambda *_: None, lambda _: None, list
    )
    with pytest.raises(SimulationError, match="does not answer"):
        answer(loop.judge("pick up a cube"), 0.05)
    bus.close()


def seen_now() -> Seen:
    truth = StillWorld().truth()
    return Seen(SPEC, truth.objects, truth.joints)


def test_the_leader_mirrors_until_it_plays_and_moves_without_steps():
    player, seen = LeaderPlayer(CONTRACT, rest_s=0.2, timeout_s=30.0), seen_now()
    away = CONTRACT.home.copy()
    away[0] += 0.4
    player.mirror(away)
    assert np.allclose(player.command(0), away)
    joints, now = CONTRACT.home.copy(), 10**9
    player.mirror(joints)
    player.start(Goal("pick_lift", "right", SPEC.colors[0]), seen, joints, now)
    commands = [player.command(now)]
    for _ in range(150):
        now += 10_000_000
        assert player.advance(seen, joints, now) is None
        commands.append(player.command(now))
        joints = commands[-1]
        player.mirror(away)  # has no effect while it plays
    assert np.allclose(commands[0], CONTRACT.home)
    assert np.abs(np.diff(commands, axis=0)[:, :6]).max() < 1e-9, "the idle arm stays at home"
    right = np.abs(np.diff(commands, axis=0)[:, 7:13])
    assert 0.0 < right.max() < 0.02, "1.3 rad/s in steps of 10 ms"
    near = seen.objects[f"{SPEC.colors[0]}_cube"][:2]
    tip = tool_pose(CONTRACT, "right", joints[7:14])[:2, 3]
    assert np.linalg.norm(tip - near) < 0.02


@pytest.mark.parametrize("task", task_names())
def test_the_leader_begins_every_task(task: str):
    spec = sample_scene(task, 3)
    poses = {item.name: np.array([*item.xy, rest_height(item), 1, 0, 0, 0]) for item in spec.objects}
    seen = Seen(spec, poses, {item.name: 0.0 for item in spec.of(Kind.BUTTON)})
    player = LeaderPlayer(CONTRACT, rest_s=0.2, timeout_s=30.0)
    player.start(goals(spec)[0], seen, CONTRACT.home, 0)
    assert player.advance(seen, CONTRACT.home, 10**9) is None
    assert np.abs(player.command(2 * 10**9) - CONTRACT.home).max() > 0.01


def test_the_leader_gives_up_in_time_and_refuses_what_is_not_there():
    player, seen = LeaderPlayer(CONTRACT, rest_s=0.2, timeout_s=0.5), seen_now()
    absent = next(c for c in ("red", "blue", "green", "yellow") if c not in SPEC.colors)
    with pytest.raises(SimulationError, match=absent):
        player.start(Goal("pick_lift", "left", absent), seen, CONTRACT.home, 0)
    assert not player.playing
    player.start(Goal("pick_lift", "left", SPEC.colors[0]), seen, CONTRACT.home, 0)
    endings = [player.advance(seen, CONTRACT.home, k * 100_000_000) for k in range(1, 8)]
    assert [ending.code for ending in endings if ending] == ["timeout"]
    assert not player.playing


def test_nothing_is_rendered_for_nobody():
    world = StillWorld(render_s=0.3)
    with running(world, cameras=(), camera_hz=10.0) as (loop, images, _truths):
        time.sleep(0.5)
    assert images == []
    assert loop.health.render_s == 0.0


def test_after_time_was_given_up_cameras_go_on_at_their_rate_without_catching_up():
    """Once, a starved machine rendered two pictures 4 ms apart, as if that brought the time back."""
    ten_hz = _Every(10.0, 0)
    times = [0, 50, 100, 104, 450, 454, 500, 550, 650]
    assert [ms for ms in times if ten_hz.due(ms * 1_000_000)] == [0, 100, 450, 550, 650]
    feedback = _Every(200.0, 0)
    steps = range(0, 400, 4)
    assert sum(feedback.due(ms * 1_000_000) for ms in steps) == 80
