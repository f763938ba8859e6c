"""The unified vector of 80 numbers that holds any robot of one or two arms, and its mask.

Layout: FineVLA-Tool, `CanonicalizeAndClean/utils/UnifyJointAction.py`. A part of a robot fills the first
places of its slot; the mask is true exactly there, and all other numbers are zero. A robot with one arm fills
the right slots.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from finevla.contract.robot import ARM_SIDES
from finevla.errors import ContractError

WIDTH = 80
STATE, ACTION = "state.unified", "action.unified"
"""Keys of the two vectors in a dataset, float32, shape (80,)."""
STATE_MASK, ACTION_MASK = "mask.state", "mask.action"
"""Keys of their masks, bool, shape (80,)."""

JOINT, EEF, GRIPPER, HAND = "joint", "eef", "gripper", "hand"
RESERVED = "reserved"
_SIZES = {JOINT: 7, EEF: 9, GRIPPER: 1, HAND: 12}
"""Joints in rad; position in m and up to six numbers of rotation; opening; joints of a hand in rad."""


@dataclass(frozen=True, slots=True)
class Slot:
    """Neighbouring places of the vector.

    Attributes:
        name: Such as `left_joint`.
        start: The first place.
        size: Number of places.
    """

    name: str
    start: int
    size: int

    @property
    def end(self) -> int:
        """The place after the last one."""
        return self.start + self.size

    @property
    def side(self) -> str:
        """The arm that it belongs to; empty for reserved places."""
        return self.name.partition("_")[0] if self.name != RESERVED else ""

    @property
    def part(self) -> str:
        """What of the arm it holds: joint, eef, gripper, hand; or reserved."""
        return self.name.rpartition("_")[2]


def _slots() -> dict[str, Slot]:
    found: dict[str, Slot] = {}
    start = 0
    for side in ARM_SIDES:
        for part, size in _SIZES.items():
            found[f"{side}_{part}"] = Slot(f"{side}_{part}", start, size)
            start += size
    found[RESERVED] = Slot(RESERVED, start, WIDTH - start)
    return found


SLOTS: Mapping[str, Slot] = _slots()
"""All slots by name, in the order of the vector."""


def slot_name(side: str, part: str) -> str:
    """Name of a slot, from the arm and what of it."""
    return slot_of(f"{side}_{part}").name


def slot_of(name: str) -> Slot:
    """A slot that may be filled.

    Raises:
        ContractError: There is no such slot, or it is reserved.
    """
    if name not in SLOTS or name == RESERVED:
        raise ContractError(
            "the unified vector has no such slot",
            where=name,
            expected=", ".join(key for key in SLOTS if key != RESERVED),
            found=name,
            remedy="name one of these slots",
        )
    return SLOTS[name]


def place_names() -> list[str]:
    """A name for each of the 80 places, such as `left_eef.0`."""
    return [f"{slot.name}.{place}" for slot in SLOTS.values() for place in range(slot.size)]


def put(
    vector: NDArray[np.floating], mask: NDArray[np.bool_], name: str, values: NDArray[np.floating]
) -> None:
    """Fills a slot from its first place on, in place.

    Args:
        vector: Shape (T, 80).
        mask: Shape (80,).
        name: The slot.
        values: Shape (T, n), n from 1 to the size of the slot.

    Raises:
        ContractError: There is no such slot, it is too small, or it was filled before.
    """
    slot = slot_of(name)
    if values.ndim != 2 or not 1 <= values.shape[1] <= slot.size or len(values) != len(vector):
        raise ContractError(
            "values do not fit their slot of the unified vector",
            where=name,
            expected=f"({len(vector)}, 1 to {slot.size})",
            found=values.shape,
            remedy="split the part, or leave it out of the modality",
        )
    if mask[slot.start : slot.end].any():
        raise ContractError("a slot of the unified vector is filled twice", where=name)
    places = slice(slot.start, slot.start + values.shape[1])
    vector[:, places] = values
    mask[places] = True


def pack(parts: Mapping[str, NDArray[np.floating]]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The vector (T, 80) and its mask (80,) from values (T, n) by slot.

    Raises:
        ContractError: A slot is unknown or too small.
    """
    frames = len(next(iter(parts.values()))) if parts else 0
    vector, mask = np.zeros((frames, WIDTH), np.float32), np.zeros(WIDTH, np.bool_)
    for name, values in parts.items():
        put(vector, mask, name, values)
    return vector, mask


def take(vector: NDArray[np.floating], mask: NDArray[np.bool_], name: str) -> NDArray[np.floating]:
    """The values (T, n) of a slot; n is 0 where it is empty.

    Args:
        vector: Shape (T, 80).
        mask: Shape (80,).
        name: The slot.

    Raises:
        ContractError: There is no such slot, or the mask has a gap in it.
    """
    slot = slot_of(name)
    filled = mask[slot.start : slot.end]
    count = int(filled.sum())
    if not filled[:count].all():
        raise ContractError(
            "the mask of a slot has a gap",
            where=name,
            expected="the first places filled, the others not",
            found=np.flatnonzero(filled).tolist(),
            remedy="normalize the dataset again",
        )
    return vector[:, slot.start : slot.start + count]


def unpack(vector: NDArray[np.floating], mask: NDArray[np.bool_]) -> dict[str, NDArray[np.floating]]:
    """All filled slots, each (T, n).

    Raises:
        ContractError: The mask has a gap, or reserved places are filled.
    """
    if mask[SLOTS[RESERVED].start :].any():
        raise ContractError("reserved places of the unified vector are filled", where=RESERVED)
    names = [slot.name for slot in SLOTS.values() if mask[slot.start : slot.end].any()]
    return {name: take(vector, mask, name) for name in names}
