"""The course of one episode, and plain questions about it that several rules ask."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from finevla.contract import ARM_SIDES
from finevla.sim.imagine import grip_distance
from finevla.sim.props import BUTTON_TRAVEL_M
from finevla.sim.scene import Kind, ObjectSpec, SceneSpec
from finevla.sim.tasks.skills import LIFTED_M
from finevla.sim.truth import FloatArray, Truth, yaw_of

MOVED_M = 0.05
"""A hand or an object has moved when it is this far from where it was first."""
NEAR_M = 0.08
"""A hand acts on an object when its pads come this near to it and it has moved."""
REACH_M = 0.04
PRESSED_M = BUTTON_TRAVEL_M / 2
TURNED_RAD = np.deg2rad(20.0)
_SPACING_S = 0.018
"""Instants nearer in time than this to the one before are not kept, except as the last."""


class EpisodeLog:
    """Truth over time, from the first observation of a scene on."""

    def __init__(self, spec: SceneSpec) -> None:
        self.spec = spec
        self.truths: list[Truth] = []
        self._newest: Truth | None = None

    def add(self, truth: Truth) -> None:
        """Takes note of one instant."""
        self._newest = truth
        if not self.truths or truth.time_s - self.truths[-1].time_s >= _SPACING_S:
            self.truths.append(truth)

    @property
    def first(self) -> Truth:
        """The first instant; ValueError where there is none."""
        if not self.truths:
            raise ValueError("observe at least one instant before scoring")
        return self.truths[0]

    @property
    def last(self) -> Truth:
        """The newest instant; ValueError where there is none."""
        if self._newest is None:
            raise ValueError("observe at least one instant before scoring")
        return self._newest

    @cached_property
    def targets(self) -> tuple[ObjectSpec, ...]:
        """What can be acted on: movable objects and buttons."""
        return (*self.spec.movable, *self.spec.of(Kind.BUTTON))

    def hand_travel(self, side: str) -> float:
        """How far a hand got from where it was first, m."""
        return max(float(np.linalg.norm(t.tips[side] - self.first.tips[side])) for t in self.truths)

    def distances(self, side: str, item: ObjectSpec) -> FloatArray:
        """Distance of a hand from an object at every instant, m: from its surface's nearest usual grip."""
        return np.array([grip_distance(t.tips[side], t.objects[item.name], item) for t in self.truths])

    def nearest(self, side: str) -> float:
        """How near a hand came to anything that can be acted on, m."""
        return min((float(self.distances(side, item).min()) for item in self.targets), default=np.inf)

    def acting(self) -> list[str]:
        """Arms that acted: they moved, and came near something; the one that came nearest first."""
        reached = {side: self.nearest(side) for side in ARM_SIDES}
        acting = [s for s in ARM_SIDES if reached[s] < NEAR_M and self.hand_travel(s) >= MOVED_M]
        return sorted(acting, key=lambda side: reached[side])

    def lift_times(self) -> dict[str, float]:
        """When each object had first risen by 3 cm, s; objects that never did are absent."""
        times = {item.name: self._lifted(item) for item in self.spec.movable}
        return {name: time for name, time in times.items() if time is not None}

    def _lifted(self, item: ObjectSpec) -> float | None:
        start = float(self.first.place(item.name)[2])
        return next((t.time_s for t in self.truths if t.place(item.name)[2] - start >= LIFTED_M), None)

    def press_times(self) -> dict[str, float]:
        """When each button was first pressed by half its travel, s."""
        return {
            name: next(t.time_s for t in self.truths if t.joints[name] >= PRESSED_M)
            for name in self.first.joints
            if any(t.joints[name] >= PRESSED_M for t in self.truths)
        }

    def acted_colors(self) -> tuple[str, ...]:
        """Colours of what was lifted or pressed, in that order; things without a colour word are left out."""
        times = {**self.lift_times(), **self.press_times()}
        colors = {item.name: item.color for item in self.targets if item.color}
        return tuple(colors[name] for name in sorted(times, key=lambda name: times[name]) if name in colors)

    def first_touch(self, side: str, name: str) -> int | None:
        """Index of the first instant at which the fingers of an arm touch an object."""
        return next((i for i, t in enumerate(self.truths) if name in t.touching.get(side, ())), None)

    def yaw_turned(self, name: str) -> float:
        """How far an object was turned about the vertical, rad, counterclockwise positive, unwrapped."""
        yaws = np.unwrap([yaw_of(t.objects[name]) for t in self.truths])
        return float(yaws[-1] - yaws[0])

    def progress(self, side: str) -> dict[str, float]:
        """The parts reach, touch and move of the rubric, each 0 or 1."""
        names = [item.name for item in self.targets]
        touched = any(self.first_touch(side, name) is not None for name in names)
        return {
            "reach": float(self.nearest(side) < REACH_M),
            "touch": float(touched),
            "move": float(any(self._changed(item) for item in self.targets)),
        }

    def _changed(self, item: ObjectSpec) -> bool:
        if item.name in self.first.joints:
            return item.name in self.press_times()
        rise = max(float(t.place(item.name)[2]) for t in self.truths) - float(self.first.place(item.name)[2])
        way = float(np.linalg.norm(self.last.place(item.name) - self.first.place(item.name)))
        return rise >= LIFTED_M or way >= MOVED_M or abs(self.yaw_turned(item.name)) >= TURNED_RAD
