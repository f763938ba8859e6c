"""Muon for matrices and AdamW for the rest: who trains what, against torch's own optimizers, and resume."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from finevla.errors import PolicyError
from finevla.policy.model import build_network
from finevla.policy.presets import preset
from finevla.stages.train.checkpoint import restore_snapshot, take_snapshot
from finevla.stages.train.muon import MUON_RATE, Muon, Together, orthogonalized
from finevla.stages.train.optim import BETAS, make_optimizer, names_of, set_rates
from finevla.stages.train.schedule import Schedule


def gradients(network: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for value in network.parameters():
        value.grad = torch.randn(value.shape, generator=generator)


def weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in network.named_parameters()}


def test_muon_gets_the_hidden_matrices_and_nothing_else(toy, schedule: Callable[..., Schedule]) -> None:
    network = toy.network()
    groups = make_optimizer(network, schedule(optimizer="muon")).param_groups
    muon = {name for group in groups for name in group["names"] if group["muon"]}
    every = {name for group in groups for name in group["names"]}
    assert every == {name for name, _ in network.named_parameters()}
    assert {"backbone.blocks.0.qkv.weight", "backbone.stem.out.weight"} <= muon
    assert not {"head.out.weight", "head.queries", "backbone.text.embed.weight", "backbone.kind"} & muon
    assert all(dict(network.named_parameters())[name].ndim == 2 for name in muon)


def test_a_pretrained_model_stays_with_adamw(schedule: Callable[..., Schedule]) -> None:
    network = build_network(preset("qwen-tiny", "oft", dof=14, horizon=16), 0)
    for group in make_optimizer(network, schedule(optimizer="muon")).param_groups:
        assert not (group["muon"] and group["module"] == "vlm")


@pytest.mark.parametrize("shape", [(6, 6), (4, 9), (9, 4)])
def test_orthogonalizing_passes_each_singular_value_through_the_quintic(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    values = values / values.square().sum().sqrt()
    for _ in range(5):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    torch.testing.assert_close(orthogonalized(matrix), left @ torch.diag(values) @ right)
    assert values.min() > 0.6
    assert values.max() < 1.3
    assert orthogonalized(matrix.float()).dtype == torch.float32
    assert torch.equal(orthogonalized(torch.zeros(shape)), torch.zeros(shape))


def test_each_part_does_what_the_optimizer_of_torch_does(toy, schedule: Callable[..., Schedule]) -> None:
    rates = schedule(optimizer="muon", learning_rate=0.01, weight_decay=0.01, decay="constant", warmup=0)
    ours, plain = toy.network(), toy.network()
    before = weights(ours)
    optimizer = make_optimizer(ours, rates)
    muon = {name for group in optimizer.param_groups for name in group["names"] if group["muon"]}
    split = [[v for k, v in plain.named_parameters() if (k in muon) == flag] for flag in (False, True)]
    references = (
        torch.optim.AdamW(split[0], lr=0.01, betas=BETAS, weight_decay=0.01, fused=True),
        torch.optim.Muon(split[1], lr=MUON_RATE * 0.01, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
    )
    for step in range(3):
        set_rates(optimizer, rates, step)
        for network in (ours, plain):
            gradients(network, step)
        optimizer.step()
        for reference in references:
            reference.step()
    after, wanted = weights(ours), weights(plain)
    assert all(torch.equal(after[name], wanted[name]) for name in wanted if name not in muon)
    for name in muon:  # torch orthogonalizes in bfloat16, of eight bits
        error = (after[name] - wanted[name]).norm() / (wanted[name] - before[name]).norm()
        assert error < 0.02, name


def test_a_matrix_without_gradient_stays() -> None:
    still, moved = nn.Parameter(torch.ones(2, 3)), nn.Parameter(torch.ones(2, 3))
    moved.grad = torch.ones(2, 3)
    Muon([still, moved], lr=0.1, weight_decay=0.1).step()
    assert torch.equal(still, torch.ones(2, 3))
    assert not torch.equal(moved, torch.ones(2, 3))


def test_an_interrupted_run_goes_on_to_the_bit(toy, schedule: Callable[..., Schedule]) -> None:
    rates = schedule(optimizer="muon")

    def updates(network: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
        for step in steps:
            set_rates(optimizer, rates, step)
            gradients(network, step)
            optimizer.step()

    whole, part = toy.network(), toy.network()
    whole_optimizer, part_optimizer = make_optimizer(whole, rates), make_optimizer(part, rates)
    updates(whole, whole_optimizer, range(6))
    updates(part, part_optimizer, range(3))
    snapshot = take_snapshot(part, part_optimizer, None, 3, (1.0, 1.0, 1.0))
    fresh = toy.network()
    fresh_optimizer = make_optimizer(fresh, rates)
    restore_snapshot(snapshot, fresh, fresh_optimizer, None)
    updates(fresh, fresh_optimizer, range(3, 6))
    wanted = weights(whole)
    assert all(torch.equal(value, wanted[name]) for name, value in weights(fresh).items())
    assert len(names_of(fresh_optimizer)) == len(wanted)


def test_a_closure_is_called_with_gradients_on() -> None:
    weight = nn.Parameter(torch.ones(2, 2))
    optimizer = Together((Muon([weight], lr=0.2, weight_decay=0.0),))

    def closure() -> float:
        optimizer.zero_grad()
        loss = weight.square().sum()
        loss.backward()
        return loss.item()

    assert optimizer.step(closure) == 4.0
    assert not torch.equal(weight, torch.ones(2, 2))


def test_other_optimizers_are_refused(schedule: Callable[..., Schedule]) -> None:
    with pytest.raises(PolicyError, match="--optimizer"):
        schedule(optimizer="sgd")
