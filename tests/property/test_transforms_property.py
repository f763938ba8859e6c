"""Transforms come back to where they began, and the image transform keeps what it must."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from finevla.contract.images import WorkspaceCrop
from finevla.contract.transforms import Chain, JointStatistics, Normalize, transform_from_json
from finevla.errors import ContractError

numbers = st.floats(-10, 10)


@st.composite
def chains(draw: st.DrawFn) -> Chain:
    width = draw(st.integers(1, 5))
    names = tuple(f"joint{i}" for i in range(width))
    steps = []
    for _ in range(draw(st.integers(1, 3))):
        rows = draw(arrays(np.float64, (6, width), elements=numbers))
        rows[0, 0] = rows[1:, 0].max() + 1.0  # one joint moves
        floor = draw(arrays(np.float64, width, elements=st.floats(0.01, 1.0)))
        steps.append(Normalize(JointStatistics.of(names, rows), tuple(floor.tolist())))
    return Chain(tuple(steps))


@given(chains(), st.data())
@settings(deadline=None, max_examples=50)
def test_invert_undoes_apply_and_inputs_stay(chain: Chain, data: st.DataObject) -> None:
    values = data.draw(arrays(np.float64, (3, len(chain.names)), elements=numbers))
    before = values.copy()
    assert np.allclose(chain.invert(chain.apply(values)), values, atol=1e-6)
    assert np.array_equal(values, before)


@given(chains())
@settings(deadline=None, max_examples=50)
def test_json_round_trip(chain: Chain) -> None:
    assert transform_from_json(json.loads(json.dumps(chain.to_json()))) == chain


def test_chain_inverts_in_the_opposite_order() -> None:
    statistics = JointStatistics(("a",), (1.0,), (2.0,), (0.0,), (9.0,), 5)
    other = JointStatistics(("a",), (3.0,), (0.0,), (0.0,), (9.0,), 5)
    chain = Chain((Normalize(statistics, (0.5,)), Normalize(other, (4.0,))))
    assert chain.apply(np.array([5.0])).tolist() == [-0.25]  # ((5-1)/2 - 3)/4
    assert chain.invert(np.array([-0.25])).tolist() == [5.0]


def test_there_is_no_identity_by_default() -> None:
    for document in ({}, {"type": "identity"}, {"type": "chain", "steps": []}, {"type": "normalize"}):
        with pytest.raises(ContractError):
            transform_from_json(document)


def test_wrong_length_and_bad_floor_are_refused() -> None:
    statistics = JointStatistics.of(("a", "b"), np.array([[0.0, 1.0], [1.0, 2.0]]))
    with pytest.raises(ContractError, match="one value per joint"):
        Normalize(statistics, (0.1, 0.1)).invert(np.zeros(3))
    for floor in ((0.1,), (0.1, 0.0), (0.1, float("nan"))):
        with pytest.raises(ContractError, match="floors"):
            Normalize(statistics, floor)


@given(st.integers(20, 60), st.integers(20, 60), st.integers(1, 20), st.integers(1, 20), st.integers(0, 255))
@settings(deadline=None, max_examples=50)
def test_even_picture_stays_even(width: int, height: int, w: int, h: int, gray: int) -> None:
    crop = WorkspaceCrop((width, height), (0, 0, width, height), (w, h))
    result = crop(np.full((height, width, 3), gray, np.uint8))
    assert result.shape == (h, w, 3)
    assert (result == gray).all()


@given(arrays(np.uint8, (12, 18, 3)))
@settings(deadline=None, max_examples=50)
def test_whole_blocks_are_averaged(picture: np.ndarray) -> None:
    """Golden: where the factor is whole, the result is the rounded mean of each block."""
    crop = WorkspaceCrop((18, 12), (3, 2, 15, 10), (3, 4))
    blocks = picture[2:10, 3:15].reshape(4, 2, 3, 4, 3).astype(float).mean(axis=(1, 3))
    assert np.abs(crop(picture).astype(float) - blocks).max() <= 0.5 + 1e-9


def test_unaligned_weights_share_the_pixel() -> None:
    """Golden: 3 pixels to 2 give (a + b/2) / 1.5 and (b/2 + c) / 1.5."""
    row = np.array([[[30] * 3, [60] * 3, [90] * 3]] * 3, np.uint8)
    crop = WorkspaceCrop((3, 3), (0, 0, 3, 3), (2, 2))
    assert crop(row)[0, :, 0].tolist() == [40, 80]


def test_picture_of_another_size_is_refused() -> None:
    crop = WorkspaceCrop((32, 24), (0, 0, 32, 24), (8, 8))
    for wrong in (np.zeros((32, 24, 3), np.uint8), np.zeros((24, 32, 3), np.float32)):
        with pytest.raises(ContractError, match="not the one"):
            crop(wrong)


@pytest.mark.parametrize("box", [(5, 0, 5, 24), (0, 0, 33, 24), (-1, 0, 9, 9), (0, 0, 7, 24)])
def test_box_that_does_not_fit_is_refused(box: tuple[int, int, int, int]) -> None:
    with pytest.raises(ContractError, match="does not fit"):
        WorkspaceCrop((32, 24), box, (8, 8))


def test_crop_survives_json() -> None:
    crop = WorkspaceCrop((320, 240), (1, 2, 101, 102))
    assert WorkspaceCrop.from_json(json.loads(json.dumps(crop.to_json()))) == crop
    for document in ({}, {**crop.to_json(), "box": [1, 2, 3]}, {**crop.to_json(), "more": [1]}):
        with pytest.raises(ContractError):
            WorkspaceCrop.from_json(document)
