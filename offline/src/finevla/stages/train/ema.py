"""Averaged weights: an exponential moving average over the updates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Ema:
    """Follows the trainable parameters of a network.

    After update n (from 1) the average is `d * average + (1 - d) * weight` with
    `d = min(decay, (1 + n) / (10 + n))`: a fresh network's weights are forgotten within the first
    updates, however large the decay is. Averages are held in float32.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        """Begins at the weights of `network`."""
        self.decay = decay
        self._parameters = {n: p for n, p in network.named_parameters() if p.requires_grad}
        self.average = {n: p.detach().to(torch.float32, copy=True) for n, p in self._parameters.items()}

    def decay_at(self, updates: int) -> float:
        """The decay that update number `updates`, from 1, uses."""
        return min(self.decay, (1 + updates) / (10 + updates))

    @torch.no_grad()
    def update(self, updates: int) -> None:
        """Takes in the weights after update number `updates`, from 1."""
        now = [p.detach().to(torch.float32) for p in self._parameters.values()]
        torch._foreach_lerp_(list(self.average.values()), now, 1.0 - self.decay_at(updates))

    @torch.no_grad()
    def restore(self, average: Mapping[str, Tensor]) -> None:
        """Takes averages from a checkpoint.

        Raises:
            KeyError, RuntimeError: One is missing or of another shape.
        """
        for name, value in self.average.items():
            value.copy_(average[name])

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Lends the averages to the network; its own weights come back to the last bit."""
        own = {name: p.detach().clone() for name, p in self._parameters.items()}
        self._lend(self.average)
        try:
            yield
        finally:
            self._lend(own)

    @torch.no_grad()
    def _lend(self, weights: Mapping[str, Tensor]) -> None:
        for name, parameter in self._parameters.items():
            parameter.copy_(weights[name])
