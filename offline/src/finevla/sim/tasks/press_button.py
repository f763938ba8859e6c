"""Press the named one of two buttons."""

from __future__ import annotations

import numpy as np

from finevla.contract import ARM_SIDES
from finevla.sim.goal import Goal
from finevla.sim.props import BUTTON_HEIGHT_M, BUTTON_TRAVEL_M
from finevla.sim.scene import COLORS, Kind, ObjectSpec, SceneSpec
from finevla.sim.tasks.base import Plan, Task, View, Waypoint
from finevla.sim.tasks.place import scatter
from finevla.sim.tasks.skills import CLOSED_M, FUNNEL, apart, at
from finevla.sim.truth import Truth

BUTTON = "_button"
"""What the name of a button ends in; its colour comes before it."""
PRESSED = 0.6
"""Share of its travel from which on a button counts as pressed."""
SPARED = 0.2
"""Share of its travel up to which the other button counts as left alone."""
CAP_RADIUS_M = 0.020

_X_M, _Y_M = (0.185, 0.265), (-0.10, 0.10)
_GAP_M = 0.085
_TILT_RAD = 0.30
_HOVER_Z_M = 0.085
_PRESS_Z_M = BUTTON_HEIGHT_M + 0.012
"""Height of the pads at which the fingers, which end 1 cm below, have pressed most of the travel."""
_ENOUGH = 0.8
"""Share of its travel at which the hand rises again."""


class PressButton(Task):
    """Press the named button and rise."""

    name = "press_button"
    summary = "press the named one of two buttons and leave the other alone"
    factors = ("arm", "color")
    max_frames = 100

    def load(self, rng: np.random.Generator, variant: str) -> tuple[ObjectSpec, ...]:
        """Two buttons of different colours in reach of both arms."""
        del variant
        colors = [str(word) for word in rng.permutation(list(COLORS))][:2]
        spots = scatter(rng, 2, x=_X_M, y=_Y_M, gap=_GAP_M)
        return tuple(
            ObjectSpec(f"{color}{BUTTON}", Kind.BUTTON, float(x), float(y), size=(CAP_RADIUS_M,), color=color)
            for color, (x, y) in zip(colors, spots, strict=True)
        )

    def goals(self, spec: SceneSpec) -> tuple[Goal, ...]:
        """Each arm with each button."""
        return tuple(Goal(spec.task, arm, color) for arm in ARM_SIDES for color in spec.colors)

    def expert(self, view: View) -> Plan:
        """Close the gripper over the button, straight down, straight up."""
        return {view.goal.arm: _waypoint(view)}

    def success(self, truth: Truth, goal: Goal, spec: SceneSpec) -> bool:
        """The named button is in, every other one is out, and the hand is clear above."""
        name = f"{goal.color}{BUTTON}"
        others = [depth for other, depth in truth.joints.items() if other != name]
        spared = all(depth < SPARED * BUTTON_TRAVEL_M for depth in others)
        clear = float(truth.tips[goal.arm][2]) - spec.look.table_z_m > _HOVER_Z_M - 0.015
        return truth.joints[name] >= PRESSED * BUTTON_TRAVEL_M and spared and clear


def _waypoint(view: View) -> Waypoint:
    hand, name = view.hand, f"{view.goal.color}{BUTTON}"
    place, table = view.truth.place(name), view.table_z
    height = float(hand.tip[2]) - table - _PRESS_Z_M
    if view.truth.joints[name] >= _ENOUGH * BUTTON_TRAVEL_M:
        return Waypoint(at(hand.commanded_tip, table + _HOVER_Z_M), CLOSED_M, _TILT_RAD)
    shut = hand.opening < 0.008
    if shut and apart(hand.tip, place) < 0.006 + FUNNEL * max(height, 0.0):
        return Waypoint(at(place, table + _PRESS_Z_M), CLOSED_M, _TILT_RAD)
    return Waypoint(at(place, table + _HOVER_Z_M), CLOSED_M, _TILT_RAD)
