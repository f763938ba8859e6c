"""The `oft` head: all targets of a chunk decoded in parallel, trained with L1."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from finevla.policy.compact import Encoded
from finevla.policy.config import PolicyConfig


class OftHead(nn.Module):
    """One learned query per target; a linear layer turns each into normalised joints."""

    def __init__(self, config: PolicyConfig, width: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(0.02 * torch.randn(config.horizon, width))
        self.out = nn.Linear(width, config.dof)

    def act(self, encoded: Encoded) -> Tensor:
        """Targets (B, H, dof), normalised."""
        targets: Tensor = self.out(encoded.queries)
        return targets

    def loss(self, encoded: Encoded, target_bhd: Tensor, valid_bh: Tensor) -> Tensor:
        """Mean absolute error over the valid targets.

        Args:
            encoded: From the backbone, with this head's queries.
            target_bhd: Normalised targets.
            valid_bh: True where a target exists; the rest is padding and counts nothing.
        """
        error = (self.act(encoded) - target_bhd).abs().mean(-1)
        weight = valid_bh.to(error.dtype)
        return (error * weight).sum() / weight.sum().clamp(min=1.0)
