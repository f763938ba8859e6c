"""The `oft` head: all targets of a chunk decoded in parallel, trained with L1.

With residual blocks it is the paper's head, per query:
LN - Linear(width, hidden) - ReLU - [LN - Linear - ReLU, residual] x blocks - LN - Linear(hidden, dof).
Without blocks it is one linear layer.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from finevla.errors import PolicyError
from finevla.policy.config import OftConfig
from finevla.policy.inputs import Encoded, Prefix, masked_mean


class _Residual(nn.Module):
    """x + ReLU(Linear(LN(x)))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.linear = nn.Linear(width, width)

    def forward(self, hidden: Tensor) -> Tensor:
        out: Tensor = hidden + torch.relu(self.linear(self.norm(hidden)))
        return out


class OftHead(nn.Module):
    """One learned query per target; a small network turns each into normalised joints."""

    accepts_prefix = False

    def __init__(self, part: OftConfig, width: int, horizon: int, dof: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(0.02 * torch.randn(horizon, width))
        if part.blocks == 0:
            self.trunk: nn.Module = nn.Identity()
            self.out = nn.Linear(width, dof)
            return
        blocks = (_Residual(part.hidden) for _ in range(part.blocks))
        self.trunk = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, part.hidden), nn.ReLU(), *blocks, nn.LayerNorm(part.hidden)
        )
        self.out = nn.Linear(part.hidden, dof)

    def act(
        self,
        encoded: Encoded,
        state_bd: Tensor,  # noqa: ARG002  # the protocol of heads
        generator: torch.Generator,  # noqa: ARG002
        prefix: Prefix | None,
    ) -> Tensor:
        """Targets (B, H, dof), normalised; a function of the queries only.

        Raises:
            PolicyError: A prefix is given: this head cannot continue a running chunk.
        """
        if prefix is not None:
            raise PolicyError(
                "the head cannot continue a running chunk",
                expected="no prefix",
                found=f"a prefix of {len(prefix.weights)} targets",
                remedy="blend the chunks in time, or use a policy with the flow head",
            )
        return self._decode(encoded)

    def loss(
        self,
        encoded: Encoded,
        state_bd: Tensor,  # noqa: ARG002
        target_bhd: Tensor,
        valid_bh: Tensor,
        generator: torch.Generator,  # noqa: ARG002
    ) -> Tensor:
        """Mean absolute error over the valid targets, against normalised targets."""
        return masked_mean((self._decode(encoded) - target_bhd).abs(), valid_bh)

    def _decode(self, encoded: Encoded) -> Tensor:
        targets: Tensor = self.out(self.trunk(encoded.queries))
        return targets
