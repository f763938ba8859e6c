"""The scripted expert as teleoperator: plays the leader arms in time. Pure: no ROS, no clock.

While it has nothing to do, the leader stands where the followers are; once they follow, it stands
still. An instruction makes it move as `finevla.sim.rollout.demonstrate` does: the expert decides
once per frame, between two frames the command is the straight line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from finevla.contract.frame import NS_PER_S
from finevla.contract.kinematics import tool_pose
from finevla.contract.robot import ARM_SIDES, RobotContract
from finevla.sim.expert import Expert, Leader
from finevla.sim.goal import Goal
from finevla.sim.scene import SceneSpec
from finevla.sim.truth import Truth


@dataclass(frozen=True, slots=True)
class Seen:
    """What the leader sees of the scene.

    Attributes:
        spec: The scene as it was at the beginning.
        objects: Pose of each object by name, shape (7,): xyz in m, quaternion wxyz.
        pressed: How far each button is pressed, m.
    """

    spec: SceneSpec
    objects: Mapping[str, NDArray[np.float64]]
    pressed: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Ending:
    """How an instruction ended: reason code and a sentence."""

    code: str
    reason: str


def truth_of(seen: Seen, joints: NDArray[np.float64], stamp_ns: int, contract: RobotContract) -> Truth:
    """Truth for the expert from what the scene shows and measured joints, shape (14,), rad and m."""
    return Truth(
        time_s=stamp_ns / NS_PER_S,
        objects=seen.objects,
        joints=seen.pressed,
        tips={side: tool_pose(contract, side, joints[contract.arm_slice(side)])[:3, 3] for side in ARM_SIDES},
        openings={side: float(joints[contract.grippers[side]]) for side in ARM_SIDES},
    )


class LeaderPlayer:
    """Where the leader arms are at any time.

    Args:
        contract: The robot; its frame rate is the expert's.
        rest_s: How long the task must be done before the instruction is over.
        timeout_s: When an instruction is given up.
    """

    def __init__(self, contract: RobotContract, rest_s: float, timeout_s: float) -> None:
        self._contract = contract
        self._period_ns = round(contract.frame_period_s * NS_PER_S)
        self._rest_frames = round(rest_s / contract.frame_period_s)
        self._timeout_ns = round(timeout_s * NS_PER_S)
        self._expert: Expert | None = None
        self._from = self._to = Leader.at_rest(contract.home)
        self._frame_ns = self._started_ns = 0
        self._rested = 0

    @property
    def playing(self) -> bool:
        """True while an instruction is followed."""
        return self._expert is not None

    def mirror(self, joints: NDArray[np.float64]) -> None:
        """Stands where the followers are; call it while they do not follow."""
        if not self.playing:
            inside = np.clip(joints, self._contract.lower, self._contract.upper)
            self._from = self._to = Leader.at_rest(inside)

    def start(self, goal: Goal, seen: Seen, joints: NDArray[np.float64], now_ns: int) -> None:
        """Begins to do what `goal` asks.

        Raises:
            SimulationError: The goal asks for what is not there or out of reach.
        """
        expert = Expert(goal, seen.spec, self._contract)
        truth = truth_of(seen, joints, now_ns, self._contract)
        expert.advance(self._to, truth, self._contract.frame_period_s)
        self._expert, self._rested = expert, 0
        self._from = self._to
        self._frame_ns = now_ns - self._period_ns
        self._started_ns = now_ns

    def stop(self) -> None:
        """Ends the instruction; the leader stands still."""
        self._expert = None
        self._from = self._to = Leader.at_rest(self._to.command)

    def advance(self, seen: Seen, joints: NDArray[np.float64], now_ns: int) -> Ending | None:
        """Lets the expert decide where a frame has passed.

        Returns:
            How the instruction ended, if it just did.

        Raises:
            SimulationError: What the expert wants next is out of reach.
        """
        if self._expert is None or now_ns - self._frame_ns < self._period_ns:
            return None
        self._frame_ns = max(self._frame_ns + self._period_ns, now_ns - self._period_ns)
        self._from = self._to
        truth = truth_of(seen, joints, now_ns, self._contract)
        self._rested = self._rested + 1 if self._expert.at_goal(self._from, truth) else 0
        if self._rested >= max(self._rest_frames, 1):
            return self._end("settled", "the task is done and the arms rest")
        if now_ns - self._started_ns > self._timeout_ns:
            return self._end("timeout", "the task was not done in time")
        self._to = self._expert.advance(self._from, truth, self._contract.frame_period_s)
        return None

    def _end(self, code: str, reason: str) -> Ending:
        self.stop()
        return Ending(code, reason)

    def command(self, now_ns: int) -> NDArray[np.float64]:
        """The leader joints at `now_ns`, shape (14,), rad and m."""
        weight = min(max((now_ns - self._frame_ns) / self._period_ns, 0.0), 1.0)
        mixed: NDArray[np.float64] = self._from.command + weight * (self._to.command - self._from.command)
        return mixed
