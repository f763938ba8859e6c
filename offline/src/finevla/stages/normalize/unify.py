"""One episode: absolute values of every slot, then the unified vectors in the wanted action type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from finevla.contract import unified
from finevla.contract.robot import ARM_SIDES, RobotContract
from finevla.errors import FineVLAError
from finevla.stages.import_.raw import UnusableEpisodeError
from finevla.stages.normalize.actions import (
    XYZ,
    ActionType,
    Array,
    decode,
    encode,
    from_absolute,
    signed,
    to_absolute,
)
from finevla.stages.normalize.poses import arm_joints, tool_poses
from finevla.stages.normalize.read import Field, Layout

NORM_TOLERANCE = 0.01
"""A quaternion may be off unit norm by so much, as rounded ones are; it is put right then."""
STORED: ActionType = ActionType("abs", "quat")
"""How poses of the state are stored."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is done with every episode of a dataset.

    Attributes:
        layout: Where its values are.
        robot: The robot, where its kinematics is known.
        to: Action type of the unified vector.
    """

    layout: Layout
    robot: RobotContract | None
    to: ActionType

    def computed(self) -> dict[str, tuple[str, ...]]:
        """Slots that come from forward kinematics, of state and action: arms that tell joints and no pose."""
        groups = {"state": self.layout.state, "action": self.layout.action}
        told = {f.slot for fields in groups.values() for f in fields}
        found: dict[str, list[str]] = {group: [] for group in groups}
        for side in ARM_SIDES if self.robot is not None else ():
            pose, joints = (unified.slot_name(side, part) for part in (unified.EEF, unified.JOINT))
            for group, fields in groups.items():
                widths = {f.slot: len(f.places) for f in fields}
                if pose not in told and self.robot and widths.get(joints) == arm_joints(self.robot):
                    found[group].append(pose)
        return {group: tuple(slots) for group, slots in found.items()}

    def slots(self) -> dict[str, tuple[str, ...]]:
        """All slots of state and action that get filled, in order."""
        computed = self.computed()
        told = {"state": self.layout.state, "action": self.layout.action}
        return {
            group: tuple(s for s in unified.SLOTS if s in {*(f.slot for f in fields), *computed[group]})
            for group, fields in told.items()
        }

    def output(self, slot: str) -> ActionType:
        """Action type of a slot of the unified vector."""
        if unified.slot_of(slot).part != unified.EEF:
            return ActionType(self.to.time, "joint")
        return ActionType(self.to.time, self.to.form if self.to.form != "joint" else "quat")


@dataclass(frozen=True, slots=True)
class Absolute:
    """State and action of an episode by slot: joints (T, n), poses (T, 7) with quaternions x, y, z, w."""

    state: Mapping[str, Array]
    action: Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class Unified:
    """Vectors (T, 80) and masks (80,) of an episode."""

    state: NDArray[np.float32]
    action: NDArray[np.float32]
    state_mask: NDArray[np.bool_]
    action_mask: NDArray[np.bool_]


def absolute(table: pa.Table, plan: Plan) -> Absolute:
    """The absolute values of an episode.

    Raises:
        UnusableEpisodeError: A column has another shape, an arm is missing, a value is not finite, or a
            quaternion is none.
    """
    layout = plan.layout
    states = {field.slot: field.values(table) for field in layout.state}
    actions = {field.slot: field.values(table) for field in layout.action}
    _check_arms(layout, states, actions)
    _check_finite("state", layout.state, states)
    _check_finite("action", layout.action, actions)
    for group, fields, parts in (("state", layout.state, states), ("action", layout.action, actions)):
        for field in fields:
            _check_norm(f"{group} of {field.slot}", field, parts[field.slot])
    state = {
        f.slot: states[f.slot] if f.kind.form == "joint" else decode(states[f.slot], f.kind.form)
        for f in layout.state
    }
    action = {f.slot: to_absolute(f.kind, actions[f.slot], _seen_from(f, state)) for f in layout.action}
    return _with_poses(plan, state, action)


def unify(found: Absolute, plan: Plan) -> Unified:
    """The unified vectors of an episode: absolute states, actions as the plan wants them."""
    states = {
        slot: encode(part, STORED.form) if unified.slot_of(slot).part == unified.EEF else part
        for slot, part in found.state.items()
    }
    actions = {
        slot: from_absolute(plan.output(slot), part, found.state.get(slot, part))
        for slot, part in found.action.items()
    }
    state, state_mask = unified.pack(states)
    action, action_mask = unified.pack(actions)
    return Unified(state, action, state_mask, action_mask)


def check_target(plan: Plan, where: object) -> None:
    """Makes sure that the wanted action type can be had.

    Raises:
        FineVLAError: An action that would be counted from its state has none.
    """
    slots = plan.slots()
    lacking = [slot for slot in slots["action"] if slot not in slots["state"]]
    if plan.to.time != "abs" and lacking:
        raise FineVLAError(
            "an action cannot be counted from a state that is not there",
            where=where,
            expected=f"a state of {', '.join(lacking)}",
            found=f"states of {', '.join(slots['state'])}",
            remedy="choose an absolute type for --to",
        )


def _seen_from(field: Field, state: Mapping[str, Array]) -> Array:
    """The state of the slot of an action; one of absolute joints needs none."""
    return state.get(field.slot, np.zeros((1, len(field.places))))


def _with_poses(plan: Plan, state: dict[str, Array], action: dict[str, Array]) -> Absolute:
    """Adds the poses that forward kinematics gives."""
    computed = plan.computed()
    for group, parts in (("state", state), ("action", action)):
        for slot in computed[group]:
            side = unified.slot_of(slot).side
            assert plan.robot is not None  # noqa: S101  # nothing is computed without one
            poses = tool_poses(plan.robot, side, parts[unified.slot_name(side, unified.JOINT)])
            parts[slot] = signed(poses, state[slot][0] if slot in state else None)
    return Absolute(state, action)


def _check_arms(layout: Layout, states: Mapping[str, Array], actions: Mapping[str, Array]) -> None:
    """An arm that was absent is stored as NaN, or as zeros with its gripper, from first to last frame.

    The gripper counts, because an arm that stands still in a simulator may have the angle zero in all joints.
    """
    targets = {f.slot for f in layout.action if f.kind.time == "abs"}
    groups = {"state": states, "action": {slot: part for slot, part in actions.items() if slot in targets}}
    for side in layout.sides():
        limbs = {unified.slot_name(side, part) for part in (unified.JOINT, unified.EEF)}
        for group, parts in groups.items():
            arm = {s: part for s, part in parts.items() if unified.slot_of(s).side == side}
            limb = [part for slot, part in arm.items() if slot in limbs]
            empty = bool(limb) and all(np.isnan(part).all() for part in limb)
            if empty or (limb and not any(part.any() for part in arm.values())):
                raise UnusableEpisodeError(
                    "missing_arm",
                    f"the {side} arm is missing",
                    where=f"{group} of the {side} arm",
                    expected="values of an arm that was there",
                    found=f"{'NaN' if empty else 'zero'} in all frames",
                    remedy="",
                )


def _check_finite(group: str, fields: Sequence[Field], parts: Mapping[str, Array]) -> None:
    for field in fields:
        bad = np.argwhere(~np.isfinite(parts[field.slot]))
        if len(bad):
            frame, place = bad[0]
            raise UnusableEpisodeError(
                "not_finite",
                "a value is not finite",
                where=f"{group} of {field.slot}, frame {frame}, value {place}",
                found=f"{parts[field.slot][frame, place]}; {len(bad)} such values",
                remedy="",
            )


def _check_norm(where: str, field: Field, values: Array) -> None:
    if field.kind.form not in {"quat", "wxyz"}:
        return
    norm = np.linalg.norm(values[:, XYZ:], axis=1)
    bad = np.flatnonzero(np.abs(norm - 1.0) > NORM_TOLERANCE)
    if len(bad):
        raise UnusableEpisodeError(
            "quaternion_norm",
            "a quaternion is not of unit norm",
            where=f"{where}, frame {bad[0]}",
            expected=f"1 within {NORM_TOLERANCE:g}",
            found=f"{norm[bad[0]]:.4g}; {len(bad)} of {len(norm)} frames",
            remedy="",
        )
