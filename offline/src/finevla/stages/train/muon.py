"""Muon for the matrices of a small network, AdamW for everything else, as one optimizer.

Muon makes every update of a matrix turn all directions alike (Jordan et al. 2024). The
policy's way from a marked place to joint targets is limited by how fast it is fitted, not by its size:
Muon needs less than half of the updates there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import islice

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

MUON_RATE = 2.0
"""Learning rate of a matrix over that of AdamW; `Muon` gives both the same size of an update."""
MOMENTUM = 0.95
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of the quintic iteration, Jordan et al. 2024."""
ITERATIONS = 5
RMS = 0.2
"""Root mean square of an AdamW update, which an update of a matrix is scaled to (Liu et al. 2025, 2.2)."""


def orthogonalized(matrix: Tensor) -> Tensor:
    """The nearest matrix, about, whose singular values are all alike: between 0.7 and 1.2.

    Computed in the matrix' own precision. `torch.optim.Muon` rounds to bfloat16 first, which a processor
    without instructions for it computes 50 times slower than float32.

    Args:
        matrix: Shape (m, n).
    """
    a, b, c = NEWTON_SCHULZ
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    wide = wide / wide.norm().clamp(min=1e-7)  # no singular value above 1
    for _ in range(ITERATIONS):
        gram = wide @ wide.T
        wide = torch.addmm(wide, torch.addmm(gram, gram, gram, beta=b, alpha=c), wide, beta=a)
    return wide if matrix.shape[0] <= matrix.shape[1] else wide.T


class Muon(torch.optim.Optimizer):
    """Momentum whose steps are orthogonalized, for matrices; weights decay on their own.

    Formulas of Jordan et al. 2024, with the size of a step of Liu et al. 2025 (arXiv 2502.16982).
    """

    def __init__(self, params: ParamsT, lr: float, weight_decay: float) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update of all matrices that have a gradient."""
        loss = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(weight.grad)
                momentum = state["momentum_buffer"].lerp_(weight.grad, 1.0 - MOMENTUM)
                turned = orthogonalized(weight.grad.lerp(momentum, MOMENTUM))  # Nesterov: a look ahead
                weight.mul_(1.0 - group["lr"] * group["weight_decay"])
                weight.add_(turned, alpha=-group["lr"] * RMS * math.sqrt(max(weight.shape)))
        return loss


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
