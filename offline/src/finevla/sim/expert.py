"""The scripted expert: a feedback planner that plays the leader arms.

It keeps no memory of its own. What it must know of the past is the leader's pose and speed
(`Leader`), just as a human's hands have a pose and a speed. Motion is straight in joint space,
limited in speed and acceleration, and slows down before it arrives.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from finevla.contract import ARM_SIDES, RobotContract, load_contract
from finevla.errors import SimulationError
from finevla.sim.kinematics import reach, tool_pose
from finevla.sim.language import Goal
from finevla.sim.scene import CUBE_EDGE_M
from finevla.sim.tasks import HOLD_M, View, Waypoint, task_named
from finevla.sim.truth import FloatArray, Truth

SPEED_RAD_S = 1.3
ACCELERATION_RAD_S2 = 4.0
GRIPPER_M_S = 0.20

_DIAGONAL_M = 1.45 * CUBE_EDGE_M
"""A cube keeps a closing gripper open by this much at most."""
_GRASPED_M = 1.15 * CUBE_EDGE_M
"""Opening that a kinematic look-ahead expects around a cube."""


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
    """Plans for one goal, from any state.

    Args:
        goal: What to do.
        contract: The robot; the shipped one when None.

    Raises:
        SimulationError: The goal's task or arm does not exist.
    """

    def __init__(self, goal: Goal, contract: RobotContract | None = None) -> None:
        self.contract = contract or load_contract()
        self.goal = goal
        self._task = task_named(goal.task)
        if goal.arm not in ARM_SIDES:
            raise SimulationError(
                "there is no such arm",
                where=goal,
                expected=f"one of {list(ARM_SIDES)}",
                found=goal.arm,
                remedy="name an arm of the contract",
            )

    def leader_from(self, state: FloatArray, truth: Truth) -> Leader:
        """Leader arms for taking over from followers that were led by someone else.

        A gripper that has closed around the cube is taken to be commanded shut: a command of the
        measured opening would let go.
        """
        leader = Leader.at_rest(np.clip(state, self.contract.lower, self.contract.upper))
        near = float(np.linalg.norm(self._cube(truth) - truth.tips[self.goal.arm])) < HOLD_M
        if near and truth.openings[self.goal.arm] < _DIAGONAL_M:
            leader.command[self.contract.grippers[self.goal.arm]] = 0.0
        return leader

    def advance(self, leader: Leader, truth: Truth, dt_s: float) -> Leader:
        """Where the leader arms are `dt_s` later.

        The acting arm moves towards the task's next waypoint, the idle arm to its home pose.

        Raises:
            SimulationError: The goal's cube is not there, or a waypoint is out of reach.
        """
        return self._towards(leader, self._waypoint(leader, truth), dt_s)

    def plan(self, leader: Leader, truth: Truth, horizon: int, dt_s: float) -> FloatArray:
        """What the leader is going to do, by a kinematic look-ahead, shape (horizon, 14).

        Row 0 is the leader's present command, as in an `ActionChunk`. The look-ahead takes the
        arms to follow at once and the cube to move with the hand that holds it.

        Raises:
            SimulationError: As in `advance`.
        """
        rows = [leader.command]
        for _ in range(horizon - 1):
            leader = self.advance(leader, truth, dt_s)
            truth = self._imagine(leader, truth, dt_s)
            rows.append(leader.command)
        return np.stack(rows)

    def at_goal(self, leader: Leader, truth: Truth) -> bool:
        """Whether the task is done and nothing is left to move."""
        rest = self._towards(leader, self._waypoint(leader, truth), 0.1).command - leader.command
        return self._task.done(truth, self.goal) and float(np.abs(rest).max()) < 1e-3

    def _waypoint(self, leader: Leader, truth: Truth) -> Waypoint:
        side = self.goal.arm
        command = leader.command[self.contract.arm_slice(side)]
        view = View(
            tip=truth.tips[side],
            commanded_tip=tool_pose(self.contract, side, command)[:3, 3],
            opening=truth.openings[side],
            grip=float(command[-1]),
            cube=self._cube(truth),
            bowl=truth.bowl,
        )
        return self._task.waypoint(view)

    def _towards(self, leader: Leader, waypoint: Waypoint, dt_s: float) -> Leader:
        goal = self.contract.home.copy()
        acting = self.contract.arm_slice(self.goal.arm)
        goal[acting] = [*reach(self.contract, self.goal.arm, waypoint.tip), waypoint.opening]
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

    def _imagine(self, leader: Leader, truth: Truth, dt_s: float) -> Truth:
        side, color = self.goal.arm, self.goal.color
        command = leader.command[self.contract.arm_slice(side)]
        tip = tool_pose(self.contract, side, command)[:3, 3]
        cube, grip = truth.cubes[color].copy(), float(command[-1])
        near = float(np.linalg.norm(truth.tips[side] - cube[:3])) < HOLD_M
        if near and truth.openings[side] <= _GRASPED_M + GRIPPER_M_S * dt_s and grip < _GRASPED_M:
            cube[:3] += tip - truth.tips[side]
        else:
            cube[2] = min(cube[2], CUBE_EDGE_M / 2)
        opening = max(grip, _GRASPED_M) if near else grip
        return replace(
            truth,
            time_s=truth.time_s + dt_s,
            cubes={**truth.cubes, color: cube},
            tips={**truth.tips, side: tip},
            openings={**truth.openings, side: opening},
        )

    def _cube(self, truth: Truth) -> FloatArray:
        try:
            return truth.cubes[self.goal.color][:3]
        except KeyError as err:
            raise SimulationError(
                f"there is no {self.goal.color} cube in this scene",
                where=self.goal,
                expected=f"one of {sorted(truth.cubes)}",
                found=self.goal.color,
                remedy="ask for a cube that is in the scene",
            ) from err


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
