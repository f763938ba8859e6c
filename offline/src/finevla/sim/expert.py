"""The scripted expert: a feedback planner that plays the leader arms.

It keeps no memory of its own. What it must know of the past is the leader's pose and speed
(`Leader`), just as a human's hands have a pose and a speed. Motion is straight in joint space,
limited in speed and acceleration, and slows down before it arrives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from finevla.contract import ARM_SIDES, RobotContract, load_contract
from finevla.contract.kinematics import base_pose, tool_pose
from finevla.errors import SimulationError
from finevla.sim.goal import Goal
from finevla.sim.imagine import GRIPPER_M_S, grip_distance, imagine
from finevla.sim.kinematics import reach, solve_planar, tilt_of
from finevla.sim.scene import SceneSpec
from finevla.sim.tasks import task_named
from finevla.sim.tasks.base import Hand, Plan, View
from finevla.sim.tasks.skills import HOLD_M, SHUT_M
from finevla.sim.truth import FloatArray, Truth

SPEED_RAD_S = 1.3
ACCELERATION_RAD_S2 = 4.0

_WIDEST_M = 0.060
"""An object keeps a gripper that is told to close open by this much at most."""


@dataclass(frozen=True, slots=True)
class Leader:
    """Where the leader arms are and how fast they move.

    Attributes:
        command: Their 14 joint values, which the followers are told to take, rad and m.
        velocity: Rate of change of `command`, rad/s and m/s, shape (14,).
    """

    command: FloatArray
    velocity: FloatArray

    @classmethod
    def at_rest(cls, command: FloatArray) -> Leader:
        """Leader arms that stand still."""
        return cls(np.array(command, dtype=np.float64), np.zeros(len(command)))


class Expert:
    """Plans for one goal in one scene, from any state.

    Args:
        goal: What to do.
        spec: The scene as it was at the beginning.
        contract: The robot; the shipped one when None.

    Raises:
        SimulationError: The goal's task or arm does not exist, or the scene lacks what it names.
    """

    def __init__(self, goal: Goal, spec: SceneSpec, contract: RobotContract | None = None) -> None:
        self.contract = contract or load_contract()
        self.goal, self.spec = goal, spec
        self._task = task_named(goal.task)
        self._check(goal.arm in ARM_SIDES, "arm", goal.arm, ARM_SIDES)
        asked = (*((goal.color,) if goal.color else ()), *goal.order)
        self._check(set(asked) <= set(spec.colors), "object of that colour", asked, spec.colors)

    def _check(self, right: bool, what: str, found: object, known: Sequence[str]) -> None:
        if not right:
            raise SimulationError(
                f"there is no such {what} in this scene",
                where=self.goal,
                expected=f"one of {list(known)}",
                found=found,
                remedy="ask for what is there",
            )

    def leader_from(self, state: FloatArray, truth: Truth) -> Leader:
        """Leader arms for taking over from followers that were led by someone else.

        A gripper that has closed around something is taken to be commanded shut: a command of the
        measured opening would let go.
        """
        leader = Leader.at_rest(np.clip(state, self.contract.lower, self.contract.upper))
        for side in ARM_SIDES:
            near = any(
                grip_distance(truth.tips[side], truth.objects[item.name], item) < HOLD_M
                for item in self.spec.movable
            )
            if near and SHUT_M < truth.openings[side] < _WIDEST_M:
                leader.command[self.contract.grippers[side]] = 0.0
        return leader

    def advance(self, leader: Leader, truth: Truth, dt_s: float) -> Leader:
        """Where the leader arms are `dt_s` later.

        Acting arms move towards the task's next waypoints, an idle arm to its home pose.

        Raises:
            SimulationError: A waypoint is out of reach.
        """
        return self._towards(leader, self._task.expert(self.view(leader, truth)), dt_s)

    def plan(self, leader: Leader, truth: Truth, horizon: int, dt_s: float) -> FloatArray:
        """What the leader is going to do, by a kinematic look-ahead, shape (horizon, 14).

        Row 0 is the leader's present command, as in an `ActionChunk`. The look-ahead takes the
        arms to follow at once and objects to move with the hand that holds them.

        Raises:
            SimulationError: As in `advance`.
        """
        rows = [leader.command]
        for _ in range(horizon - 1):
            following = self.advance(leader, truth, dt_s)
            truth = imagine(self.contract, self.spec, leader.command, following.command, truth, dt_s)
            leader = following
            rows.append(leader.command)
        return np.stack(rows)

    def at_goal(self, leader: Leader, truth: Truth) -> bool:
        """Whether the task is done and nothing is left to move."""
        if not self._task.success(truth, self.goal, self.spec):
            return False
        return float(np.abs(self.advance(leader, truth, 0.1).command - leader.command).max()) < 1e-3

    def view(self, leader: Leader, truth: Truth) -> View:
        """What the task decides from."""
        return View(
            self.contract,
            self.spec,
            truth,
            self.goal,
            {side: self._hand(side, leader, truth) for side in ARM_SIDES},
        )

    def _hand(self, side: str, leader: Leader, truth: Truth) -> Hand:
        command = leader.command[self.contract.arm_slice(side)]
        tool = tool_pose(self.contract, side, command)
        return Hand(
            side=side,
            base=base_pose(self.contract.arms[side])[:3, 3],
            tip=truth.tips[side],
            commanded_tip=tool[:3, 3],
            opening=truth.openings[side],
            grip=float(command[-1]),
            roll=float(command[5]),
            tilt=tilt_of(self.contract, side, command),
        )

    def _towards(self, leader: Leader, plan: Plan, dt_s: float) -> Leader:
        goal = self.contract.home.copy()
        for side, point in plan.items():
            if point.tilt is None:
                joints = reach(self.contract, side, point.tip, point.roll)
            else:
                joints = solve_planar(self.contract, side, point.tip, tilt=point.tilt, roll=point.roll)
            goal[self.contract.arm_slice(side)] = [*joints, point.opening]
        command, velocity = leader.command.copy(), leader.velocity.copy()
        for side in ARM_SIDES:
            part, gripper = self.contract.arm_slice(side), self.contract.grippers[side]
            arm = slice(part.start, part.stop - 1)
            velocity[arm] = _paced(goal[arm] - command[arm], velocity[arm], dt_s)
            command[arm] += velocity[arm] * dt_s
            stroke = GRIPPER_M_S * dt_s
            moved = float(np.clip(goal[gripper] - command[gripper], -stroke, stroke))
            command[gripper] += moved
            velocity[gripper] = moved / dt_s
        return Leader(np.clip(command, self.contract.lower, self.contract.upper), velocity)


def _paced(distance: FloatArray, velocity: FloatArray, dt_s: float) -> FloatArray:
    """Next velocity on the straight way over `distance`: all joints arrive together, softly."""
    far = float(np.abs(distance).max())
    if far < 1e-6:
        return np.zeros_like(distance)
    # The fastest speed from which a stop at the goal is still possible, in steps of dt.
    brake = ACCELERATION_RAD_S2 * dt_s
    stopping = 0.5 * (np.sqrt(brake**2 + 8.0 * ACCELERATION_RAD_S2 * far) - brake)
    speed = min(SPEED_RAD_S, float(stopping), far / dt_s)
    wanted = distance * (speed / far)
    change: FloatArray = np.clip(wanted - velocity, -brake, brake)
    return velocity + change
