import os
import subprocess
import sys

import numpy as np
import pytest

from finevla.contract.kinematics import tool_pose
from finevla.errors import SimulationError
from finevla.sim.scene import Kind, SceneSpec, bowl, cube
from finevla.sim.tasks import sample_scene

SPEC = SceneSpec("pick_lift", 0, (cube("red", 0.22, 0.08, 0.3), cube("blue", 0.22, -0.08), bowl(0.34, 0.0)))
PLACES = {"red": (133, 125), "blue": (133, 194), "bowl": (81, 160)}
"""Row and column in `cam_high` of the things of SPEC: 431 px per m, pixel (120, 160) is x 0.25, y 0."""


def test_joints_follow_the_command_within_a_quarter_of_a_second(physics):
    physics.reset(SPEC)
    target = physics.contract.home + 0.1
    target[list(physics.contract.grippers.values())] = 0.03
    physics.command(target)
    physics.step(round(0.05 / physics.dt_s))
    part = (physics.state() - physics.contract.home)[:6] / 0.1
    assert (np.abs(part - 0.63) < 0.1).all()  # a time constant of 50 ms
    physics.step(round(0.5 / physics.dt_s))
    np.testing.assert_allclose(physics.state(), target, atol=2e-3)


def test_commands_are_clipped_to_the_limits_and_nonsense_is_refused(physics):
    physics.reset(SPEC)
    physics.command(physics.contract.home + 100.0)
    physics.step(250)
    assert (physics.state() < physics.contract.upper + 0.01).all()
    for wrong in (np.zeros(7), np.full(physics.contract.dof, np.nan)):
        with pytest.raises(ValueError, match="finite joint values"):
            physics.command(wrong)


def test_reset_can_leave_the_arms_alone_and_time_goes_on(physics):
    physics.reset(SPEC)
    pose = physics.contract.home + 0.05
    physics.set_arms(np.minimum(pose, physics.contract.upper))
    before, state = physics.time_ns, physics.state()
    physics.reset(sample_scene("pick_lift", 3), arms_home=False)
    np.testing.assert_allclose(physics.state(), state, atol=1e-6)
    physics.step(25)
    assert physics.time_ns - before == 100_000_000
    assert set(physics.truth().cubes) == set(sample_scene("pick_lift", 3).colors)


def test_cubes_lie_still_where_the_scene_puts_them(physics):
    physics.reset(SPEC)
    physics.step(250)
    for item in SPEC.of(Kind.CUBE):
        np.testing.assert_allclose(physics.truth().place(item.name), [item.x, item.y, 0.018], atol=1e-3)


def test_home_is_clear_of_the_workspace(physics):
    for side in physics.contract.arms:
        tip = tool_pose(physics.contract, side, physics.contract.home[physics.contract.arm_slice(side)])[
            :3, 3
        ]
        assert abs(tip[1]) > 0.25
        assert tip[2] > 0.15


def test_a_world_without_cameras_or_scene_says_so(physics):
    with pytest.raises(SimulationError, match="no cameras"):
        physics.images()
    from finevla.sim.world import World

    with pytest.raises(SimulationError, match="no scene"):
        World(render=False).scene()


def test_a_missing_renderer_is_named_with_its_remedy():
    code = "from finevla.sim.world import World; World(render=True)"
    env = {**os.environ, "VK_DRIVER_FILES": "/nonexistent.json", "VK_ICD_FILENAMES": "/nonexistent.json"}
    result = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    for part in ("SimulationError", "/nonexistent.json", "finevla doctor", "VK_DRIVER_FILES", "Mesa >= 25"):
        assert part in result.stderr


@pytest.mark.sim
def test_the_overhead_camera_sees_the_workspace(world):
    world.reset(SPEC)
    images = world.images()
    assert {name: image.shape for name, image in images.items()} == {
        name: (camera.height, camera.width, 3) for name, camera in world.contract.cameras.items()
    }
    high = images["cam_high"].astype(int)
    assert all(image.dtype == np.uint8 for image in images.values())
    colors = {
        name: high[row - 3 : row + 4, column - 3 : column + 4].mean((0, 1))
        for name, (row, column) in PLACES.items()
    }
    assert colors["red"].argmax() == 0
    assert colors["blue"].argmax() == 2
    assert colors["bowl"].max() < 120
    table = high[50:166, 102:218].min(axis=2) > 180
    assert 0.6 < table.mean() < 0.95  # light, and mostly free: both arms are out of the way


@pytest.mark.sim
def test_pictures_follow_the_scene_and_only_wanted_cameras_are_rendered(world):
    world.reset(SPEC)
    first = world.images(["cam_high"])
    assert list(first) == ["cam_high"]
    world.reset(sample_scene("pick_lift", 8))
    assert np.abs(world.images(["cam_high"])["cam_high"].astype(int) - first["cam_high"]).max() > 50
    world.reset(SPEC)
    np.testing.assert_array_equal(world.images(["cam_high"])["cam_high"], first["cam_high"])


@pytest.mark.sim
def test_wrist_cameras_look_between_the_fingers(world):
    world.reset(SPEC)
    from finevla.sim.kinematics import reach

    pose = world.contract.home.copy()
    pose[world.contract.arm_slice("left")][:6] = reach(world.contract, "left", np.array([0.22, 0.08, 0.08]))
    world.set_arms(pose)
    wrist = world.images(["cam_left_wrist"])["cam_left_wrist"].astype(int)
    red = (wrist[..., 0] > 1.6 * wrist[..., 1]) & (wrist[..., 0] > 1.6 * wrist[..., 2])
    assert red.sum() > 500
    assert abs(np.nonzero(red)[1].mean() - 160) < 30
