"""When is an episode over? The one rule for the live policy node and for in-process rollouts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from finevla.contract.frame import ActionChunk
from finevla.contract.robot import RobotContract


class SettleDetector:
    """Tells when a policy has come to rest: it wants to move nothing any more, several times over.

    A chunk is at rest when, over its whole horizon, no target leaves its first one by more than the
    thresholds, and no arm joint is told to go further than twice that from where it is. Grippers
    are compared with their commands only: one that holds an object never reaches its command.

    Args:
        contract: The robot.
        arm_rad: Largest motion of an arm joint within a chunk at rest.
        gripper_m: Largest motion of a gripper within a chunk at rest.
        count: How many chunks in a row must be at rest.
    """

    def __init__(
        self, contract: RobotContract, *, arm_rad: float = 0.04, gripper_m: float = 0.008, count: int = 3
    ) -> None:
        self._threshold = np.where(contract.is_gripper, gripper_m, arm_rad)
        self._arms = ~contract.is_gripper
        self._count = count
        self._seen = 0

    def reset(self) -> None:
        """Forgets the past: a new instruction begins."""
        self._seen = 0

    def observe(self, chunk: ActionChunk, state: NDArray[np.float64]) -> bool:
        """Takes the newest chunk and the joints measured with it, shape (14,); True when settled."""
        self._seen = self._seen + 1 if self._at_rest(chunk, state) else 0
        return self._seen >= self._count

    def _at_rest(self, chunk: ActionChunk, state: NDArray[np.float64]) -> bool:
        if chunk.horizon == 0:
            return True
        motion = np.abs(chunk.targets - chunk.targets[0]).max(axis=0)
        away = np.abs(chunk.targets[-1] - state)
        still = (motion <= self._threshold).all()
        return bool(still and (away <= 2 * self._threshold)[self._arms].all())
