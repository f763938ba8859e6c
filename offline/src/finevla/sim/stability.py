"""Does a scene stay as it was drawn when nobody touches it?"""

from __future__ import annotations

import numpy as np

from finevla.errors import SimulationError
from finevla.sim.scene import SceneSpec
from finevla.sim.truth import FloatArray
from finevla.sim.world import PHYSICS_HZ, World

WATCH_STEPS = PHYSICS_HZ
"""Physics steps for which a scene is watched: one second. What overlaps or topples has moved by then."""
_LOOKS = 5
DRIFT_M = 0.003
TURN_RAD = float(np.deg2rad(3.0))


def check_stable(world: World, spec: SceneSpec) -> None:
    """Resets the world to a scene, lets physics run for a second, and compares every object's pose.

    The arms stay at home, out of the way, so nothing is held. The world is left as it is then: reset it
    before it is used.

    Args:
        world: With or without cameras.
        spec: The scene.

    Raises:
        SimulationError: An object moved by more than 3 mm or turned by more than 3 degrees.
    """
    world.reset(spec)
    start = world.truth().objects
    for _ in range(_LOOKS):
        world.step(WATCH_STEPS // _LOOKS)
        now = world.truth().objects
        for name, pose in start.items():
            way = float(np.linalg.norm(now[name][:3] - pose[:3]))
            turn = turn_between(pose, now[name])
            if not (way <= DRIFT_M and turn <= TURN_RAD):
                raise _unstable(spec, name, way, turn)


def turn_between(before: FloatArray, after: FloatArray) -> float:
    """Angle between the orientations of two poses (7,), rad, 0 to pi."""
    cosine = abs(float(before[3:] @ after[3:]))
    return 2.0 * float(np.arccos(min(cosine, 1.0))) if np.isfinite(cosine) else float("nan")


def _unstable(spec: SceneSpec, name: str, way_m: float, turn_rad: float) -> SimulationError:
    return SimulationError(
        f"the scene is unstable: {name} moves though nothing touches it",
        where=f"{spec.task}, seed {spec.seed}, {'hard' if spec.hard else 'clean'}",
        expected=f"at most {1000 * DRIFT_M:.0f} mm and {np.rad2deg(TURN_RAD):.0f} degrees in a second",
        found=f"{1000 * way_m:.1f} mm and {np.rad2deg(turn_rad):.1f} degrees",
        remedy="take another seed",
    )
