"""What lies where: objects of a scene, how it looks, and reproducible chance."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from finevla.sim.look import PLAIN, Look
from finevla.sim.truth import CUBE

COLORS: Mapping[str, tuple[float, float, float]] = {
    "red": (0.80, 0.05, 0.04),
    "blue": (0.06, 0.16, 0.85),
    "green": (0.05, 0.55, 0.12),
    "yellow": (0.95, 0.80, 0.05),
}
"""Colours of what is asked for by colour: the word and the linear RGB value."""

CUBE_EDGE_M = 0.036
BOWL_RADIUS_M = 0.052
"""Inner radius of the bowl's ring."""
BOWL_HEIGHT_M = 0.034


class Kind(StrEnum):
    """Kinds of objects, and what `ObjectSpec.size` means for each, in m.

    cube (edge,); bar (length, width, height), the end ahead along its own x is light; bowl (inner
    radius,); cup (outer radius, height), its handle points along its own x; pad (radius,), a thin
    disc; bottle (radius, length), its axis is its own x, the neck ahead; pillar (radius, height);
    button (radius,); tray (half length, half width); clutter_box (edge x, y, z); clutter_can
    (radius, height).
    """

    CUBE = "cube"
    BAR = "bar"
    BOWL = "bowl"
    CUP = "cup"
    PAD = "pad"
    BOTTLE = "bottle"
    PILLAR = "pillar"
    BUTTON = "button"
    TRAY = "tray"
    CLUTTER_BOX = "clutter_box"
    CLUTTER_CAN = "clutter_can"


FIXED = frozenset({Kind.BOWL, Kind.PAD, Kind.PILLAR, Kind.BUTTON, Kind.TRAY})
"""Kinds that stand fast, as if screwed to the table."""


@dataclass(frozen=True, slots=True)
class ObjectSpec:
    """One object standing or lying on the table.

    Attributes:
        name: Unique in the scene; a cube's is its colour and `_cube`.
        kind: What it is; says what `size` means.
        x: Center on the table, m.
        y: Likewise.
        yaw: Turn about the vertical, rad.
        size: See `Kind`, m.
        color: A word of `COLORS`, or empty where no colour is ever asked for.
        rgb: Linear RGB value where there is no colour word.
    """

    name: str
    kind: Kind
    x: float
    y: float
    yaw: float = 0.0
    size: tuple[float, ...] = ()
    color: str = ""
    rgb: tuple[float, float, float] = (0.5, 0.5, 0.5)

    @property
    def paint(self) -> tuple[float, float, float]:
        """Its linear RGB value."""
        return COLORS[self.color] if self.color else self.rgb

    @property
    def xy(self) -> tuple[float, float]:
        """Where it is on the table, m."""
        return (self.x, self.y)


def cube(color: str, x: float, y: float, yaw: float = 0.0, edge: float = CUBE_EDGE_M) -> ObjectSpec:
    """A cube that is asked for by its colour."""
    return ObjectSpec(f"{color}{CUBE}", Kind.CUBE, x, y, yaw, (edge,), color)


def bowl(x: float, y: float, name: str = "bowl") -> ObjectSpec:
    """The bowl, or one of two."""
    return ObjectSpec(name, Kind.BOWL, x, y, 0.0, (BOWL_RADIUS_M,), rgb=(0.10, 0.08, 0.14))


@dataclass(frozen=True, slots=True)
class SceneSpec:
    """A scene: which objects lie where, and how the room looks.

    Attributes:
        task: Task that it was drawn for.
        seed: What it was drawn with.
        objects: What is on the table; clutter included.
        look: Colours, light, height of the table, cameras.
        hard: Whether it is of the randomised version.
        variant: Version of the task's scene; empty is the usual one.
    """

    task: str
    seed: int
    objects: tuple[ObjectSpec, ...]
    look: Look = field(default=PLAIN)
    hard: bool = False
    variant: str = ""

    def object(self, name: str) -> ObjectSpec:
        """The object of that name; KeyError where there is none."""
        return next((o for o in self.objects if o.name == name), None) or _missing(self, name)

    def of(self, kind: Kind) -> tuple[ObjectSpec, ...]:
        """All objects of a kind, in their order."""
        return tuple(o for o in self.objects if o.kind is kind)

    @property
    def colors(self) -> tuple[str, ...]:
        """Colours that can be asked for, in the order of the objects."""
        return tuple(o.color for o in self.objects if o.color)

    @property
    def movable(self) -> tuple[ObjectSpec, ...]:
        """What the task is about and can be moved: neither fixtures nor clutter."""
        clutter = {Kind.CLUTTER_BOX, Kind.CLUTTER_CAN}
        return tuple(o for o in self.objects if o.kind not in FIXED and o.kind not in clutter)


def _missing(spec: SceneSpec, name: str) -> ObjectSpec:
    raise KeyError(f"no object {name!r} in this scene of {spec.task}: {[o.name for o in spec.objects]}")


def seeded(*parts: object) -> np.random.Generator:
    """A generator that depends on all parts alike, the same on every machine and process."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))
