"""Which parameters get which learning rate, and averaged weights against their formula."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from finevla.policy.model import build_network
from finevla.policy.presets import preset
from finevla.stages.train.ema import Ema
from finevla.stages.train.engine import warn_of_slow_bfloat16
from finevla.stages.train.optim import make_optimizer, names_of, set_rates
from finevla.stages.train.schedule import Schedule


def test_rates_land_on_the_right_parameters(toy, schedule: Callable[..., Schedule]) -> None:
    rates = schedule(learning_rate=1.0, vlm_rate=0.5, head_rate=0.25, decay="constant", warmup=0)
    for config in (preset("qwen-tiny", "flow", dof=14, horizon=16), toy.config("oft")):
        network = build_network(config, 0)
        optimizer = make_optimizer(network, rates)
        set_rates(optimizer, rates, 0)
        found = {
            name: group["lr"]
            for group in optimizer.param_groups
            for name, value in zip(group["names"], group["params"], strict=True)
            if value is dict(network.named_parameters())[name]
        }
        assert set(found) == {name for name, _ in network.named_parameters()}
        for name, rate in found.items():
            wanted = 0.25 if name.startswith("head.") else 0.5 if name.startswith("backbone.model.") else 1.0
            assert rate == wanted, name
    kinds = {name.split(".")[1] for name in found if found[name] == 1.0}
    assert {"text", "stem", "blocks"} <= kinds


def test_the_pretrained_model_is_a_group_of_its_own(schedule: Callable[..., Schedule]) -> None:
    network = build_network(preset("qwen-tiny", "oft", dof=14, horizon=16), 0)
    modules = [group["module"] for group in make_optimizer(network, schedule()).param_groups]
    assert modules[-2:] == ["vlm", "head"]


def test_betas_and_decay_are_those_of_the_paper(toy, schedule: Callable[..., Schedule]) -> None:
    optimizer = make_optimizer(toy.network(), schedule(weight_decay=1e-8))
    assert all(group["betas"] == (0.9, 0.95) for group in optimizer.param_groups)
    assert all(group["weight_decay"] == 1e-8 for group in optimizer.param_groups)
    assert len(names_of(optimizer)) == len(list(toy.network().parameters()))


def test_averages_follow_their_formula(toy) -> None:
    network, decay = toy.network(), 0.9
    ema = Ema(network, decay)
    name, parameter = next(iter(network.named_parameters()))
    wanted = parameter.detach().double().numpy().copy()
    rng = np.random.default_rng(0)
    for update in range(1, 101):
        with torch.no_grad():
            parameter.add_(torch.from_numpy(rng.normal(size=parameter.shape).astype(np.float32)))
        ema.update(update)
        d = min(decay, (1 + update) / (10 + update))
        wanted = d * wanted + (1 - d) * parameter.detach().double().numpy()
    assert np.allclose(ema.average[name].numpy(), wanted, atol=1e-5)
    assert ema.decay_at(1) == pytest.approx(2 / 11)
    assert ema.decay_at(1000) == decay


def test_lending_averages_leaves_no_trace(toy) -> None:
    network = toy.network()
    ema = Ema(network, 0.5)
    before = {name: value.detach().clone() for name, value in network.named_parameters()}
    with torch.no_grad():
        for value in ema.average.values():
            value.add_(1.0)
    with ema.swapped_in():
        assert all(p.equal(ema.average[name]) for name, p in network.named_parameters())
    assert all(p.equal(before[name]) for name, p in network.named_parameters())


@pytest.mark.parametrize(("capability", "told"), [("AVX2", True), ("AVX512", False), ("SVE256", False)])
def test_slow_bfloat16_is_told(capability: str, told: bool, caplog: pytest.LogCaptureFixture) -> None:
    warn_of_slow_bfloat16(capability)
    assert ("leave --precision out" in caplog.text) == told
