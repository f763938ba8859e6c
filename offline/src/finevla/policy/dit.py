"""The transformer of the flow head: blocks that see the flow time through their norms (AdaLN).

Even blocks cross-attend to the context of the backbone, odd blocks attend within the chunk. The
mask of the context is passed on: padding of a text changes nothing.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention, silu

from finevla.policy.config import FlowConfig

_TIME_CHANNELS = 256
_LONGEST_PERIOD = 10_000.0
_MLP_RATIO = 4


def sinusoidal(position_b: Tensor, width: int) -> Tensor:
    """Sines, then cosines, of a position at geometrically spaced frequencies, (B, width)."""
    half = width // 2
    exponent = torch.arange(half, device=position_b.device) / half
    angle = position_b[:, None].float() * torch.exp(-math.log(_LONGEST_PERIOD) * exponent)
    waves = torch.cat([angle.sin(), angle.cos()], dim=1)
    return nn.functional.pad(waves, (0, width - 2 * half))


class AdaNorm(nn.Module):
    """LayerNorm without own weights; gain and shift are linear in the embedded time."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.linear = nn.Linear(width, 2 * width)

    def forward(self, tokens_bnd: Tensor, time_bd: Tensor) -> Tensor:
        """Returns (B, N, width)."""
        gain, shift = self.linear(silu(time_bd))[:, None].chunk(2, dim=-1)
        out: Tensor = self.norm(tokens_bnd) * (1 + gain) + shift
        return out


class Attention(nn.Module):
    """Multi-head attention from tokens to themselves or to a memory of another width."""

    def __init__(self, width: int, heads: int, memory: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(memory, width)
        self.value = nn.Linear(memory, width)
        self.project = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens_bnd: Tensor, memory_bmd: Tensor, keep_bm: Tensor | None) -> Tensor:
        """Returns (B, N, width); memory tokens where `keep_bm` is False are not attended to."""
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.query(tokens_bnd), self.key(memory_bmd), self.value(memory_bmd))
        )
        mask = None if keep_bm is None else keep_bm[:, None, None, :]
        mixed = scaled_dot_product_attention(query, key, value, attn_mask=mask)
        out: Tensor = self.dropout(self.project(mixed.transpose(1, 2).flatten(2)))
        return out


class DiTBlock(nn.Module):
    """Attention after a norm that knows the time, then a feed-forward layer, both residual."""

    def __init__(self, part: FlowConfig, memory: int) -> None:
        super().__init__()
        width, hidden = part.width, _MLP_RATIO * part.width
        self.norm = AdaNorm(width)
        self.attention = Attention(width, part.attention_heads, memory, part.dropout)
        self.norm_mlp = nn.LayerNorm(width, elementwise_affine=False)
        self.mlp = nn.Sequential(
            nn.Linear(width, hidden),
            nn.GELU(approximate="tanh"),
            nn.Dropout(part.dropout),
            nn.Linear(hidden, width),
            nn.Dropout(part.dropout),
        )

    def forward(
        self, tokens_bnd: Tensor, time_bd: Tensor, memory_bmd: Tensor | None, keep_bm: Tensor | None
    ) -> Tensor:
        """Returns (B, N, width); without a memory the tokens attend to each other."""
        normed = self.norm(tokens_bnd, time_bd)
        memory = normed if memory_bmd is None else memory_bmd
        tokens_bnd = tokens_bnd + self.attention(normed, memory, keep_bm)
        out: Tensor = tokens_bnd + self.mlp(self.norm_mlp(tokens_bnd))
        return out


class DiT(nn.Module):
    """Blocks of alternating cross- and self-attention; an output layer modulated by the time."""

    def __init__(self, part: FlowConfig, memory: int) -> None:
        super().__init__()
        self.time = nn.Sequential(
            nn.Linear(_TIME_CHANNELS, part.width), nn.SiLU(), nn.Linear(part.width, part.width)
        )
        self.blocks = nn.ModuleList(
            DiTBlock(part, memory if index % 2 == 0 else part.width) for index in range(part.layers)
        )
        self.norm = AdaNorm(part.width)
        self.out = nn.Linear(part.width, part.output)

    def forward(
        self, tokens_bnd: Tensor, memory_bmd: Tensor, keep_bm: Tensor | None, bucket_b: Tensor
    ) -> Tensor:
        """Returns (B, N, output).

        Args:
            tokens_bnd: State, future and action tokens.
            memory_bmd: Context of the backbone.
            keep_bm: True where a context token is real; None where all are.
            bucket_b: Flow times as numbers of their buckets.
        """
        time = self.time(sinusoidal(bucket_b, _TIME_CHANNELS))
        for index, block in enumerate(self.blocks):
            cross = index % 2 == 0
            tokens_bnd = block(tokens_bnd, time, memory_bmd if cross else None, keep_bm if cross else None)
        out: Tensor = self.out(self.norm(tokens_bnd, time))
        return out
