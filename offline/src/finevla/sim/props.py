"""What stands around the arms in SAPIEN: room, table, cubes, bowl and cameras."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping

import numpy as np
import sapien
from numpy.typing import NDArray

from finevla.contract import ARM_SIDES, RobotContract
from finevla.errors import SimulationError
from finevla.sim.scene import BOWL_HEIGHT_M, BOWL_RADIUS_M, COLORS, CUBE_EDGE_M, SceneSpec
from finevla.sim.truth import FloatArray

Image = NDArray[np.uint8]

_TABLE_RGB = (0.78, 0.75, 0.70)
_WALL_RGB = (0.62, 0.66, 0.70)
_BOWL_RGB = (0.10, 0.08, 0.14)
_BOWL_STAVES = 16
_BOWL_WALL_M = 0.006
_BOWL_FLOOR_M = 0.001
_CUBE_DENSITY = 400.0
_PARKED_Z_M = -3.0

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


def build_room(scene: sapien.Scene, render: bool) -> None:
    """Table with its top at z = 0, and light walls, so that no camera looks into black."""
    builder = scene.create_actor_builder()
    half = [0.8, 1.0, 0.05]
    center = sapien.Pose([0.3, 0.0, -0.05])
    builder.add_box_collision(center, half)
    if render:
        builder.add_box_visual(center, half, material=_paint(_TABLE_RGB))
    builder.build_static(name="table")
    if not render:
        return
    walls = scene.create_actor_builder()
    for axis in range(3):
        for sign in (-1.0, 1.0):
            place, size = [0.3, 0.0, 0.7], [2.0, 2.0, 2.0]
            place[axis] += 2.0 * sign
            size[axis] = 0.01
            walls.add_box_visual(sapien.Pose(place), size, material=_paint(_WALL_RGB))
    walls.build_static(name="walls")
    scene.set_ambient_light([0.55, 0.55, 0.55])
    scene.add_directional_light([0.35, 0.25, -1.0], [0.9, 0.9, 0.9], shadow=False)


class Props:
    """The movable things: one cube per colour and a bowl. Those not in a scene are parked away."""

    def __init__(self, scene: sapien.Scene, render: bool) -> None:
        self._cubes = {color: _cube(scene, color, render) for color in COLORS}
        self._bowl = _bowl(scene, render)
        self._present: tuple[str, ...] = ()
        self._park(COLORS)

    def place(self, spec: SceneSpec) -> None:
        """Puts the cubes and the bowl of a scene where it says, at rest."""
        self._present = spec.colors
        self._park([color for color in COLORS if color not in spec.colors])
        for cube in spec.cubes:
            turn = [float(np.cos(cube.yaw / 2)), 0.0, 0.0, float(np.sin(cube.yaw / 2))]
            self._put(cube.color, sapien.Pose([cube.x, cube.y, CUBE_EDGE_M / 2], turn))
        self._bowl.set_pose(sapien.Pose([*spec.bowl_xy, 0.0]))

    def cube_poses(self) -> dict[str, FloatArray]:
        """Pose of each cube of the scene by colour, shape (7,), xyz and wxyz."""
        poses = {color: self._cubes[color].pose for color in self._present}
        return {color: np.concatenate([pose.p, pose.q]).astype(np.float64) for color, pose in poses.items()}

    def bowl_position(self) -> FloatArray:
        """Center of the bowl's underside, shape (3,)."""
        return np.asarray(self._bowl.pose.p, dtype=np.float64)

    def _park(self, colors: Mapping[str, object] | list[str]) -> None:
        for i, color in enumerate(colors):
            self._put(color, sapien.Pose([0.3, 0.2 * i, _PARKED_Z_M]))
            self._cubes[color].find_component_by_type(sapien.physx.PhysxRigidDynamicComponent).put_to_sleep()

    def _put(self, color: str, pose: sapien.Pose) -> None:
        body = self._cubes[color].find_component_by_type(sapien.physx.PhysxRigidDynamicComponent)
        self._cubes[color].set_pose(pose)
        body.set_linear_velocity([0.0, 0.0, 0.0])
        body.set_angular_velocity([0.0, 0.0, 0.0])


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
            pose = _overhead_pose() if side is None else _wrist_pose()
            mount = _anchor(scene) if side is None else wrists[side]
            self._cameras[name] = scene.add_mounted_camera(
                name, mount, pose, spec.width, spec.height, fovy, 0.01, 10.0
            )

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


def _wrist_side(camera: str) -> str | None:
    return next((side for side in ARM_SIDES if f"_{side}_" in camera), None)


def _cube(scene: sapien.Scene, color: str, render: bool) -> sapien.Entity:
    builder = scene.create_actor_builder()
    half = [CUBE_EDGE_M / 2] * 3
    builder.add_box_collision(half_size=half, density=_CUBE_DENSITY)
    if render:
        builder.add_box_visual(half_size=half, material=_paint(COLORS[color]))
    builder.set_initial_pose(sapien.Pose([0.0, 0.0, _PARKED_Z_M]))
    return builder.build(name=f"{color}_cube")


def _bowl(scene: sapien.Scene, render: bool) -> sapien.Entity:
    builder = scene.create_actor_builder()
    radius = BOWL_RADIUS_M + _BOWL_WALL_M / 2
    half_width = float(np.tan(np.pi / _BOWL_STAVES)) * (BOWL_RADIUS_M + _BOWL_WALL_M)
    parts: list[tuple[sapien.Pose, list[float]]] = []
    for angle in np.arange(_BOWL_STAVES) * (2 * np.pi / _BOWL_STAVES):
        place = [radius * float(np.cos(angle)), radius * float(np.sin(angle)), BOWL_HEIGHT_M / 2]
        turn = [float(np.cos(angle / 2)), 0.0, 0.0, float(np.sin(angle / 2))]
        parts.append((sapien.Pose(place, turn), [_BOWL_WALL_M / 2, half_width, BOWL_HEIGHT_M / 2]))
    for pose, size in parts:
        builder.add_box_collision(pose, size)
        if render:
            builder.add_box_visual(pose, size, material=_paint(_BOWL_RGB))
    if render:
        # The table is the real floor; this disc only shows it. Cylinders lie along x: turned up.
        up = sapien.Pose([0.0, 0.0, _BOWL_FLOOR_M / 2], [float(np.sqrt(0.5)), 0.0, float(np.sqrt(0.5)), 0.0])
        builder.add_cylinder_visual(
            up, BOWL_RADIUS_M + _BOWL_WALL_M / 2, _BOWL_FLOOR_M / 2, material=_paint(_BOWL_RGB)
        )
    return builder.build_kinematic(name="bowl")


def _paint(rgb: tuple[float, float, float]) -> sapien.render.RenderMaterial:
    material = sapien.render.RenderMaterial()
    material.set_base_color([*rgb, 1.0])
    material.set_roughness(0.9)
    material.set_specular(0.0)
    return material


def _anchor(scene: sapien.Scene) -> sapien.Entity:
    entity = sapien.Entity()
    entity.set_name("overhead_mount")
    scene.add_entity(entity)
    return entity


def _overhead_pose() -> sapien.Pose:
    # SAPIEN cameras look along x with y to the left: x to down, z (picture's up) to world forward.
    half = float(np.sqrt(0.5))
    return sapien.Pose(list(OVERHEAD_XYZ_M), [half, 0.0, half, 0.0])


def _wrist_pose() -> sapien.Pose:
    # Beside the palm, looking along the fingers (flange z), leaning in towards their tips.
    angle = -(np.pi / 2 - _WRIST_PITCH_RAD) / 2
    return sapien.Pose(list(_WRIST_XYZ_M), [float(np.cos(angle)), 0.0, float(np.sin(angle)), 0.0])
