"""The flow head against independent plain versions of rectified flow, and its guarantees."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from finevla.errors import PolicyError
from finevla.policy.config import FlowConfig
from finevla.policy.dit import DiT, sinusoidal
from finevla.policy.flow import FlowHead, euler, flow_times, guided
from finevla.policy.inputs import Encoded, Inputs, Prefix
from finevla.policy.model import build_network
from finevla.policy.presets import PAPER_HEADS, preset

WIDTH, HORIZON, DOF = 24, 5, 3
PART = FlowConfig(width=16, layers=2, attention_heads=2, output=12, decoder_hidden=8, future_tokens=3)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def head(part: FlowConfig = PART, use_state: bool = True) -> FlowHead:
    torch.manual_seed(1)
    return FlowHead(part, WIDTH, HORIZON, DOF, use_state)


def encoded(batch: int, tokens: int = 7, keep: torch.Tensor | None = None) -> Encoded:
    return Encoded(torch.randn(batch, tokens, WIDTH, generator=seeded(9)), torch.zeros(batch, 0, WIDTH), keep)


def test_times_follow_the_beta_distribution_of_the_paper() -> None:
    """P(t < x) for t = (0.999 - b) / 0.999, b ~ Beta(1.5, 1): P(b > 0.999 (1 - x)) = 1 - (...)^1.5."""
    times = flow_times(200_000, seeded()).double().numpy()
    assert times.min() >= 0.0
    assert times.max() <= 1.0
    for x in (0.05, 0.2, 0.4, 0.7, 0.95):
        expected = 1.0 - (0.999 * (1.0 - x)) ** 1.5
        assert np.mean(times < x) == pytest.approx(expected, abs=0.005), x
    assert times.mean() == pytest.approx((0.999 - 1.5 / 2.5) / 0.999, abs=0.005)
    torch.manual_seed(0)
    reference = torch.distributions.Beta(1.5, 1.0).sample((200_000,))
    quantiles = torch.tensor([0.1, 0.5, 0.9])
    theirs = torch.quantile((0.999 - reference) / 0.999, quantiles)
    assert torch.allclose(
        torch.quantile(torch.from_numpy(times), quantiles.double()), theirs.double(), atol=0.01
    )


def test_loss_is_the_masked_squared_error_of_the_velocity() -> None:
    flow = head(FlowConfig(**{**PART_FIELDS, "repeats": 3}))
    target = torch.randn(2, HORIZON, DOF, generator=seeded(3))
    valid = torch.ones(2, HORIZON, dtype=torch.bool)
    valid[1, 2:] = False
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def fake(_: Encoded, __: torch.Tensor, noisy: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        seen.append((noisy, time))
        return torch.full_like(noisy, 0.25)

    flow.velocity = fake
    loss = flow.loss(encoded(2), torch.zeros(2, DOF), target, valid, seeded(5)).item()
    draws = seeded(5)
    noise = torch.randn((6, HORIZON, DOF), generator=draws).numpy()
    uniform = torch.rand(6, generator=draws).numpy()
    total = count = 0.0
    for row in range(6):
        sample = row // 3
        t = max(0.0, (0.999 - uniform[row] ** (2 / 3)) / 0.999)
        assert float(seen[0][1][row]) == pytest.approx(t, abs=1e-6)
        for step in range(HORIZON):
            a, eps = target[sample, step].numpy(), noise[row, step]
            assert np.allclose(seen[0][0][row, step], (1 - t) * eps + t * a, atol=1e-5)
            if valid[sample, step]:
                total += float(np.mean((0.25 - (a - eps)) ** 2))
                count += 1
    assert loss == pytest.approx(total / count, rel=1e-5)


PART_FIELDS = {name: getattr(PART, name) for name in FlowConfig.__dataclass_fields__}


def test_padding_of_targets_has_no_gradient() -> None:
    flow = head()
    target = torch.randn(1, HORIZON, DOF, generator=seeded(3))
    valid = torch.ones(1, HORIZON, dtype=torch.bool)
    valid[0, 3:] = False
    target.requires_grad_(True)
    noise_free = flow.velocity

    def no_peeking(e: Encoded, s: torch.Tensor, noisy: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        return noise_free(e, s, noisy.detach(), time)

    flow.velocity = no_peeking
    flow.loss(encoded(1), torch.zeros(1, DOF), target, valid, seeded()).backward()
    assert target.grad is not None
    assert target.grad[0, :3].abs().min() > 0
    assert target.grad[0, 3:].abs().max() == 0


def test_euler_is_exact_where_it_must_be_and_as_wrong_as_it_must_be_elsewhere() -> None:
    start = torch.tensor([2.0], dtype=torch.float64)
    assert euler(lambda x, t: torch.full_like(x, 3.0), start, 4).item() == pytest.approx(5.0)
    # dx/dt = x: (1 + 1/n)^n times the start
    assert euler(lambda x, t: x, start, 4).item() == pytest.approx(2.0 * 1.25**4)
    # dx/dt = 2 t at 0, 1/4, 1/2, 3/4: the left sum
    assert euler(lambda x, t: torch.full_like(x, 2 * t), start, 4).item() == pytest.approx(2.0 + 2 * 1.5 / 4)
    errors = [abs(euler(lambda x, t: x, start, n).item() - 2.0 * math.e) for n in (50, 100)]
    assert errors[0] / errors[1] == pytest.approx(2.0, rel=0.05)  # first order


def test_straight_field_leads_from_any_noise_to_the_target() -> None:
    """The field of a single known chunk, (a - x) / (1 - t), is followed exactly."""
    target = torch.randn(1, HORIZON, DOF, generator=seeded(1))
    start = torch.randn(1, HORIZON, DOF, generator=seeded(2))
    assert torch.allclose(euler(lambda x, t: (target - x) / (1 - t), start, 4), target, atol=1e-6)


def test_guidance_freezes_blends_and_leaves_free() -> None:
    start = torch.randn(1, HORIZON, DOF, generator=seeded(2))
    goal, old = torch.full((1, HORIZON, DOF), 4.0), torch.full((1, 3, DOF), -2.0)
    seen: list[tuple[float, torch.Tensor]] = []

    def field(x: torch.Tensor, t: float) -> torch.Tensor:
        seen.append((t, x))
        return goal - start  # would lead every step to 4

    prefix = Prefix(old, torch.tensor([1.0, 0.5, 0.0]))
    out = euler(guided(field, start, prefix), start, 4)
    assert torch.allclose(out[:, 0], torch.tensor(-2.0), atol=1e-5)
    assert torch.allclose(out[:, 1], torch.tensor(1.0), atol=1e-5)  # half of both
    assert torch.allclose(out[:, 2:], torch.tensor(4.0), atol=1e-5)
    for t, x in seen:  # the network sees the frozen target on its straight line at every time
        assert torch.equal(x[:, 0], (1 - t) * start[:, 0] + t * old[:, 0]), t
    assert [t for t, _ in seen] == [0.0, 0.25, 0.5, 0.75]


def test_frozen_targets_come_back_to_the_bit_and_steer_the_rest() -> None:
    flow = head().eval()
    state = torch.zeros(2, DOF)
    free = flow.act(encoded(2), state, seeded(4), None)
    old = torch.randn(2, 2, DOF, generator=seeded(8))
    led = flow.act(encoded(2), state, seeded(4), Prefix(old, torch.ones(2)))
    assert torch.equal(led[:, :2], old)
    assert not torch.allclose(led[:, 2:], free[:, 2:], atol=1e-4)
    untouched = flow.act(encoded(2), state, seeded(4), Prefix(old, torch.zeros(2)))
    assert torch.allclose(untouched, free, atol=1e-6)


def test_padded_context_changes_nothing() -> None:
    """Upstream attends to padding; a text would then act differently in another batch."""
    flow = head().eval()
    state = torch.randn(1, DOF, generator=seeded(6))
    plain = flow.act(encoded(1), state, seeded(4), None)
    base = encoded(1)
    garbage = torch.cat([base.context, torch.full((1, 4, WIDTH), 1e3)], dim=1)
    keep = torch.tensor([[True] * 7 + [False] * 4])
    masked = Encoded(garbage, base.queries, keep)
    assert torch.allclose(flow.act(masked, state, seeded(4), None), plain, atol=1e-5)
    unmasked = flow.act(masked._replace(keep_bn=None), state, seeded(4), None)
    assert not torch.allclose(unmasked, plain, atol=1e-2)
    target, valid = torch.zeros(1, HORIZON, DOF), torch.ones(1, HORIZON, dtype=torch.bool)
    one, other = (flow.loss(e, state, target, valid, seeded(2)) for e in (base, masked))
    assert torch.allclose(one, other, atol=1e-5)


def test_noise_comes_from_the_generator_only() -> None:
    flow, state = head(), torch.zeros(2, DOF)
    target, valid = torch.zeros(2, HORIZON, DOF), torch.ones(2, HORIZON, dtype=torch.bool)
    losses = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        losses.append(flow.loss(encoded(2), state, target, valid, seeded(7)).item())
        flow.act(encoded(2), state, seeded(7), None)
        assert torch.equal(torch.get_rng_state(), before)
    assert losses[0] == losses[1]
    assert flow.loss(encoded(2), state, target, valid, seeded(8)).item() != losses[0]


def test_inference_takes_four_steps_of_the_right_buckets() -> None:
    flow = head().eval()
    buckets: list[int] = []
    flow.transformer.register_forward_pre_hook(lambda _, args: buckets.append(int(args[3][0])))
    flow.act(encoded(1), torch.zeros(1, DOF), seeded(), None)
    assert buckets == [0, 250, 500, 750]


def test_blocks_alternate_and_the_time_modulates() -> None:
    dit = DiT(FlowConfig(**{**PART_FIELDS, "layers": 4}), WIDTH).eval()
    assert [block.attention.key.in_features for block in dit.blocks] == [WIDTH, 16, WIDTH, 16]
    tokens, memory = torch.randn(1, 4, 16), torch.randn(1, 7, WIDTH)
    early, late = (dit(tokens, memory, None, torch.tensor([b])) for b in (0, 900))
    assert early.shape == (1, 4, 12)
    assert not torch.allclose(early, late, atol=1e-4)


def test_ada_norm_by_hand() -> None:
    torch.manual_seed(0)
    norm = DiT(PART, WIDTH).norm
    tokens, time = torch.randn(1, 2, 16), torch.randn(1, 16)
    gain_shift = norm.linear.weight @ (time[0] * torch.sigmoid(time[0])) + norm.linear.bias
    centered = tokens - tokens.mean(-1, keepdim=True)
    plain = centered / (centered.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    assert torch.allclose(norm(tokens, time), plain * (1 + gain_shift[:16]) + gain_shift[16:], atol=1e-5)


def test_sinusoids_by_hand() -> None:
    row = sinusoidal(torch.tensor([3.0]), 5)[0].tolist()
    second = 3.0 * 10_000.0 ** (-1 / 2)
    assert row == pytest.approx([math.sin(3), math.sin(second), math.cos(3), math.cos(second), 0.0], abs=1e-6)


def test_state_token_is_optional() -> None:
    one, other = torch.zeros(1, DOF), torch.ones(1, DOF)
    for use_state, differs in ((True, True), (False, False)):
        flow = head(use_state=use_state).eval()
        acts = [flow.act(encoded(1), state, seeded(), None) for state in (one, other)]
        assert torch.equal(acts[0], acts[1]) is not differs


def test_paper_shapes() -> None:
    paper = PAPER_HEADS["flow"]
    assert (paper.width, paper.layers, paper.attention_heads, paper.output) == (768, 16, 12, 2560)
    assert (paper.future_tokens, paper.dropout, paper.time_buckets) == (32, 0.2, 1000)
    assert (paper.repeats, paper.euler_steps) == (4, 4)


def test_a_prefix_that_does_not_fit_is_refused() -> None:
    config = preset("compact", "flow", dof=DOF, horizon=HORIZON, vocabulary_size=9)
    network = build_network(config, 0).eval()
    assert network.accepts_prefix
    words = torch.zeros(1, 32, dtype=torch.int64)
    words[0, 0] = 1
    inputs = Inputs(torch.zeros(1, 1, 3, 64, 64), words, torch.zeros(1, DOF))
    targets = torch.zeros(1, 2, DOF)
    assert network.act(inputs, prefix=Prefix(targets, torch.ones(2))).shape == (1, HORIZON, DOF)
    for wrong in (
        Prefix(targets, torch.ones(3)),
        Prefix(targets, torch.full((2,), 1.5)),
        Prefix(torch.full_like(targets, math.nan), torch.ones(2)),
        Prefix(torch.zeros(1, HORIZON + 1, DOF), torch.ones(HORIZON + 1)),
    ):
        with pytest.raises(PolicyError, match="does not fit"):
            network.act(inputs, prefix=wrong)
