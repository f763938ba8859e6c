"""The OFT head against a plain numpy version of the paper's formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from finevla.errors import PolicyError
from finevla.policy.config import OftConfig
from finevla.policy.inputs import Encoded, Prefix
from finevla.policy.oft import OftHead

WIDTH, HIDDEN, HORIZON, DOF = 6, 12, 5, 3
NOISE = torch.Generator()
STATE = torch.zeros(2, DOF)


def layer_norm(x: np.ndarray, gain: np.ndarray, shift: np.ndarray) -> np.ndarray:
    centered = x - x.mean(-1, keepdims=True)
    return centered / np.sqrt((centered**2).mean(-1, keepdims=True) + 1e-5) * gain + shift


def by_hand(weights: list[np.ndarray], x: np.ndarray) -> np.ndarray:
    """LN - Linear - ReLU - [x + ReLU(Linear(LN(x)))] x 2 - LN - Linear, weights in that order."""
    take = iter(weights)
    x = layer_norm(x, next(take), next(take))
    x = np.maximum(x @ next(take).T + next(take), 0.0)
    for _ in range(2):
        inner = layer_norm(x, next(take), next(take))
        x = x + np.maximum(inner @ next(take).T + next(take), 0.0)
    x = layer_norm(x, next(take), next(take))
    return x @ next(take).T + next(take)


def test_paper_head_is_the_formula() -> None:
    torch.manual_seed(0)
    head = OftHead(OftConfig(hidden=HIDDEN, blocks=2), WIDTH, HORIZON, DOF)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter)  # norms with gains and shifts that show
    queries = torch.randn(2, HORIZON, WIDTH)
    out = head.act(Encoded(torch.zeros(2, 1, WIDTH), queries), STATE, NOISE, None)
    state = head.state_dict()
    assert next(iter(state)) == "queries"
    weights = [value.double().numpy() for name, value in state.items() if name != "queries"]
    assert weights[2].shape == (HIDDEN, WIDTH)
    assert np.allclose(out.detach().numpy(), by_hand(weights, queries.double().numpy()), atol=1e-4)


def test_without_blocks_the_head_is_one_linear_layer() -> None:
    head = OftHead(OftConfig(), WIDTH, HORIZON, DOF)
    assert set(head.state_dict()) == {"queries", "out.weight", "out.bias"}
    queries = torch.randn(2, HORIZON, WIDTH)
    out = head.act(Encoded(torch.zeros(2, 1, WIDTH), queries), STATE, NOISE, None)
    assert torch.allclose(out, queries @ head.out.weight.T + head.out.bias, atol=1e-6)


def test_l1_counts_valid_targets_only() -> None:
    head = OftHead(OftConfig(), WIDTH, HORIZON, DOF)
    encoded = Encoded(torch.zeros(2, 1, WIDTH), torch.zeros(2, HORIZON, WIDTH))
    with torch.no_grad():
        head.out.bias.zero_()
    target = torch.full((2, HORIZON, DOF), 1e6)
    valid = torch.zeros(2, HORIZON, dtype=torch.bool)
    for sample, step, value in ((0, 0, 1.0), (0, 1, -3.0), (1, 0, 5.0)):
        target[sample, step], valid[sample, step] = value, True
    assert head.loss(encoded, STATE, target, valid, NOISE).item() == pytest.approx(3.0)
    nothing = torch.zeros_like(valid)
    assert head.loss(encoded, STATE, target, nothing, NOISE).item() == 0.0


def test_a_running_chunk_cannot_be_continued() -> None:
    head = OftHead(OftConfig(), WIDTH, HORIZON, DOF)
    encoded = Encoded(torch.zeros(2, 1, WIDTH), torch.zeros(2, HORIZON, WIDTH))
    with pytest.raises(PolicyError, match="cannot continue"):
        head.act(encoded, STATE, NOISE, Prefix(torch.zeros(2, 1, DOF), torch.ones(1)))
