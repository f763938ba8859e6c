"""How a scene looks and is built: colours, texture, light, height of the table, where the camera hangs.

The plain look is that of the clean version of every task. The hard version draws all of it, after
RoboTwin's `demo_randomized` (table height down by up to 3 cm, light, background, clutter).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RGB = tuple[float, float, float]

TEXTURES = ("", "checks", "stripes", "speckles")
"""Patterns of the table top; the empty one is plain."""
TILE_M = (0.025, 0.09)
"""How wide the stripes and checks of a table top are."""
_TINT = 0.14
TABLE_DROP_M = 0.03
CAMERA_SHIFT_M = 0.010
CAMERA_TURN_RAD = 0.015


@dataclass(frozen=True, slots=True)
class Look:
    """Everything about a scene that no instruction speaks of.

    Attributes:
        table_rgb: Linear colour of the table top.
        table_rgb2: Second colour of its texture.
        texture: One of `TEXTURES`.
        tile_m: Width of a stripe or check; speckles are a third of it.
        wall_rgb: Linear colour of the walls.
        ambient: Ambient light, linear RGB.
        light: Directional light, linear RGB.
        light_direction: Where it shines to.
        table_z_m: Height of the table top; 0 is the contract's.
        camera_shift_m: Displacement of the overhead camera, xyz.
        camera_turn_rad: Turn of the overhead camera about its own axes.
    """

    table_rgb: RGB = (0.78, 0.75, 0.70)
    table_rgb2: RGB = (0.78, 0.75, 0.70)
    texture: str = ""
    tile_m: float = 0.05
    wall_rgb: RGB = (0.62, 0.66, 0.70)
    ambient: RGB = (0.55, 0.55, 0.55)
    light: RGB = (0.9, 0.9, 0.9)
    light_direction: RGB = (0.35, 0.25, -1.0)
    table_z_m: float = 0.0
    camera_shift_m: RGB = (0.0, 0.0, 0.0)
    camera_turn_rad: RGB = (0.0, 0.0, 0.0)


PLAIN = Look()


def draw_look(rng: np.random.Generator) -> Look:
    """A look of the hard version. The room keeps to pale colours, so that named ones stay plain to see."""
    base = np.clip(rng.uniform(0.45, 0.85) + rng.uniform(-_TINT, _TINT, 3), 0.3, 0.95)
    return Look(
        table_rgb=_rgb(base),
        table_rgb2=_rgb(np.clip(base * rng.uniform(0.55, 0.8) + rng.uniform(-0.08, 0.08, 3), 0.15, 0.95)),
        texture=str(rng.choice(TEXTURES)),
        tile_m=float(rng.uniform(*TILE_M)),
        wall_rgb=_rgb(rng.uniform(0.2, 0.9, 3)),
        ambient=_rgb(rng.uniform(0.40, 0.65) + rng.uniform(-0.06, 0.06, 3)),
        light=_rgb(rng.uniform(0.6, 1.1) + rng.uniform(-0.12, 0.12, 3)),
        light_direction=_rgb([*rng.uniform(-0.7, 0.7, 2), -1.0]),
        table_z_m=float(-rng.uniform(0.0, TABLE_DROP_M)),
        camera_shift_m=_rgb(rng.uniform(-CAMERA_SHIFT_M, CAMERA_SHIFT_M, 3)),
        camera_turn_rad=_rgb(rng.uniform(-CAMERA_TURN_RAD, CAMERA_TURN_RAD, 3)),
    )


def _rgb(values: object) -> RGB:
    a, b, c = (float(value) for value in np.asarray(values, dtype=np.float64))
    return (a, b, c)
