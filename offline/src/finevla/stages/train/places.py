"""Where will the hand act next? Places on the table, read from nothing but the commands.

An arm acts where its gripper begins to close or to open near the table, and where its hand ends a
descent. From every frame on, the next such place of either arm is a label that costs nothing: no
annotation, no truth of a simulator. Trained to mark it in the picture (`finevla.policy.grounding`),
a policy binds words to places several times sooner than by its joint targets alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from finevla.contract.kinematics import tool_pose
from finevla.contract.robot import ARM_SIDES, RobotContract
from finevla.errors import PolicyError

FloatArray = NDArray[np.float64]

_IDLE = 0.05
"""Commands of an arm that range over less than this in all, rad, belong to an arm that does nothing."""
_NEAR_M = 0.15
"""Height of the finger pads below which a motion of the gripper is an action on something."""
_LOW_M = 0.10
_DESCENT_M = 1e-3
_RISE_M = -2e-4
_GRIPPER_STEP = 0.03
"""Change of a gripper's command from frame to frame, as a share of its stroke, that is a motion."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """The rectangle of the table that the cropped picture of the pivot camera shows, m.

    Args:
        near: x at the picture's bottom edge.
        far: x at its top edge.
        right: y at its right edge.
        left: y at its left edge.

    Raises:
        PolicyError: The rectangle is empty or seen from the other side.
    """

    near: float
    far: float
    right: float
    left: float

    def __post_init__(self) -> None:
        """Refuses an empty rectangle."""
        if not (self.near < self.far and self.right < self.left):
            raise PolicyError(
                "the workspace is not a rectangle seen from above",
                where="--workspace",
                expected="x near < x far, y right < y left, in m of the robot's frame",
                found=(self.near, self.far, self.right, self.left),
                remedy="measure the table's rectangle that the cropped picture shows",
            )

    def on_picture(self, xy: FloatArray) -> FloatArray:
        """Points (..., 2) x, y in m to places (..., 2) in the picture: right and down, -1 to 1."""
        right = (self.left - xy[..., 1]) / (self.left - self.right)
        down = (self.far - xy[..., 0]) / (self.far - self.near)
        return 2.0 * np.stack([right, down], axis=-1) - 1.0


def next_places(commands: FloatArray, contract: RobotContract) -> FloatArray:
    """The next place of action from every frame on, x and y in m, shape (T, 2); nan where none follows.

    Args:
        commands: Joint commands of an episode (T, dof), rad and m.
        contract: The robot.
    """
    acts = sorted(act for side in ARM_SIDES for act in _acts(commands, side, contract))
    places = np.full((len(commands), 2), np.nan)
    for frame, x, y in reversed(acts):
        places[: frame + 1] = x, y
    return places


def _acts(commands: FloatArray, side: str, contract: RobotContract) -> list[tuple[int, float, float]]:
    """Frames at which an arm acts, with the place of its finger pads."""
    arm = commands[:, contract.arm_slice(side)]
    gripper = contract.grippers[side]
    moves = np.diff(arm[:, -1]) / (contract.upper[gripper] - contract.lower[gripper])
    moving = np.abs(moves) > _GRIPPER_STEP
    idle = np.ptp(arm[:, :-1], axis=0).sum() < _IDLE and not moving.any()
    if len(arm) < 3 or idle:
        return []
    tips = _tips(arm, side, contract)
    height = tips[:, 2]
    rise = np.diff(height)
    begins = moving.copy()
    begins[1:] &= ~moving[:-1] | (moves[1:] * moves[:-1] < 0)
    acts = np.append(begins, False) & (height < _NEAR_M)
    acts[1:-1] |= (height[1:-1] < _LOW_M) & (-rise[:-1] > _DESCENT_M) & (rise[1:] > _RISE_M)
    return [(int(frame), float(tips[frame, 0]), float(tips[frame, 1])) for frame in np.flatnonzero(acts)]


def _tips(arm: FloatArray, side: str, contract: RobotContract) -> FloatArray:
    """Points between the finger pads (T, 3), m; equal commands are computed once."""
    distinct, back = np.unique(arm[:, :-1], axis=0, return_inverse=True)
    tips = np.array([tool_pose(contract, side, joints)[:3, 3] for joints in distinct])
    found: FloatArray = tips[back.reshape(-1)]
    return found
