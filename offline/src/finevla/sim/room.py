"""The room around the arms in SAPIEN: table, walls, light and the three cameras."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping

import numpy as np
import sapien
from numpy.typing import NDArray

from finevla.contract import ARM_SIDES, RobotContract
from finevla.errors import SimulationError
from finevla.sim.look import PLAIN, RGB, Look

Image = NDArray[np.uint8]

_TABLE_CENTER_M = (0.3, 0.0)
_TABLE_HALF_M = (0.8, 1.0, 0.05)
_PX_PER_M = 250
_UNFOLDED = (3, 4)
"""SAPIEN unfolds a box to a cross, 3 faces high and 4 wide; the top face is one of them."""

OVERHEAD_XYZ_M = (0.25, 0.0, 0.90)
"""Where `cam_high` hangs; it looks straight down, with the robot's forward at the picture's top."""
OVERHEAD_FOVY_RAD = 0.60
_WRIST_XYZ_M = (-0.085, 0.0, 0.01)
_WRIST_PITCH_RAD = 0.45
_WRIST_FOVY_RAD = 1.0


def require_renderer() -> None:
    """Checks that a Vulkan device can render.

    Raises:
        SimulationError: There is none; the message says how to get one.
    """
    try:
        summary = str(sapien.render.get_device_summary())
    except RuntimeError as err:
        summary = str(err)
    if "Supported: 1" in summary:
        return
    raise SimulationError(
        "no Vulkan device can render the cameras",
        where=f"VK_DRIVER_FILES={os.environ.get('VK_DRIVER_FILES', '(not set)')}",
        expected="a GPU driver, or Mesa's lavapipe of version 25 or newer",
        found=" ".join(summary.split()) or "no device",
        remedy="install Mesa >= 25 (`make setup` does it), enter the environment with `. scripts/env.sh`, "
        "which sets VK_DRIVER_FILES, and check with `finevla doctor`",
    )


def paint(rgb: RGB) -> sapien.render.RenderMaterial:
    """A dull material of one colour (linear RGB)."""
    material = sapien.render.RenderMaterial()
    material.set_base_color([*rgb, 1.0])
    material.set_roughness(0.9)
    material.set_specular(0.0)
    return material


class Room:
    """Table with its top at the look's height, and light walls, so that no camera looks into black."""

    def __init__(self, scene: sapien.Scene, render: bool) -> None:
        self._scene = scene
        self._render = render
        self._entities: list[sapien.Entity] = []
        self._lights: list[sapien.Entity] = []
        self._look: Look | None = None
        self.furnish(PLAIN)

    def furnish(self, look: Look) -> None:
        """Replaces table, walls and light, if they are not as the look wants them."""
        if look == self._look:
            return
        self._look = look
        for entity in (*self._entities, *self._lights):
            self._scene.remove_entity(entity)
        self._entities = [self._table(look)]
        self._lights = []
        if self._render:
            self._entities.append(self._walls(look))
            self._scene.set_ambient_light(list(look.ambient))
            light = self._scene.add_directional_light(
                list(look.light_direction), list(look.light), shadow=False
            )
            self._lights = [light.entity]

    def _table(self, look: Look) -> sapien.Entity:
        builder = self._scene.create_actor_builder()
        center = sapien.Pose([*_TABLE_CENTER_M, look.table_z_m - _TABLE_HALF_M[2]])
        builder.add_box_collision(center, list(_TABLE_HALF_M))
        if self._render:
            builder.add_box_visual(center, list(_TABLE_HALF_M), material=_table_top(look))
        return builder.build_static(name="table")

    def _walls(self, look: Look) -> sapien.Entity:
        walls = self._scene.create_actor_builder()
        for axis in range(3):
            for sign in (-1.0, 1.0):
                place, size = [0.3, 0.0, 0.7], [2.0, 2.0, 2.0]
                place[axis] += 2.0 * sign
                size[axis] = 0.01
                walls.add_box_visual(sapien.Pose(place), size, material=paint(look.wall_rgb))
        return walls.build_static(name="walls")


def _table_top(look: Look) -> sapien.render.RenderMaterial:
    material = paint(look.table_rgb)
    if look.texture:
        material.set_base_color_texture(
            sapien.render.RenderTexture2D(_pattern(look), "R8G8B8A8Unorm", srgb=False)
        )
    return material


def _pattern(look: Look) -> NDArray[np.uint8]:
    """The texture of the table, shape (px along y, px along x, 4), for all faces of the box together."""
    edges_m = (2 * _TABLE_HALF_M[1] * _UNFOLDED[0], 2 * _TABLE_HALF_M[0] * _UNFOLDED[1])
    rows, columns = (round(edge * _PX_PER_M) for edge in edges_m)
    tile = max(round(look.tile_m * _PX_PER_M), 1)
    if look.texture == "speckles":
        tile = max(tile // 3, 1)
        grid = np.random.default_rng(0).random((-(-rows // tile), -(-columns // tile))) < 0.3
    else:
        down, along = np.ogrid[: -(-rows // tile), : -(-columns // tile)]
        grid = np.broadcast_to(
            (along + (down if look.texture == "checks" else 0)) % 2 == 1, (down.size, along.size)
        )
    second = np.kron(grid, np.ones((tile, tile), dtype=bool))[:rows, :columns]
    palette = np.array([[*look.table_rgb, 1.0], [*look.table_rgb2, 1.0]])
    return np.ascontiguousarray((palette * 255).astype(np.uint8)[second.astype(np.intp)])


class Cameras:
    """The contract's three cameras: one overhead, one on each wrist."""

    def __init__(
        self, scene: sapien.Scene, contract: RobotContract, wrists: Mapping[str, sapien.Entity]
    ) -> None:
        self._scene = scene
        self._cameras: dict[str, sapien.render.RenderCameraComponent] = {}
        for name, spec in contract.cameras.items():
            side = _wrist_side(name)
            fovy = OVERHEAD_FOVY_RAD if side is None else _WRIST_FOVY_RAD
            pose = _overhead_pose(PLAIN) if side is None else _wrist_pose()
            mount = _anchor(scene) if side is None else wrists[side]
            self._cameras[name] = scene.add_mounted_camera(
                name, mount, pose, spec.width, spec.height, fovy, 0.01, 10.0
            )

    def hang(self, look: Look) -> None:
        """Hangs the overhead camera where the look says."""
        for name, camera in self._cameras.items():
            if _wrist_side(name) is None:
                camera.set_local_pose(_overhead_pose(look))

    def take(self, names: Collection[str]) -> dict[str, Image]:
        """Renders the cameras of these names."""
        self._scene.update_render()
        images: dict[str, Image] = {}
        for name in names:
            camera = self._cameras[name]
            camera.take_picture()
            color = np.clip(camera.get_picture("Color"), 0.0, 1.0)
            images[name] = np.ascontiguousarray((color * 255.0 + 0.5).astype(np.uint8)[..., :3])
        return images

    @staticmethod
    def absent() -> SimulationError:
        """The error of a world that was asked for pictures without having cameras."""
        return SimulationError(
            "this world has no cameras",
            where="World(render=False)",
            expected="World(render=True)",
            remedy="make the world with cameras, which needs a Vulkan device (`finevla doctor`)",
        )


def camera_fovy(contract: RobotContract) -> dict[str, float]:
    """Vertical field of view of each camera of the contract, rad."""
    return {
        name: OVERHEAD_FOVY_RAD if _wrist_side(name) is None else _WRIST_FOVY_RAD for name in contract.cameras
    }


def overhead_camera(contract: RobotContract) -> str:
    """Name of the camera that hangs over the table."""
    return next(name for name in contract.cameras if _wrist_side(name) is None)


def _wrist_side(camera: str) -> str | None:
    return next((side for side in ARM_SIDES if f"_{side}_" in camera), None)


def _anchor(scene: sapien.Scene) -> sapien.Entity:
    entity = sapien.Entity()
    entity.set_name("overhead_mount")
    scene.add_entity(entity)
    return entity


def _overhead_pose(look: Look) -> sapien.Pose:
    # SAPIEN cameras look along x with y to the left: x to down, z (picture's up) to world forward.
    half = float(np.sqrt(0.5))
    place = np.array(OVERHEAD_XYZ_M) + look.camera_shift_m
    pose = sapien.Pose(place.tolist(), [half, 0.0, half, 0.0])
    if not any(look.camera_turn_rad):
        return pose
    turn = np.array(look.camera_turn_rad) / 2  # small angles: order does not matter
    quaternion = np.array([1.0, *turn])
    return pose * sapien.Pose([0.0, 0.0, 0.0], (quaternion / np.linalg.norm(quaternion)).tolist())


def _wrist_pose() -> sapien.Pose:
    # Beside the palm, looking along the fingers (flange z), leaning in towards their tips.
    angle = -(np.pi / 2 - _WRIST_PITCH_RAD) / 2
    return sapien.Pose(list(_WRIST_XYZ_M), [float(np.cos(angle)), 0.0, float(np.sin(angle)), 0.0])
