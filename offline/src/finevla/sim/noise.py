"""Disturbances for recovery data, in the manner of DART: the follower is pushed, the leader is not.

A burst adds a constant offset to what the followers are told for one to three frames. The leader's
own command, which is what gets recorded as action, stays the clean intention: it leads back to the
right way from wherever the follower was pushed to.
"""

from __future__ import annotations

import numpy as np

from finevla.contract import RobotContract
from finevla.sim.kinematics import tool_pose
from finevla.sim.truth import FloatArray

_BURST_CHANCE = 0.25
_BURST_FRAMES = (1, 4)
_STD_RAD = np.array([0.06, 0.06, 0.06, 0.03, 0.08, 0.05])
_START_STD_RAD = 0.03
_LOW_M = 0.060
_FINE = 0.3
"""Share of the disturbance that remains near the table and while something is held."""


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
