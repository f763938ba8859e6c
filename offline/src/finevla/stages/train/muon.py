"""Muon for the matrices of a small network, AdamW for everything else, as one optimizer.

Muon makes every update of a matrix turn all directions alike (Jordan et al. 2024; torch.optim.Muon). The
policy's way from a marked place to joint targets is limited by how fast it is fitted, not by its size:
Muon needs less than half of the updates there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch

BETAS = (0.9, 0.95)
MUON_RATE = 2.0
"""Learning rate of a matrix over that of AdamW; torch scales both to the same size of an update."""


class MuonAdamW(torch.optim.Optimizer):
    """AdamW for groups without, Muon for groups with `muon: True`; both keep their state here.

    Args:
        groups: Parameter groups; those of Muon hold matrices only.
        learning_rate: Of AdamW; groups have `rate_factor`, `MUON_RATE` for Muon and 1 otherwise.
        weight_decay: Of both.
        fused: Whether AdamW runs as one kernel.
    """

    def __init__(
        self, groups: Iterable[dict[str, Any]], learning_rate: float, weight_decay: float, *, fused: bool
    ) -> None:
        groups = list(groups)
        self._parts: list[tuple[bool, torch.optim.Optimizer]] = []
        if plain := [{**group, "rate_factor": 1.0} for group in groups if not group["muon"]]:
            adamw = torch.optim.AdamW(
                plain, lr=learning_rate, betas=BETAS, eps=1e-8, weight_decay=weight_decay, fused=fused
            )
            self._parts.append((False, adamw))
        if matrices := [{**group, "rate_factor": MUON_RATE} for group in groups if group["muon"]]:
            muon = torch.optim.Muon(
                matrices,
                lr=MUON_RATE * learning_rate,
                weight_decay=weight_decay,
                adjust_lr_fn="match_rms_adamw",
            )
            self._parts.append((True, muon))
        super().__init__([group for _, part in self._parts for group in part.param_groups], {})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update of all parameters."""
        loss = None if closure is None else torch.enable_grad()(closure)()
        for muon, part in self._parts:
            # Loading a checkpoint replaces groups and state, so both are handed over each time.
            part.param_groups = [group for group in self.param_groups if group["muon"] == muon]
            part.state = self.state
            part.step()
        return loss
