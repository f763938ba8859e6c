"""The slots of the unified vector are the paper's, and their masks say what is filled."""

from __future__ import annotations

import numpy as np
import pytest

from finevla.contract import unified
from finevla.errors import ContractError

PUBLISHED = {
    "left_joint": (0, 7),
    "left_eef": (7, 16),
    "left_gripper": (16, 17),
    "left_hand": (17, 29),
    "right_joint": (29, 36),
    "right_eef": (36, 45),
    "right_gripper": (45, 46),
    "right_hand": (46, 58),
    "reserved": (58, 80),
}


def test_the_slots_are_the_papers_and_cover_the_vector() -> None:
    assert {slot.name: (slot.start, slot.end) for slot in unified.SLOTS.values()} == PUBLISHED
    assert len(unified.place_names()) == len(set(unified.place_names())) == unified.WIDTH == 80
    assert [unified.SLOTS[name].side for name in ("left_eef", "right_hand", "reserved")] == [
        "left",
        "right",
        "",
    ]


def test_what_is_put_can_be_taken_and_nothing_else_is_set() -> None:
    rng = np.random.default_rng(0)
    parts = {"left_joint": rng.normal(size=(4, 6)), "right_eef": rng.normal(size=(4, 7))}
    vector, mask = unified.pack(parts)
    assert (vector.dtype, vector.shape, mask.dtype) == (np.float32, (4, 80), np.bool_)
    assert np.flatnonzero(mask).tolist() == [*range(6), *range(36, 43)]
    assert not vector[:, ~mask].any()
    back = unified.unpack(vector, mask)
    assert list(back) == list(parts)
    for name, values in parts.items():
        np.testing.assert_array_equal(back[name], values.astype(np.float32))
    assert unified.take(vector, mask, "left_hand").shape == (4, 0)


@pytest.mark.parametrize(
    ("name", "width"),
    [("left_joint", 8), ("right_gripper", 2), ("reserved", 1), ("tail", 1), ("left_eef", 0)],
)
def test_what_has_no_room_is_refused(name: str, width: int) -> None:
    with pytest.raises(ContractError):
        unified.pack({name: np.zeros((3, width))})


def test_a_slot_is_filled_once_and_a_mask_has_no_gap() -> None:
    vector, mask = unified.pack({"left_joint": np.ones((2, 3))})
    with pytest.raises(ContractError, match="twice"):
        unified.put(vector, mask, "left_joint", np.ones((2, 2)))
    mask[1] = False
    with pytest.raises(ContractError, match="gap"):
        unified.take(vector, mask, "left_joint")
    mask[60] = True
    with pytest.raises(ContractError, match="reserved"):
        unified.unpack(vector, mask)
