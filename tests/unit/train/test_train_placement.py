"""What cannot be trained where the network is placed is refused before the first update, by its flag."""

from __future__ import annotations

import pytest

from finevla.errors import PolicyError
from finevla.stages.train.engine import check_placement


@pytest.mark.parametrize(
    ("changed", "flag", "found"),
    [({"ema": 0.999}, "--ema", "0.999"), ({"optimizer": "muon"}, "--optimizer", "muon")],
)
def test_sharded_weights_are_neither_averaged_nor_trained_by_muon(schedule, changed, flag, found) -> None:
    with pytest.raises(PolicyError) as caught:
        check_placement(schedule(**changed), sharded=True, slices=1)
    assert (caught.value.where, caught.value.found) == (flag, found)
    assert flag in caught.value.remedy
    check_placement(schedule(**changed), sharded=False, slices=1)
    check_placement(schedule(), sharded=True, slices=1)


@pytest.mark.parametrize("slices", [4, 5, 7])
def test_a_batch_is_divided_into_equal_parts_or_refused(schedule, slices: int) -> None:
    with pytest.raises(PolicyError) as caught:
        check_placement(schedule(batch_size=6), sharded=False, slices=slices)
    assert caught.value.where == "--batch-size"
    assert str(slices) in caught.value.expected
    check_placement(schedule(batch_size=6), sharded=False, slices=3)
