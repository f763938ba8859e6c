"""Action chunks in time, named joints and the ten dimensions."""

from __future__ import annotations

import numpy as np
import pytest

from finevla.contract.dimensions import AXES, SLOTS, Dimension, DimensionValue
from finevla.contract.frame import NS_PER_S, ActionChunk
from finevla.contract.joints import reorder
from finevla.errors import ContractError


def chunk(rows: int) -> ActionChunk:
    targets = np.arange(rows, dtype=float)[:, None] * np.ones(14)
    return ActionChunk(5 * NS_PER_S, 0.1, targets, 5 * NS_PER_S, "i", "c")


@pytest.mark.parametrize(
    ("seconds", "value"),
    [(4.0, 0.0), (5.0, 0.0), (5.05, 0.5), (5.1, 1.0), (5.275, 2.75), (5.3, 3.0), (9.0, 3.0)],
)
def test_sample_is_linear_between_targets_and_clamped_outside(seconds: float, value: float) -> None:
    sampled = chunk(4).sample(round(seconds * NS_PER_S))
    assert sampled == pytest.approx(np.full(14, value), abs=1e-9)


def test_one_target_holds_for_ever_and_is_a_copy() -> None:
    single = chunk(1)
    sampled = single.sample(7 * NS_PER_S)
    sampled[:] = 9.0
    assert single.targets.max() == 0.0


def test_a_chunk_without_targets_cannot_be_sampled() -> None:
    empty = chunk(0)
    assert empty.end_ns == empty.t0_ns
    with pytest.raises(ValueError, match="nothing to sample"):
        empty.sample(0)


def test_end_is_the_stamp_of_the_last_target() -> None:
    assert chunk(4).end_ns == 5 * NS_PER_S + 3 * NS_PER_S // 10


def test_reorder_goes_by_name() -> None:
    assert reorder(["b", "a"], [2.0, 1.0], ["a", "b"]).tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("names", "values", "word"),
    [
        (["a"], [1.0], "missing \\['b'\\]"),
        (["a", "b", "c"], [1.0, 2.0, 3.0], "extra \\['c'\\]"),
        (["a", "b", "b"], [1.0, 2.0, 3.0], "duplicate \\['b'\\]"),
        (["a", "b"], [1.0], "1 values"),
        (["a", "b"], [1.0, float("nan")], "finite"),
        (["a", "b"], [1.0, float("inf")], "finite"),
    ],
)
def test_reorder_never_fills_in(names: list[str], values: list[float], word: str) -> None:
    with pytest.raises(ContractError, match=word):
        reorder(names, values, ["a", "b"], where="/topic")


def test_ten_dimensions_thirty_two_slots_three_axes() -> None:
    assert len(Dimension) == 10
    assert sum(len(slots) for slots in SLOTS.values()) == 32
    assert sorted(d for axis in AXES.values() for d in axis) == sorted(Dimension)


def test_a_slot_of_another_dimension_is_refused() -> None:
    DimensionValue(Dimension.ACTIVE_ACTOR, "actor", "left_arm")
    with pytest.raises(ValueError, match="no slot"):
        DimensionValue(Dimension.ACTIVE_ACTOR, "color", "red")
