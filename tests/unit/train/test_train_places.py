"""Where the hand acts next: read from commands, drawn into the picture, mirrored and rolled with it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from finevla.contract import load_contract
from finevla.contract.images import WorkspaceCrop
from finevla.contract.kinematics import tool_pose
from finevla.contract.mirror import Mirror
from finevla.errors import PolicyError
from finevla.sim.kinematics import solve_planar
from finevla.stages.train.augment import Augment
from finevla.stages.train.batches import BatchSource
from finevla.stages.train.mix import Mix
from finevla.stages.train.places import Workspace, next_places

CONTRACT = load_contract()
VIEW = Workspace(near=0.10, far=0.40, right=-0.15, left=0.15)


def visit(side: str, x: float, y: float) -> tuple[np.ndarray, int]:
    """Commands that go down to a point, close the gripper and rise; and the frame at which it closes."""
    arm = CONTRACT.arm_slice(side)
    heights = [0.12, 0.11, 0.08, 0.03, 0.03, 0.03, 0.03, 0.08, 0.11, 0.12]
    opening = [0.07, 0.07, 0.07, 0.07, 0.07, 0.045, 0.02, 0.02, 0.02, 0.02]
    rows = np.tile(CONTRACT.home, (len(heights), 1))
    for row, z, grip in zip(rows, heights, opening, strict=True):
        joints = solve_planar(CONTRACT, side, np.array([x, y, z]))
        row[arm] = [*joints[:6], grip]
        assert np.allclose(tool_pose(CONTRACT, side, row[arm])[:3, 3], (x, y, z), atol=1e-6)
    return rows, 4


@pytest.mark.parametrize(("side", "y"), [("left", 0.08), ("right", -0.05)])
def test_the_place_is_where_the_gripper_closes(side: str, y: float) -> None:
    rows, closes = visit(side, 0.24, y)
    places = next_places(rows, CONTRACT)
    assert np.allclose(places[: closes + 1], (0.24, y), atol=1e-6)
    assert np.isnan(places[closes + 1 :]).all()


def test_the_next_of_several_places_counts() -> None:
    first, closes = visit("left", 0.24, 0.08)
    second, _ = visit("right", 0.22, -0.06)
    left = CONTRACT.arm_slice("left")
    second[:, left] = first[-1, left]
    places = next_places(np.concatenate([first, second]), CONTRACT)
    assert np.allclose(places[closes], (0.24, 0.08), atol=1e-6)
    assert np.allclose(places[closes + 1], (0.22, -0.06), atol=1e-6)


def test_arms_at_rest_act_nowhere() -> None:
    assert np.isnan(next_places(np.tile(CONTRACT.home, (5, 1)), CONTRACT)).all()


def test_the_picture_has_forward_at_the_top_and_left_at_the_left() -> None:
    corners = np.array([[0.40, 0.15], [0.10, -0.15], [0.25, 0.0]])
    assert np.allclose(VIEW.on_picture(corners), [[-1, -1], [1, 1], [0, 0]])


def test_an_impossible_rectangle_is_refused() -> None:
    with pytest.raises(PolicyError, match="--workspace"):
        Workspace(0.4, 0.1, -0.15, 0.15)


def test_places_move_with_the_picture(cache, toy) -> None:
    places = np.tile([0.25, -0.5], (len(cache.state), 1))
    mirror, crop = Mirror(CONTRACT), WorkspaceCrop((320, 240), (102, 50, 218, 166), (32, 32))
    seen = replace(cache, images={CONTRACT.sync.pivot: crop})

    def source(augment: Augment) -> BatchSource:
        mix = Mix.parse("fg")
        return BatchSource(
            seen, toy.codec, toy.chain, toy.chain, 16, 15, mix, mirror=mirror, augment=augment, places=places
        )

    still = {"brightness": 0.0, "tint": 0.0, "state_noise": 0.0}
    flipped = source(Augment(**still, roll_px=0, mirror=1.0)).draw(toy.frames, 4, 0, 0).place.numpy()
    assert np.allclose(flipped, (-0.25, -0.5))
    moved = source(Augment(**still, roll_px=2)).draw(toy.frames, 64, 0, 0).place.numpy()
    steps = (moved - (0.25, -0.5)) * 32 / 2
    assert np.allclose(steps, np.round(steps), atol=1e-4)
    assert {int(v) for v in np.unique(np.round(steps))} == {-2, -1, 0, 1, 2}
    assert toy.source.draw(toy.frames, 4, 0, 0).place is None
