"""What recordings alone show: measured joints, and poses of the objects. No contacts, no goal, no log.

The check of descriptions asks this instead of the describer's sources. Its own forward kinematics on
the measured joints tells where the hands were; what moves along with closed fingers was held.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from finevla.contract import ARM_SIDES, RobotContract
from finevla.contract.kinematics import tool_pose
from finevla.sim.scene import FIXED, Kind, ObjectSpec, SceneSpec
from finevla.sim.truth import FloatArray

HOLDING_M = 0.060
"""Fingers that are further open hold nothing."""
SLACK_M = 0.006
NEAR_M = 0.060
STEP_M = 0.002
PLAIN_M, PLAIN_LASTING = 0.025, 9
LASTING = 4
"""Frames that a hold lasts at least, from its first to its last."""


@dataclass(frozen=True, slots=True)
class Carry:
    """Frames first to last in which closed fingers held something.

    `plain` is false where it was so short, or moved so little, that one need not call it a hold.
    """

    side: str
    name: str
    first: int
    last: int
    plain: bool = True


@dataclass(frozen=True)
class Episode:
    """A recorded episode of T frames.

    Attributes:
        spec: The scene.
        joints: Measured joints, shape (T, 14), rad and m.
        poses: Pose of each object by name, shape (T, 7): xyz in m, quaternion wxyz.
        buttons: How far each button is pressed by name, shape (T,), m.
        contract: The robot.
        text: The instruction that was given; empty for none.
    """

    spec: SceneSpec
    joints: FloatArray
    poses: Mapping[str, FloatArray]
    buttons: Mapping[str, FloatArray]
    contract: RobotContract
    text: str = ""

    @property
    def frames(self) -> int:
        """T."""
        return len(self.joints)

    @cached_property
    def tips(self) -> Mapping[str, FloatArray]:
        """Points between the finger pads by side, shape (T, 3), m."""
        arms = {side: self.joints[:, self.contract.arm_slice(side)] for side in ARM_SIDES}
        return {
            side: np.array([tool_pose(self.contract, side, row)[:3, 3] for row in rows])
            for side, rows in arms.items()
        }

    @cached_property
    def openings(self) -> Mapping[str, FloatArray]:
        """Measured openings of the grippers by side, shape (T,), m."""
        return {side: self.joints[:, self.contract.grippers[side]] for side in ARM_SIDES}

    @cached_property
    def carries(self) -> tuple[Carry, ...]:
        """All times in which something was held, in the order of time."""
        loose = [item for item in self.spec.objects if item.kind not in FIXED]
        found = [carry for side in ARM_SIDES for item in loose for carry in self._carries(side, item)]
        held = [carry for carry in found if not any(self._nearer(carry, other) for other in found)]
        return tuple(sorted(held, key=lambda carry: carry.first))

    def _nearer(self, carry: Carry, other: Carry) -> bool:
        """Whether the hand holds another thing, so that this one is only dragged along."""
        if carry.side != other.side or carry.name == other.name:
            return False
        first, last = max(carry.first, other.first), min(carry.last, other.last)
        span = slice(first, last + 1)
        mine, its = (self.gap(c.side, self.spec.object(c.name))[span] for c in (carry, other))
        return first <= last and float(its.mean()) < float(mine.mean())

    def _carries(self, side: str, item: ObjectSpec) -> list[Carry]:
        tips, openings, place = self.tips[side], self.openings[side], self.poses[item.name][:, :3]
        way, hand = np.diff(place, axis=0), np.diff(tips, axis=0)
        along = np.linalg.norm(way - hand, axis=1) < 0.5 * np.linalg.norm(hand, axis=1) + STEP_M
        moved = (np.linalg.norm(way, axis=1) > STEP_M) & along & (openings[1:] < HOLDING_M)
        moved &= self.gap(side, item)[1:] < NEAR_M
        found: list[Carry] = []
        for t in np.nonzero(moved)[0] + 1:
            if found and t <= found[-1].last:
                continue
            limit = float(openings[t]) + SLACK_M
            first = last = int(t)
            while first > 0 and openings[first - 1] <= limit:
                first -= 1
            while last + 1 < self.frames and openings[last + 1] <= limit:
                last += 1
            if found and first <= found[-1].last:
                first = found.pop().first
            moved_m = float(np.ptp(place[first : last + 1], axis=0).max())
            if moved_m >= 0.010 and last - first >= LASTING:
                plain = moved_m >= PLAIN_M and last - first >= PLAIN_LASTING
                found.append(Carry(side, item.name, first, last, plain))
        return found

    def gap(self, side: str, item: ObjectSpec) -> FloatArray:
        """Distance of a hand from the middle, or the long axis, of an object at every frame, shape (T,)."""
        rel = self.tips[side] - self.poses[item.name][:, :3]
        if item.kind in {Kind.BAR, Kind.BOTTLE}:
            half = item.size[0 if item.kind is Kind.BAR else 1] / 2
            axes = np.array([rotation(pose)[:, 0] for pose in self.poses[item.name]])
            along = np.clip(np.sum(rel * axes, axis=1), -half, half)
            rel = rel - along[:, None] * axes
        return np.asarray(np.linalg.norm(rel, axis=1))

    def closings(self, side: str) -> list[int]:
        """Frames at which the fingers of an arm ended a way of 12 mm or more towards each other."""
        found, opening = [], self.openings[side]
        top = bottom = float(opening[0])
        closed = False
        for t, value in enumerate(float(v) for v in opening):
            resting = t + 1 == self.frames or float(opening[t + 1]) > value - 4e-4
            if not closed:
                top = max(top, value)
                if top - value >= 0.012 and resting:
                    found.append(t)
                    closed, bottom = True, value
            else:
                bottom = min(bottom, value)
                if value - bottom >= 0.008:
                    closed, top = False, value
        return found

    def attempts(self, item: ObjectSpec) -> int:
        """How often fingers closed at an object, taking over from the other hand not counted."""
        loose = [o for o in self.spec.objects if o.kind not in FIXED]
        count = 0
        for side in ARM_SIDES:
            others = [c for c in self.carries if c.side != side and c.name == item.name]
            for t in self.closings(side):
                gaps = {o.name: float(self.gap(side, o)[t]) for o in loose}
                nearest = min(gaps, key=lambda name: gaps[name])
                taking_over = any(c.first <= t <= c.last for c in others)
                count += nearest == item.name and gaps[nearest] < 0.045 and not taking_over
        return count

    def pressed_at(self, name: str) -> int | None:
        """Frame at which a button was first in by a third of its usual travel or more."""
        deep = np.nonzero(self.buttons[name] >= 0.004)[0]
        return int(deep[0]) if len(deep) else None

    def supports(self, item: ObjectSpec, t: int) -> set[str]:
        """Everything that an object can be said to rest in or on at a frame."""
        pose = self.poses[item.name][t]
        found: set[str] = set()
        clearance = float(pose[2]) - half_height(item, pose) - self.spec.look.table_z_m
        elsewhere = False
        for other in self.spec.objects:
            if other.name == item.name or other.kind in {Kind.PILLAR, Kind.BUTTON}:
                continue
            rel = pose[:3] - self.poses[other.name][t, :3]
            words, inner = self._support(item, pose, other, rel, clearance)
            found |= words
            elsewhere |= inner
        if abs(clearance) < 0.012 and not elsewhere:
            found.add("on the table")
        return found

    def _support(
        self, item: ObjectSpec, pose: FloatArray, other: ObjectSpec, rel: FloatArray, clearance: float
    ) -> tuple[set[str], bool]:
        """Words for one possible support, and whether it plainly is that one and no other."""
        off = float(np.hypot(rel[0], rel[1]))
        if other.kind is Kind.BOWL:
            inside = off < other.size[0] + 0.003 and clearance < 0.030
            return ({f"in the {self._which(other)}bowl"} if inside else set()), inside
        if other.kind is Kind.TRAY:
            inside = bool((np.abs(rel[:2]) < np.array(other.size) + 0.003).all()) and clearance < 0.030
            return ({"in the tray"} if inside else set()), inside
        if other.kind is Kind.PAD:
            name = "coaster" if item.kind is Kind.CUP else f"{self._which(other)}mark"
            on = off < other.size[0] + 0.005 and abs(clearance) < 0.012
            return ({f"on the {name}"} if on else set()), on and off < other.size[0] - 0.008
        if other.kind is Kind.CUBE:
            above = half_height(item, pose) + other.size[0] / 2
            on = abs(float(rel[2]) - above) < 0.010 and off < 0.035
            return ({f"on the {other.color} cube"} if on else set()), on
        return set(), False

    def _which(self, item: ObjectSpec) -> str:
        """Left or right, where there are two of a kind, by where they are."""
        pair = sorted(self.spec.of(item.kind), key=lambda other: -other.y)
        return ("left ", "right ")[pair.index(item)] if len(pair) == 2 else ""


def rotation(pose: FloatArray) -> FloatArray:
    """Rotation matrix of a pose (7,), shape (3, 3)."""
    w, v = float(pose[3]), np.asarray(pose[4:7], dtype=np.float64)
    cross = np.array([[0.0, -v[2], v[1]], [v[2], 0.0, -v[0]], [-v[1], v[0], 0.0]])
    return np.asarray(np.eye(3) + 2.0 * w * cross + 2.0 * cross @ cross)


def heading(poses: FloatArray) -> FloatArray:
    """Heading of an object's own x axis over time, rad, unwrapped, from poses (N, 7)."""
    axes = [rotation(pose)[:, 0] for pose in poses]
    return np.asarray(np.unwrap([np.arctan2(axis[1], axis[0]) for axis in axes]))


def half_height(item: ObjectSpec, pose: FloatArray) -> float:
    """Height of an object's middle above its lowest point, m, as it stands or lies."""
    if item.kind is Kind.BOTTLE:
        rise = abs(float(rotation(pose)[2, 0]))
        return rise * item.size[1] / 2 + (1.0 - rise) * item.size[0]
    extent: Mapping[Kind, Sequence[float]] = {
        Kind.CUBE: item.size[:1],
        Kind.BAR: item.size[2:3],
        Kind.CUP: item.size[1:2],
    }
    return extent.get(item.kind, (0.0,))[0] / 2


def things(spec: SceneSpec, words: str) -> list[ObjectSpec]:
    """All objects that a name such as `the red cube` can mean."""
    kinds = {"block": Kind.BAR, "cube": Kind.CUBE, "cup": Kind.CUP, "bottle": Kind.BOTTLE}
    kinds |= {"button": Kind.BUTTON}
    parts = words.lower().removeprefix("the ").split()
    color = parts[0] if len(parts) > 1 else ""
    return [o for o in spec.objects if o.kind is kinds.get(parts[-1]) and color in {"", o.color}]
