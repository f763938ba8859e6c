"""Learning rates against plain formulas and against the functions that the paper's runs used."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from transformers import get_scheduler

from finevla.errors import PolicyError
from finevla.stages.train.recipes import RECIPES, recipe
from finevla.stages.train.schedule import Schedule

Make = Callable[..., Schedule]


def test_ours_is_a_rise_times_a_cosine(schedule: Make) -> None:
    ours = schedule(steps=1000, warmup=100, learning_rate=1.0)
    assert ours.rate(0) == pytest.approx(0.01)
    assert ours.rate(49) == pytest.approx(0.5 * 0.5 * (1 + math.cos(math.pi * 0.049)))
    assert ours.rate(500) == pytest.approx(0.5)
    assert ours.rate(999) < 1e-5


@pytest.mark.parametrize(
    ("decay", "theirs", "warmup", "floor"),
    [
        ("cosine_with_min_lr", "cosine_with_min_lr", 20, 5e-7),
        ("cosine_with_min_lr", "cosine", 20, 0.0),
        ("constant", "constant", 0, 0.0),
        ("constant", "constant_with_warmup", 20, 0.0),
    ],
)
def test_rates_are_those_of_transformers(
    schedule: Make, decay: str, theirs: str, warmup: int, floor: float
) -> None:
    ours = schedule(steps=200, warmup=warmup, learning_rate=2e-5, head_rate=1e-4, decay=decay, min_rate=floor)
    values = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    groups = [{"params": [values[0]], "lr": 2e-5}, {"params": [values[1]], "lr": 1e-4}]
    optimizer = torch.optim.AdamW(groups, lr=2e-5)
    extra = {"min_lr": floor} if theirs == "cosine_with_min_lr" else {}
    reference = get_scheduler(theirs, optimizer, warmup, 200, scheduler_specific_kwargs=extra)
    for step in range(200):
        base, head = (group["lr"] for group in optimizer.param_groups)
        assert ours.rate(step) == pytest.approx(base, abs=1e-18)
        assert ours.rate(step, "head") == pytest.approx(head, abs=1e-18)
        optimizer.step()
        reference.step()


def test_each_part_has_its_own_rate(schedule: Make) -> None:
    rates = schedule(learning_rate=2e-5, vlm_rate=1e-5, decay="constant", warmup=0)
    assert [rates.rate(3, part) for part in ("base", "vlm", "head")] == [2e-5, 1e-5, 2e-5]


def test_presets_are_the_published_schedules() -> None:
    pretrain, sft, clean = recipe("rdt-gr00t"), recipe("robotwin-sft"), recipe("robotwin-clean")
    assert (pretrain.steps, pretrain.lr, pretrain.vlm_lr, pretrain.head_lr) == (100_000, 2e-5, 1e-5, 1e-4)
    assert (pretrain.decay, pretrain.min_lr, pretrain.warmup) == ("cosine_with_min_lr", 5e-7, 5_000)
    assert (sft.steps, sft.batch_size, sft.lr, sft.vlm_lr, sft.head_lr) == (100_000, 128, 5e-6, 5e-6, 5e-5)
    assert (sft.decay, sft.warmup) == ("constant", 0)
    assert (clean.steps, clean.lr, clean.warmup, clean.min_lr) == (30_000, 2e-5, 1_000, 0.0)
    assert all(r.weight_decay == 1e-8 for name, r in RECIPES.items() if name != "compact")
    with pytest.raises(PolicyError, match="robotwin-sft"):
        recipe("no-such")


def test_a_short_run_does_not_only_rise(schedule: Make) -> None:
    short = schedule(steps=100, warmup=5_000, decay="cosine_with_min_lr")
    assert short.factor(25) == 1.0


@pytest.mark.parametrize(
    ("field", "value", "flag"),
    [
        ("head_rate", 0.0, "--head-lr"),
        ("min_rate", 1.0, "--min-lr"),
        ("clip", 0.0, "--clip"),
        ("ema", 1.0, "--ema"),
        ("decay", "linear", "--decay"),
        ("accumulate", 0, "--accumulate"),
        ("weight_decay", -1.0, "--weight-decay"),
    ],
)
def test_an_impossible_setting_is_named(schedule: Make, field: str, value: object, flag: str) -> None:
    with pytest.raises(PolicyError, match=flag):
        schedule(**{field: value})
