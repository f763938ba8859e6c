"""The things on the table as SAPIEN bodies, built from boxes and cylinders: one builder per kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import sapien

from finevla.sim.look import RGB
from finevla.sim.room import paint
from finevla.sim.scene import BOWL_HEIGHT_M, BOWL_RADIUS_M, FIXED, Kind, ObjectSpec, SceneSpec
from finevla.sim.truth import FloatArray

DENSITY = 400.0
PAD_HEIGHT_M = 0.002
TRAY_WALL_M = 0.006
TRAY_HEIGHT_M = 0.030
BUTTON_HEIGHT_M = 0.030
"""Height of a button's housing; the cap stands out of it by its travel."""
BUTTON_TRAVEL_M = 0.012
_RIM_M = 0.012
"""How far a button's housing reaches beyond its cap."""
_CAP_DAMPING = 60.0
"""Force per speed of a cap, N s/m: a push of 10 cm/s takes 6 N."""
CUP_WALL_M = 0.005
HANDLE_M = (0.028, 0.014, 0.030)
"""Handle of a cup: how far it stands out, its thickness, its height."""
_STAVES = 16
_BOWL_WALL_M = 0.006
_FLOOR_M = 0.001
_METAL: RGB = (0.25, 0.25, 0.27)
_LIGHT: RGB = (0.92, 0.92, 0.90)

_ROLLING = 20.0
"""Rolling resistance of bottles as angular damping, 1/s: the solver knows no other, they would roll away."""

_UPRIGHT = [float(np.sqrt(0.5)), 0.0, float(np.sqrt(0.5)), 0.0]
"""Turns SAPIEN's cylinders, which lie along x, to stand along z."""


@dataclass(slots=True)
class Body:
    """A body under construction: shapes are added to both sides, part names to each collision shape."""

    builder: sapien.ActorBuilder
    render: bool
    parts: list[str] = field(default_factory=list)

    def box(
        self, pose: sapien.Pose, half: list[float], rgb: RGB | None, part: str = "", *, solid: bool = True
    ) -> None:
        """Adds a box."""
        if solid:
            self.builder.add_box_collision(pose, half, density=DENSITY)
            self.parts.append(part)
        if self.render and rgb is not None:
            self.builder.add_box_visual(pose, half, material=paint(rgb))

    def cylinder(
        self,
        pose: sapien.Pose,
        radius: float,
        half: float,
        rgb: RGB | None,
        part: str = "",
        *,
        solid: bool = True,
    ) -> None:
        """Adds a cylinder along the pose's x axis."""
        if solid:
            self.builder.add_cylinder_collision(pose, radius, half, density=DENSITY)
            self.parts.append(part)
        if self.render and rgb is not None:
            self.builder.add_cylinder_visual(pose, radius, half, material=paint(rgb))

    def ring(self, radius: float, wall: float, height: float, base: float, rgb: RGB, part: str = "") -> None:
        """Adds a ring of staves with this inner radius, standing on height `base`."""
        middle = radius + wall / 2
        half_width = float(np.tan(np.pi / _STAVES)) * (radius + wall)
        for angle in np.arange(_STAVES) * (2 * np.pi / _STAVES):
            place = [middle * float(np.cos(angle)), middle * float(np.sin(angle)), base + height / 2]
            self.box(sapien.Pose(place, _yaw(float(angle))), [wall / 2, half_width, height / 2], rgb, part)

    def disc(self, radius: float, height: float, z: float, rgb: RGB, *, solid: bool) -> None:
        """Adds an upright disc whose underside is at `z`."""
        pose = sapien.Pose([0.0, 0.0, z + height / 2], _UPRIGHT)
        self.cylinder(pose, radius, height / 2, rgb, solid=solid)


def _yaw(angle: float) -> list[float]:
    return [float(np.cos(angle / 2)), 0.0, 0.0, float(np.sin(angle / 2))]


def _cube(body: Body, spec: ObjectSpec) -> None:
    half = [spec.size[0] / 2] * 3
    body.box(sapien.Pose(), half, spec.paint)


def _bar(body: Body, spec: ObjectSpec) -> None:
    """A block whose end ahead is light: a thin skin around the last quarter of its length."""
    length, width, height = spec.size
    body.box(sapien.Pose(), [edge / 2 for edge in spec.size], spec.paint)
    skin = 0.0004
    end = [length / 8 + skin, width / 2 + skin, height / 2 + skin]
    body.box(sapien.Pose([0.375 * length, 0.0, 0.0]), end, _LIGHT, solid=False)


def _bowl(body: Body, spec: ObjectSpec) -> None:
    body.ring(BOWL_RADIUS_M, _BOWL_WALL_M, BOWL_HEIGHT_M, 0.0, spec.paint)
    # The table is the real floor; this disc only shows it.
    body.disc(BOWL_RADIUS_M + _BOWL_WALL_M / 2, _FLOOR_M, 0.0, spec.paint, solid=False)


def _pad(body: Body, spec: ObjectSpec) -> None:
    body.disc(spec.size[0], PAD_HEIGHT_M, 0.0, spec.paint, solid=True)


def _pillar(body: Body, spec: ObjectSpec) -> None:
    radius, height = spec.size
    pose = sapien.Pose([0.0, 0.0, height / 2], _UPRIGHT)
    body.cylinder(pose, radius, height / 2, spec.paint)


def _tray(body: Body, spec: ObjectSpec) -> None:
    length, width = spec.size
    z = TRAY_HEIGHT_M / 2
    for sign in (-1.0, 1.0):
        across = [TRAY_WALL_M / 2, width + TRAY_WALL_M, z]
        along = [length + TRAY_WALL_M, TRAY_WALL_M / 2, z]
        body.box(sapien.Pose([sign * (length + TRAY_WALL_M / 2), 0.0, z]), across, spec.paint)
        body.box(sapien.Pose([0.0, sign * (width + TRAY_WALL_M / 2), z]), along, spec.paint)
    floor = [length, width, _FLOOR_M / 2]
    body.box(sapien.Pose([0.0, 0.0, _FLOOR_M / 2]), floor, spec.paint, solid=False)


def _bottle(body: Body, spec: ObjectSpec) -> None:
    """Axis along its own x; belly, then a neck ahead. The origin is the middle of the whole length."""
    radius, length = spec.size
    neck = 0.25 * length
    belly = length - neck
    body.cylinder(sapien.Pose([-neck / 2, 0.0, 0.0]), radius, belly / 2, spec.paint, "belly")
    body.cylinder(sapien.Pose([belly / 2, 0.0, 0.0]), 0.45 * radius, neck / 2, _LIGHT, "neck")


def _cup(body: Body, spec: ObjectSpec) -> None:
    """A ring with a floor and a handle along its own x. The origin is the middle of its height."""
    radius, height = spec.size
    inner = radius - CUP_WALL_M
    body.ring(inner, CUP_WALL_M, height, -height / 2, spec.paint, "body")
    body.cylinder(sapien.Pose([0.0, 0.0, -height / 2 + 0.002], _UPRIGHT), inner, 0.002, spec.paint, "body")
    out, thick, high = HANDLE_M
    body.box(
        sapien.Pose([radius + out / 2 - 0.001, 0.0, 0.0]),
        [out / 2, thick / 2, high / 2],
        spec.paint,
        "handle",
    )


def _clutter_box(body: Body, spec: ObjectSpec) -> None:
    body.box(sapien.Pose(), [edge / 2 for edge in spec.size], spec.paint)


def _clutter_can(body: Body, spec: ObjectSpec) -> None:
    radius, height = spec.size
    body.cylinder(sapien.Pose([0.0, 0.0, 0.0], _UPRIGHT), radius, height / 2, spec.paint)


_BUILD: Mapping[Kind, Callable[[Body, ObjectSpec], None]] = {
    Kind.CUBE: _cube,
    Kind.BAR: _bar,
    Kind.BOWL: _bowl,
    Kind.PAD: _pad,
    Kind.PILLAR: _pillar,
    Kind.TRAY: _tray,
    Kind.BOTTLE: _bottle,
    Kind.CUP: _cup,
    Kind.CLUTTER_BOX: _clutter_box,
    Kind.CLUTTER_CAN: _clutter_can,
}


def rest_height(spec: ObjectSpec) -> float:
    """Height of an object's origin above what it rests on, m."""
    match spec.kind:
        case Kind.CUBE:
            return spec.size[0] / 2
        case Kind.BAR | Kind.CLUTTER_BOX:
            return spec.size[2] / 2
        case Kind.BOTTLE:
            return spec.size[0]
        case Kind.CUP | Kind.CLUTTER_CAN:
            return spec.size[1] / 2
        case _:
            return 0.0


class Props:
    """Everything that lies on the table in one scene."""

    def __init__(self, scene: sapien.Scene, render: bool) -> None:
        self._scene = scene
        self._render = render
        self._bodies: dict[str, sapien.Entity] = {}
        self._parts: dict[str, list[str]] = {}
        self._buttons: dict[str, sapien.physx.PhysxArticulation] = {}

    def place(self, spec: SceneSpec) -> None:
        """Takes away what lies there and puts down the objects of a scene, at rest."""
        for entity in self._bodies.values():
            self._scene.remove_entity(entity)
        for button in self._buttons.values():
            self._scene.remove_articulation(button)
        self._bodies, self._parts, self._buttons = {}, {}, {}
        for item in spec.objects:
            z = spec.look.table_z_m
            if item.kind is Kind.BUTTON:
                self._buttons[item.name] = _button(self._scene, item, z, self._render)
            else:
                self._build(item, z)

    def _build(self, item: ObjectSpec, table_z: float) -> None:
        body = Body(self._scene.create_actor_builder(), self._render)
        _BUILD[item.kind](body, item)
        pose = sapien.Pose([item.x, item.y, table_z + rest_height(item)], _yaw(item.yaw))
        body.builder.set_initial_pose(pose)
        build = body.builder.build_kinematic if item.kind in FIXED else body.builder.build
        self._bodies[item.name] = entity = build(name=item.name)
        if item.kind is Kind.BOTTLE:
            rigid = entity.find_component_by_type(sapien.physx.PhysxRigidDynamicComponent)
            rigid.set_angular_damping(_ROLLING)
        self._parts[item.name] = body.parts

    def poses(self) -> dict[str, FloatArray]:
        """Pose of each object, shape (7,), xyz and wxyz."""
        poses = {name: entity.pose for name, entity in self._bodies.items()}
        poses |= {name: button.root_pose for name, button in self._buttons.items()}
        return {name: np.concatenate([pose.p, pose.q]).astype(np.float64) for name, pose in poses.items()}

    def pressed(self) -> dict[str, float]:
        """How far each button is pressed, m."""
        return {name: float(-button.qpos[0]) for name, button in self._buttons.items()}

    def part(self, entity: sapien.Entity, shape: object) -> tuple[str, ...]:
        """Names under which a touched shape is known: the object, and its part where it has parts."""
        name = str(entity.name).removesuffix(":cap")
        if name in self._buttons:
            return (name,)
        parts = self._parts.get(name)
        if parts is None:
            return ()
        if not any(parts):
            return (name,)
        body = entity.find_component_by_type(sapien.physx.PhysxRigidBaseComponent)
        index = next(i for i, own in enumerate(body.collision_shapes) if own == shape)
        return (name, f"{name}:{parts[index]}")


def _button(
    scene: sapien.Scene, spec: ObjectSpec, table_z: float, render: bool
) -> sapien.physx.PhysxArticulation:
    """A housing with a cap that slides down and stays where it was pushed to, as a latch does.

    The origin of the body is the middle of the cap's top while it is out; pressed all the way, the cap
    is flush with the housing.
    """
    radius, top = spec.size[0], BUTTON_HEIGHT_M + BUTTON_TRAVEL_M
    builder = scene.create_articulation_builder()
    base = builder.create_link_builder()
    base.set_name(spec.name)
    housing = sapien.Pose([0.0, 0.0, BUTTON_HEIGHT_M / 2 - top], _UPRIGHT)
    base.add_cylinder_collision(housing, radius + _RIM_M, BUTTON_HEIGHT_M / 2, density=DENSITY)
    cap = builder.create_link_builder(base)
    cap.set_name(f"{spec.name}:cap")
    middle = sapien.Pose([0.0, 0.0, -BUTTON_TRAVEL_M], _UPRIGHT)
    cap.add_cylinder_collision(middle, radius, BUTTON_TRAVEL_M, density=DENSITY)
    if render:
        base.add_cylinder_visual(housing, radius + _RIM_M, BUTTON_HEIGHT_M / 2, material=paint(_METAL))
        cap.add_cylinder_visual(middle, radius, BUTTON_TRAVEL_M, material=paint(spec.paint))
    # The joint's axis is the x of its frames: turned to point up.
    axis = sapien.Pose([0.0, 0.0, 0.0], [float(np.sqrt(0.5)), 0.0, -float(np.sqrt(0.5)), 0.0])
    cap.set_joint_name(f"{spec.name}_cap")
    cap.set_joint_properties("prismatic", [[-BUTTON_TRAVEL_M, 0.0]], axis, axis, friction=0.0, damping=0.0)
    body = builder.build(fix_root_link=True)
    body.set_root_pose(sapien.Pose([spec.x, spec.y, table_z + top], _yaw(spec.yaw)))
    body.set_qpos(np.zeros(1, dtype=np.float32))
    for link in body.links:
        link.disable_gravity = True
    body.active_joints[0].set_drive_properties(0.0, _CAP_DAMPING, force_limit=100.0)
    return body
