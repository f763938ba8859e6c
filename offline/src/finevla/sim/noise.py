"""Disturbances for recovery data, in the manner of DART: the follower is pushed, the leader is not.

A burst adds a constant offset to what the followers are told for one to three frames. The leader's
own command, which is what gets recorded as action, stays the clean intention: it leads back to the
right way from wherever the follower was pushed to. An episode may also begin astray: with a hand that
is low over the table already, as after a grasp that missed.
"""

from __future__ import annotations

import numpy as np

from finevla.contract import RobotContract
from finevla.contract.kinematics import tool_pose
from finevla.errors import SimulationError
from finevla.sim.kinematics import reach
from finevla.sim.scene import Kind, SceneSpec
from finevla.sim.truth import FloatArray

_BURST_CHANCE = 0.25
_BURST_FRAMES = (1, 4)
_STD_RAD = np.array([0.06, 0.06, 0.06, 0.03, 0.08, 0.05])
_START_STD_RAD = 0.03
_LOW_M = 0.060
_FINE = 0.3
"""Share of the disturbance that remains near the table and while something is held."""
_ASTRAY_X_M, _ASTRAY_Y_M, _ASTRAY_Z_M = (0.17, 0.36), (-0.14, 0.14), (0.03, 0.13)
"""Where the finger pads of a hand are that begins astray; height above the table."""
_ASTRAY_SHUT = 0.6
"""Share of them that have closed on nothing; the others are open."""
_OVER_M = 0.075
"""Height at which an open hand clears a cube."""
_BESIDE_SHUT_M, _BESIDE_OPEN_M, _BESIDE_TALL_M = 0.045, 0.060, 0.090
"""Distances from the middle of an object at which a hand touches none: shut, open, and tall objects."""
_TRIES = 50


class Disturbance:
    """Draws the offsets of one episode.

    Args:
        contract: The robot.
        arm: The acting arm, the only one that is pushed.
        strength: Scales all offsets; 0 leaves the followers alone.
        rng: Where chance comes from.
    """

    def __init__(self, contract: RobotContract, arm: str, strength: float, rng: np.random.Generator) -> None:
        self._contract = contract
        self._arm = arm
        self._strength = strength
        self._rng = rng
        self._left = 0
        self._push: FloatArray = np.zeros(len(_STD_RAD))

    def start(self, home: FloatArray) -> FloatArray:
        """A start pose near home, shape (14,); grippers stay as they are."""
        pose = home.copy()
        for side in self._contract.arms:
            arm = self._joints(side)
            pose[arm] += self._rng.normal(0.0, _START_STD_RAD * self._strength, len(_STD_RAD))
        return np.clip(pose, self._contract.lower, self._contract.upper)

    def astray(self, home: FloatArray, spec: SceneSpec) -> FloatArray:
        """A start pose of a hand that has just missed: low over the table, mostly closed on nothing.

        A policy that has only seen grasps succeed goes on as if it held something. The hand touches no
        object of the scene; where no such place was found, the pose is that of `start`.
        """
        pose = self.start(home)
        for _ in range(_TRIES):
            shut = bool(self._rng.random() < _ASTRAY_SHUT)
            tip = np.array([self._rng.uniform(*span) for span in (_ASTRAY_X_M, _ASTRAY_Y_M, _ASTRAY_Z_M)])
            touches = any(
                np.hypot(item.x - tip[0], item.y - tip[1]) < _clearance(item.kind, float(tip[2]), shut)
                for item in spec.objects
            )
            if touches:
                continue
            tip[2] += spec.look.table_z_m
            try:
                pose[self._joints(self._arm)] = reach(self._contract, self._arm, tip)
            except SimulationError:
                continue  # out of this arm's reach: draw another place
            pose[self._contract.grippers[self._arm]] *= not shut
            break
        return pose

    def next(self, command: FloatArray, following: FloatArray) -> FloatArray:
        """The offset for the frame that goes from one command to the next, shape (14,), rad."""
        offset = np.zeros(self._contract.dof)
        if self._strength <= 0.0:
            return offset
        if self._left == 0 and self._rng.random() < _BURST_CHANCE:
            self._left = int(self._rng.integers(*_BURST_FRAMES))
            self._push = self._rng.normal(0.0, _STD_RAD * self._strength)
        if self._left > 0:
            self._left -= 1
            offset[self._joints(self._arm)] = self._push * self._share(command, following)
        return offset

    def _share(self, command: FloatArray, following: FloatArray) -> float:
        gripper = self._contract.grippers[self._arm]
        moving = abs(following[gripper] - command[gripper]) > 1e-6
        if moving:
            # A hand that is just closing or opening is left alone.
            return 0.0
        held = command[gripper] < 0.5 * self._contract.upper[gripper]
        tip = tool_pose(self._contract, self._arm, command[self._contract.arm_slice(self._arm)])[:3, 3]
        return _FINE if held or tip[2] < _LOW_M else 1.0

    def _joints(self, side: str) -> slice:
        part = self._contract.arm_slice(side)
        return slice(part.start, part.stop - 1)


def _clearance(kind: Kind, height: float, shut: bool) -> float:
    """How far a hand must stay from the middle of an object, m."""
    if kind != Kind.CUBE:
        return _BESIDE_TALL_M
    if height > _OVER_M:
        return 0.0
    return _BESIDE_SHUT_M if shut else _BESIDE_OPEN_M
