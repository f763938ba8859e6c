"""The grounding loss against a plain reference, and that it trains the first queried map where asked."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from finevla.errors import PolicyError
from finevla.policy.compact import Pointer
from finevla.policy.config import CompactConfig, PolicyConfig
from finevla.policy.grounding import Grounding, grounding_loss
from finevla.policy.inputs import Inputs
from finevla.policy.model import PolicyNetwork, build_network


def plain(logits: np.ndarray, place: tuple[float, float]) -> float:
    """The loss of one sample, cell by cell: cross-entropy against a bell of 1.5 cells."""
    height, width = logits.shape
    column, row = (place[0] + 1) / 2 * (width - 1), (place[1] + 1) / 2 * (height - 1)
    bell = {
        (y, x): math.exp(-((x - column) ** 2 + (y - row) ** 2) / (2 * 1.5**2))
        for y in range(height)
        for x in range(width)
    }
    norm, total = sum(bell.values()), math.log(np.exp(logits).sum())
    return -sum(share / norm * (logits[cell] - total) for cell, share in bell.items())


def test_it_is_the_cross_entropy_against_a_bell() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2, 5, 7))
    places = [(0.3, -0.8), (-1.0, 1.0)]
    found = float(grounding_loss(torch.from_numpy(logits), torch.tensor(places)))
    expected = np.mean([plain(sheet, place) for sheet, place in zip(logits, places, strict=True)])
    assert found == pytest.approx(expected, rel=1e-5)


def test_places_that_are_unknown_or_outside_count_nothing() -> None:
    logits = torch.randn(3, 4, 4)
    places = torch.tensor([[0.5, 0.0], [float("nan"), float("nan")], [0.0, 1.2]])
    assert torch.equal(grounding_loss(logits, places), grounding_loss(logits[:1], places[:1]))
    assert float(grounding_loss(logits, torch.full((3, 2), float("nan")))) == 0.0


def small(queried: int, pointing: int = 4) -> CompactConfig:
    sizes = {"width": 16, "layers": 1, "channels": (4, 4, 4), "maps": 4}
    return CompactConfig(vocabulary_size=5, queried=queried, pointing=pointing, **sizes)


def network(queried: int, pointing: int = 4) -> PolicyNetwork:
    part = small(queried, pointing)
    return build_network(PolicyConfig(cameras=2, dof=14, horizon=3, image_size=(32, 32), backbone=part), 0)


def batch() -> tuple[Inputs, torch.Tensor, torch.Tensor]:
    pictures = torch.rand((2, 2, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    inputs = Inputs(pictures, torch.tensor([[1, 2], [3, 0]]), torch.zeros(2, 14))
    return inputs, torch.zeros(2, 3, 14), torch.ones(2, 3, dtype=torch.bool)


def test_its_weight_adds_to_the_loss_of_the_head() -> None:
    policy = network(queried=2).eval()
    place = torch.tensor([[0.2, 0.1], [-0.4, 0.9]])
    base, more = (float(policy.loss(*batch(), None, Grounding(place, weight))) for weight in (0.0, 0.5))
    logits = policy.backbone(batch()[0], policy.head.queries).place_logits
    assert logits.shape == (2, 8, 8)  # of the first camera
    assert more - base == pytest.approx(0.5 * float(grounding_loss(logits, place)), rel=1e-4)
    assert base == pytest.approx(float(policy.loss(*batch())), rel=1e-6)


def test_training_on_it_marks_the_place() -> None:
    policy, place = network(queried=1), torch.tensor([[0.5, -0.5], [-0.5, 0.5]])
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        policy.loss(*batch(), None, Grounding(place, 1.0)).backward()
        optimizer.step()
    logits = policy.backbone(batch()[0], policy.head.queries).place_logits
    row, column = divmod(int(logits[0].argmax()), 8)
    assert abs(column - 0.75 * 7) <= 1.3
    assert abs(row - 0.25 * 7) <= 1.3


def test_a_backbone_that_marks_no_place_refuses_the_lesson() -> None:
    with pytest.raises(PolicyError, match="cannot mark a place"):
        network(queried=0).loss(*batch(), None, Grounding(torch.zeros(2, 2), 0.1))


def test_the_pointer_reads_the_place_as_waves() -> None:
    """Against the formula: the mean place under the squared map, and its sines and cosines."""
    pointer = Pointer(small(1, pointing=3)).eval()
    taken: list[torch.Tensor] = []
    pointer.mlp.register_forward_pre_hook(lambda _, inputs: taken.append(inputs[0]))
    logits = np.random.default_rng(0).normal(size=(2, 4, 6)).astype(np.float32)
    rows, columns = np.meshgrid(np.linspace(-1, 1, 4), np.linspace(-1, 1, 6), indexing="ij")
    condition = torch.randn(2, 16)
    with torch.no_grad():
        pointer(
            torch.from_numpy(logits),
            torch.from_numpy(np.stack([columns, rows]).astype(np.float32)),
            condition,
        )
    for sample in range(2):
        share = np.exp(2.0 * logits[sample])
        x, y = ((share * axis).sum() / share.sum() for axis in (columns, rows))
        angles = [math.pi * length * value for value in (x, y) for length in (0.5, 1.0, 2.0)]
        wanted = [x, y, *map(math.sin, angles), *map(math.cos, angles)]
        np.testing.assert_allclose(taken[0][sample, :14].numpy(), wanted, atol=1e-5)
        assert torch.equal(taken[0][sample, 14:], condition[sample])


def test_what_is_marked_reaches_the_actions_only_where_it_is_told() -> None:
    told, silent, unmarked = network(2), network(2, pointing=0), network(0)
    assert told.backbone.pointer is not None
    assert silent.backbone.pointer is None
    assert unmarked.backbone.pointer is None
    told.act(batch()[0]).sum().backward()
    assert all(float(value.grad.abs().sum()) > 0 for value in told.backbone.pointer.parameters())


def test_compiling_changes_no_name_and_hardly_a_number() -> None:
    plain_policy, compiled = network(queried=2).eval(), network(queried=2).eval()
    compiled.compile_backbone()
    assert set(plain_policy.state_dict()) == set(compiled.state_dict())
    with torch.no_grad():
        assert torch.allclose(plain_policy.act(batch()[0]), compiled.act(batch()[0]), atol=1e-5)
