"""The `flow` head: a diffusion transformer that denoises a chunk by rectified flow (GR00T N1.5).

x_t = (1 - t) eps + t a; the network learns the velocity a - eps; t = (0.999 - Beta(1.5, 1)) / 0.999.
At inference a few Euler steps lead from noise at t = 0 to the chunk at t = 1. All noise and all
times come from the generator that is passed in.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from finevla.policy.config import FlowConfig
from finevla.policy.dit import DiT, sinusoidal
from finevla.policy.inputs import Encoded, Prefix, masked_mean

TIME_LIMIT = 0.999
BETA_ALPHA = 1.5
_STD = 0.02

Field = Callable[[Tensor, float], Tensor]
"""Velocity at a state and a time in [0, 1)."""


def euler(field: Field, start: Tensor, steps: int) -> Tensor:
    """The state at t = 1 of dx/dt = field(x, t), from `start` at t = 0 in equal Euler steps."""
    state = start
    for step in range(steps):
        state = state + field(state, step / steps) / steps
    return state


def flow_times(count: int, generator: torch.Generator) -> Tensor:
    """Random flow times (count,) in [0, 1], most of them near the noise.

    t = (0.999 - b) / 0.999 with b ~ Beta(1.5, 1), whose distribution function is b^1.5, so that
    b = u^(2/3) for uniform u. The thousandth of b beyond 0.999 becomes t = 0.
    """
    uniform = torch.rand(count, generator=generator)
    return ((TIME_LIMIT - uniform ** (1.0 / BETA_ALPHA)) / TIME_LIMIT).clamp(min=0.0)


def guided(field: Field, start: Tensor, prefix: Prefix) -> Field:
    """`field`, led towards the targets of a prefix.

    A target of weight 1 moves on the straight line from its noise to its target, at every time
    exactly where training put it; weight 0 leaves the field alone, between is the mean of both.
    """
    count = len(prefix.weights)
    straight = prefix.targets - start[:, :count]
    weight = prefix.weights[:, None]

    def led(state: Tensor, time: float) -> Tensor:
        fixed = (1.0 - time) * start[:, :count] + time * prefix.targets
        frozen = weight >= 1.0
        state = torch.cat([torch.where(frozen, fixed, state[:, :count]), state[:, count:]], dim=1)
        velocity = field(state, time)
        mixed = (1.0 - weight) * velocity[:, :count] + weight * straight
        return torch.cat([mixed, velocity[:, count:]], dim=1)

    return led


class ActionEncoder(nn.Module):
    """Noisy targets and flow time to tokens: Linear, concatenated with a sinusoidal time, swish, Linear."""

    def __init__(self, dof: int, width: int) -> None:
        super().__init__()
        self.embed = nn.Linear(dof, width)
        self.mix = nn.Linear(2 * width, width)
        self.out = nn.Linear(width, width)

    def forward(self, noisy_bhd: Tensor, bucket_b: Tensor) -> Tensor:
        """Returns (B, H, width)."""
        embedded = self.embed(noisy_bhd)
        time = sinusoidal(bucket_b, embedded.shape[-1])[:, None].expand_as(embedded)
        mixed = self.mix(torch.cat([embedded, time], dim=-1))
        out: Tensor = self.out(nn.functional.silu(mixed))
        return out


class FlowHead(nn.Module):
    """Cross-attends from [state, future tokens, noisy chunk] to all context tokens of the backbone."""

    accepts_prefix = True
    queries: Tensor

    def __init__(self, part: FlowConfig, width: int, horizon: int, dof: int, use_state: bool) -> None:
        super().__init__()
        self.part, self.horizon, self.dof = part, horizon, dof
        self.register_buffer("queries", torch.zeros(0, width), persistent=False)
        self.action = ActionEncoder(dof, part.width)
        self.place = nn.Parameter(_STD * torch.randn(horizon, part.width))
        self.future = nn.Parameter(_STD * torch.randn(part.future_tokens, part.width))
        self.state = _mlp(dof, part.decoder_hidden, part.width) if use_state else None
        self.transformer = DiT(part, width)
        self.decoder = _mlp(part.output, part.decoder_hidden, dof)

    def velocity(self, encoded: Encoded, state_bd: Tensor, noisy_bhd: Tensor, time_b: Tensor) -> Tensor:
        """Predicted a - eps, (B, H, dof), at the flow times `time_b` in [0, 1]."""
        buckets = self.part.time_buckets
        bucket = (time_b * buckets).long().clamp(max=buckets - 1)
        future = self.future.expand(len(noisy_bhd), -1, -1)
        tokens = [future, self.action(noisy_bhd, bucket) + self.place]
        if self.state is not None:
            tokens.insert(0, self.state(state_bd)[:, None])
        seen = self.transformer(torch.cat(tokens, dim=1), encoded.context, encoded.keep_bn, bucket)
        out: Tensor = self.decoder(seen[:, -self.horizon :])
        return out

    def loss(
        self,
        encoded: Encoded,
        state_bd: Tensor,
        target_bhd: Tensor,
        valid_bh: Tensor,
        generator: torch.Generator,
    ) -> Tensor:
        """Mean squared error of the velocity over the valid targets, `repeats` draws per sample."""
        repeats, device = self.part.repeats, target_bhd.device
        keep = None if encoded.keep_bn is None else encoded.keep_bn.repeat_interleave(repeats, 0)
        context = encoded.context.repeat_interleave(repeats, 0)
        encoded = Encoded(context, encoded.queries, keep)
        state, target = (x.repeat_interleave(repeats, 0) for x in (state_bd, target_bhd))
        noise = torch.randn(target.shape, generator=generator).to(device)
        time = flow_times(len(target), generator).to(device)
        mix = time[:, None, None]
        noisy = (1.0 - mix) * noise + mix * target
        error = self.velocity(encoded, state, noisy, time) - (target - noise)
        return masked_mean(error.square(), valid_bh.repeat_interleave(repeats, 0))

    def act(
        self, encoded: Encoded, state_bd: Tensor, generator: torch.Generator, prefix: Prefix | None
    ) -> Tensor:
        """Targets (B, H, dof), normalised; frozen targets of the prefix come back unchanged."""
        batch, device = len(encoded.context), encoded.context.device
        start = torch.randn((batch, self.horizon, self.dof), generator=generator).to(device)

        def field(noisy: Tensor, time: float) -> Tensor:
            return self.velocity(encoded, state_bd, noisy, torch.full((batch,), time, device=device))

        if prefix is None:
            return euler(field, start, self.part.euler_steps)
        chunk = euler(guided(field, start, prefix), start, self.part.euler_steps)
        count = len(prefix.weights)
        head = torch.where(prefix.weights[:, None] >= 1.0, prefix.targets, chunk[:, :count])
        return torch.cat([head, chunk[:, count:]], dim=1)


def _mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))
