"""How long a run is and how its learning rates rise and fall, all in updates.

`cosine` is ours: a linear rise times a cosine that begins with the first update. The other two are
those of `transformers.optimization`, as the paper's runs used them: `cosine_with_min_lr` (first the
rise, then a cosine down to a floor) and `constant` (a rise, then no change).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from finevla.errors import PolicyError

Decay = Literal["cosine", "cosine_with_min_lr", "constant"]
Optimizer = Literal["adamw", "muon"]
Module = Literal["base", "vlm", "head"]
MODULES: tuple[Module, ...] = get_args(Module)
"""Parts of a network with a learning rate of their own: `vlm` is the pretrained model inside of a
backbone, `head` the action head, `base` everything else."""


def require(settings: Mapping[str, int], least: int) -> None:
    """Checks that no setting, named by its flag, is too small.

    Raises:
        PolicyError: One of them is; the message names it.
    """
    for flag, value in settings.items():
        if value < least:
            raise PolicyError(
                "a setting of the training is too small",
                where=flag,
                expected=f"at least {least}",
                found=value,
                remedy="leave the flag out for its default, or give a larger number",
            )


@dataclass(frozen=True, slots=True)
class Schedule:
    """Lengths and rates of a run.

    Args:
        steps: Updates.
        batch_size: Samples per update, over all processes.
        learning_rate: Highest rate of the base; of the others too, where they have none of their own.
        warmup: Updates of the rise; at most a quarter of `steps` is used.
        seed: Fixes weights, batches, augmentation, noise and split.
        probe_every: Updates between two measurements.
        save_every: Updates between two checkpoints.
        vlm_rate: Highest rate of the pretrained model.
        head_rate: Highest rate of the action head.
        decay: What follows the rise.
        min_rate: Floor of the base's rate for `cosine_with_min_lr`; other rates keep their ratio to it.
        weight_decay: Of the optimizer.
        optimizer: AdamW, or Muon for the matrices outside of a pretrained model, see `muon`.
        clip: Largest norm of the gradient.
        accumulate: Parts that each process takes of its share of a batch, one after the other.
        ema: Decay of the averaged weights; 0 keeps none.
        grounding: Weight of the grounding loss; 0 trains none.

    Raises:
        PolicyError: A number is not usable; the message names its flag.
    """

    steps: int
    batch_size: int
    learning_rate: float
    warmup: int
    seed: int
    probe_every: int
    save_every: int
    vlm_rate: float | None = None
    head_rate: float | None = None
    decay: Decay = "cosine"
    min_rate: float = 0.0
    weight_decay: float = 1e-4
    optimizer: Optimizer = "adamw"
    clip: float = 1.0
    accumulate: int = 1
    ema: float = 0.0
    grounding: float = 0.0

    def __post_init__(self) -> None:
        """Refuses a run that cannot make a single update."""
        counts = {
            "--steps": self.steps,
            "--batch-size": self.batch_size,
            "--probe-every": self.probe_every,
            "--save-every": self.save_every,
            "--accumulate": self.accumulate,
        }
        require(counts, 1)
        require({"--warmup": self.warmup, "--seed": self.seed}, 0)
        rates = {"--lr": self.learning_rate, "--vlm-lr": self.vlm_rate, "--head-lr": self.head_rate}
        for flag, rate in rates.items():
            _check(rate is None or 0.0 < rate < math.inf, flag, "a positive number such as 1e-3", rate)
        for flag, value, most in (
            ("--min-lr", self.min_rate, self.learning_rate),
            ("--weight-decay", self.weight_decay, 1.0),
        ):
            _check(0.0 <= value <= most, flag, f"0 to {most}", value)
        _check(0.0 < self.clip < math.inf, "--clip", "a positive number such as 1.0", self.clip)
        _check(
            0.0 <= self.grounding < 100.0,
            "--grounding",
            "0 (none) or a small weight such as 0.05",
            self.grounding,
        )
        _check(0.0 <= self.ema < 1.0, "--ema", "0 (none) or a decay below 1 such as 0.999", self.ema)
        _check(
            self.optimizer in get_args(Optimizer), "--optimizer", list(get_args(Optimizer)), self.optimizer
        )
        _check(self.decay in get_args(Decay), "--decay", list(get_args(Decay)), self.decay)

    def factor(self, step: int) -> float:
        """Share of the highest rate that update `step` (from 0) takes."""
        rise = max(1, min(self.warmup, self.steps // 4)) if self.warmup else 0
        if self.decay == "cosine":
            lift = min(1.0, (step + 1) / max(1, rise))
            return lift * 0.5 * (1.0 + math.cos(math.pi * step / self.steps))
        if self.decay == "constant":
            return step / rise if step < rise else 1.0
        if step < rise:
            return step / rise
        floor = self.min_rate / self.learning_rate
        fall = 0.5 * (1.0 + math.cos(math.pi * (step - rise) / max(1, self.steps - rise)))
        return fall * (1.0 - floor) + floor

    def highest(self, module: Module) -> float:
        """Highest learning rate of a part of the network."""
        own = {"base": self.learning_rate, "vlm": self.vlm_rate, "head": self.head_rate}[module]
        return self.learning_rate if own is None else own

    def rate(self, step: int, module: Module = "base") -> float:
        """Learning rate of a part of the network in update `step`, from 0."""
        return self.highest(module) * self.factor(step)


def _check(right: bool, flag: str, expected: object, found: object) -> None:
    if not right:
        raise PolicyError(
            "a setting of the training is not usable",
            where=flag,
            expected=expected,
            found=found,
            remedy="leave the flag out for the value of its preset, or correct it",
        )
