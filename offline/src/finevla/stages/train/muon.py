"""Muon for the matrices of a small network, AdamW for everything else, as one optimizer.

Muon makes every update of a matrix turn all directions alike (Jordan et al. 2024; torch.optim.Muon). The
policy's way from a marked place to joint targets is limited by how fast it is fitted, not by its size:
Muon needs less than half of the updates there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice

import torch

MUON_RATE = 2.0
"""Learning rate of a matrix over that of AdamW; torch scales both to the same size of an update."""


class Together(torch.optim.Optimizer):
    """Several optimizers as one: their groups, one after the other, and their state are here."""

    def __init__(self, parts: Sequence[torch.optim.Optimizer]) -> None:
        self._parts = parts
        super().__init__([group for part in parts for group in part.param_groups], {})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update of all parameters."""
        loss = None if closure is None else torch.enable_grad()(closure)()
        groups = iter(self.param_groups)
        for part in self._parts:
            # Loading a checkpoint replaces groups and state, so both are handed over each time.
            part.param_groups = list(islice(groups, len(part.param_groups)))
            part.state = self.state
            part.step()
        return loss
