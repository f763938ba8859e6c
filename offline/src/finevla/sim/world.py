"""The simulated robot and table in SAPIEN: commands and time in, joints, images and truth out.

The renderer compiles its shaders for seconds when a process makes its first scene, and again if no
scene is left alive: keep one `World` for the life of the process, and reset it. A process that has
rendered must not fork (use spawn).
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection
from pathlib import Path

import numpy as np
import sapien
from numpy.typing import NDArray

from finevla.contract import ARM_SIDES, RobotContract, load_contract
from finevla.contract.kinematics import TOOL_M
from finevla.contract.urdf import FINGERS, arm_urdf
from finevla.errors import SimulationError
from finevla.sim.props import Props
from finevla.sim.room import Cameras, Room, require_renderer
from finevla.sim.scene import SceneSpec
from finevla.sim.truth import FloatArray, Truth

PHYSICS_HZ = 250

_ARM_GAINS = (3000.0, 150.0)
"""Stiffness and damping of the arm joints: their ratio is a time constant of 50 ms."""
_ARM_FORCE_N_M = 100.0
_FINGER_GAINS = (400.0, 40.0)
_FINGER_FORCE_N = 20.0
_FRICTION = 1.2
TOUCH_M = 0.0005
"""Bodies nearer than this touch."""


class World:
    """Two arms, a table with what a scene puts on it, and three cameras.

    Args:
        render: Whether cameras exist. Without, no Vulkan is needed and `images` raises.
        contract: The robot; the shipped one when None.

    Raises:
        SimulationError: `render` is asked for and no Vulkan device can render.
    """

    def __init__(self, render: bool = True, contract: RobotContract | None = None) -> None:
        self.contract = contract or load_contract()
        self.render = render
        self.spec: SceneSpec | None = None
        if render:
            require_renderer()
            sapien.render.set_camera_shader_dir("minimal")
        self._steps = 0
        self._stepped = False
        self._build()

    def _build(self) -> None:
        """Makes everything anew. The old scene dies only now, so that the renderer stays warm."""
        systems: list[sapien.System] = [sapien.physx.PhysxCpuSystem()]
        if self.render:
            systems.append(sapien.render.RenderSystem())
        sapien.physx.set_default_material(_FRICTION, _FRICTION, 0.0)
        scene = sapien.Scene(systems)
        scene.set_timestep(self.dt_s)
        self._room = Room(scene, self.render)
        self._arms = {side: _Arm(scene, self.contract, side, self.render) for side in ARM_SIDES}
        self._fingers = {name: side for side, arm in self._arms.items() for name in arm.fingers}
        self._props = Props(scene, self.render)
        mounts = {side: arm.flange.entity for side, arm in self._arms.items()}
        self._cameras = Cameras(scene, self.contract, mounts) if self.render else None
        self._scene = scene
        self.set_arms(self.contract.home)

    @property
    def dt_s(self) -> float:
        """Length of one physics step."""
        return 1.0 / PHYSICS_HZ

    @property
    def time_s(self) -> float:
        """Simulated time since the world was made; `reset` does not turn it back."""
        return self._steps * self.dt_s

    @property
    def time_ns(self) -> int:
        """Simulated time in whole nanoseconds, for stamps."""
        return self._steps * (1_000_000_000 // PHYSICS_HZ)

    def reset(self, spec: SceneSpec, arms_home: bool = True) -> None:
        """Puts the objects of a scene on the table; time goes on.

        With the arms at home nothing of the past is left, not even in the physics engine's caches:
        what follows depends on the scene and the commands alone.

        Args:
            spec: What to put where.
            arms_home: Whether the arms also jump to the contract's home pose, at rest. If not, they
                stay as they are.
        """
        if arms_home:
            self._build()
        self.spec = spec
        self._room.furnish(spec.look)
        if self._cameras is not None:
            self._cameras.hang(spec.look)
        self._props.place(spec)
        self._stepped = False

    def scene(self) -> SceneSpec:
        """The scene that lies on the table.

        Raises:
            SimulationError: There is none yet.
        """
        if self.spec is None:
            raise SimulationError(
                "no scene lies on the table yet",
                where="World",
                expected="World.reset(spec) before",
                remedy="reset the world to a scene first",
            )
        return self.spec

    def set_arms(self, values: FloatArray) -> None:
        """Puts both arms at 14 joint values, at rest and commanded to stay there."""
        targets = self._checked(values)
        for side, arm in self._arms.items():
            arm.teleport(targets[self.contract.arm_slice(side)])

    def command(self, targets: FloatArray) -> None:
        """Sets the targets that the joints drive to from now on.

        Values beyond the contract's limits are clipped, as the arms' own controllers do.

        Args:
            targets: Shape (14,), rad and m.

        Raises:
            ValueError: Wrong shape, or a value is not finite.
        """
        values = self._checked(targets)
        for side, arm in self._arms.items():
            arm.drive(values[self.contract.arm_slice(side)])

    def step(self, n: int = 1) -> None:
        """Advances physics by `n` steps."""
        for _ in range(n):
            self._scene.step()
        self._stepped = self._stepped or n > 0
        self._steps += n

    def state(self) -> FloatArray:
        """Measured joints, shape (14,), rad and m."""
        return np.concatenate([self._arms[side].measured() for side in ARM_SIDES])

    def images(self, cameras: Collection[str] | None = None) -> dict[str, NDArray[np.uint8]]:
        """RGB pictures, shape (height, width, 3), uint8, by camera name of the contract.

        Args:
            cameras: Which cameras to render; all when None. Time grows with their number.

        Raises:
            SimulationError: The world was made without cameras.
        """
        if self._cameras is None:
            raise Cameras.absent()
        return self._cameras.take(self.contract.cameras if cameras is None else cameras)

    def truth(self) -> Truth:
        """Where everything really is."""
        return Truth(
            time_s=self.time_s,
            objects=self._props.poses(),
            tips={side: arm.tip() for side, arm in self._arms.items()},
            openings={side: arm.opening() for side, arm in self._arms.items()},
            joints=self._props.pressed(),
            touching=self._touching(),
        )

    def _touching(self) -> dict[str, frozenset[str]]:
        """What the fingers of each arm touch; nothing before the first step of a scene.

        Until then the engine's contacts are those of bodies that a reset has taken away.
        """
        if not self._stepped:
            return {side: frozenset() for side in ARM_SIDES}
        found: dict[str, set[str]] = {side: set() for side in ARM_SIDES}
        for contact in self._scene.get_contacts():
            names = [body.entity.name for body in contact.bodies]
            sides = [self._fingers.get(name) for name in names]
            if (sides[0] is None) == (sides[1] is None):
                continue
            mine = 0 if sides[0] is not None else 1
            side = sides[mine]
            if side is not None and any(point.separation < TOUCH_M for point in contact.points):
                found[side].update(
                    self._props.part(contact.bodies[1 - mine].entity, contact.shapes[1 - mine])
                )
        return {side: frozenset(names) for side, names in found.items()}

    def _checked(self, values: FloatArray) -> FloatArray:
        array = np.asarray(values, dtype=np.float64)
        if array.shape != (self.contract.dof,) or not np.isfinite(array).all():
            raise ValueError(f"expected {self.contract.dof} finite joint values, got {array!r}")
        return np.clip(array, self.contract.lower, self.contract.upper)


class _Arm:
    """One loaded arm: contract values on the outside, drives and fingers on the inside."""

    def __init__(self, scene: sapien.Scene, contract: RobotContract, side: str, visuals: bool) -> None:
        spec = contract.arms[side]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "arm.urdf"
            path.write_text(arm_urdf(contract, side, visuals=visuals))
            loader = scene.create_urdf_loader()
            loader.fix_root_link = True
            self._body = loader.load(str(path))
        self._body.set_root_pose(sapien.Pose(list(spec.base_xyz_m)))
        active = {joint.name: joint for joint in self._body.active_joints}
        names = [*spec.names[:-1], *FINGERS]
        self._joints = [active[name] for name in names]
        self._order = [self._body.active_joints.index(joint) for joint in self._joints]
        self.fingers = tuple(f"{side}_{name}" for name in FINGERS)
        for name, own in zip(FINGERS, self.fingers, strict=True):
            self._body.find_link_by_name(f"link_{name}").entity.set_name(own)
        self.flange = self._body.find_link_by_name(f"link_{spec.names[-2]}")
        for joint in self._joints[:-2]:
            joint.set_drive_properties(*_ARM_GAINS, force_limit=_ARM_FORCE_N_M)
        for joint in self._joints[-2:]:
            joint.set_drive_properties(*_FINGER_GAINS, force_limit=_FINGER_FORCE_N)
        for link in self._body.links:
            # The real arms carry their own weight: their controllers leave no sag to speak of.
            link.disable_gravity = True

    def teleport(self, values: FloatArray) -> None:
        qpos = np.zeros(len(self._joints))
        qpos[self._order] = _split(values)
        self._body.set_qpos(qpos)
        self._body.set_qvel(np.zeros_like(qpos))
        self.drive(values)

    def drive(self, values: FloatArray) -> None:
        for joint, target in zip(self._joints, _split(values), strict=True):
            joint.set_drive_target(float(target))

    def measured(self) -> FloatArray:
        qpos = np.asarray(self._body.qpos, dtype=np.float64)[self._order]
        return np.append(qpos[:-2], qpos[-2:].sum())

    def opening(self) -> float:
        return float(self.measured()[-1])

    def tip(self) -> FloatArray:
        pose = self.flange.entity_pose * sapien.Pose([0.0, 0.0, TOOL_M])
        return np.asarray(pose.p, dtype=np.float64)


def _split(values: FloatArray) -> FloatArray:
    """Six joints and an opening to six joints and two fingers, each half of the opening."""
    return np.concatenate([values[:-1], [values[-1] / 2, values[-1] / 2]])
