"""The compact network against its formulas, with numbers worked out by hand."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from finevla.errors import PolicyError
from finevla.policy.compact import FilmStem, TextEncoder
from finevla.policy.config import CompactConfig, OftConfig, PolicyConfig
from finevla.policy.inputs import Inputs, camera_order
from finevla.policy.model import (
    build_network,
    in_bfloat16,
    load_weights,
    network_weights,
    restore_network,
)
from finevla.policy.presets import PRESETS, preset

PART = CompactConfig(vocabulary_size=12)
CONFIG = PolicyConfig(cameras=1, dof=14, horizon=16, backbone=PART)


def inputs(count: int, seed: int = 0) -> Inputs:
    generator = torch.Generator().manual_seed(seed)
    words = torch.zeros(count, 32, dtype=torch.int64)
    words[:, :4] = torch.randint(1, 12, (count, 4), generator=generator)
    pictures = torch.rand(count, 1, 3, 64, 64, generator=generator) * 2 - 1
    return Inputs(pictures, words, torch.randn(count, 14, generator=generator))


def test_size_is_that_of_the_recipe() -> None:
    assert 500_000 < sum(p.numel() for p in build_network(CONFIG, 0).parameters()) < 900_000


def test_spatial_softmax_reads_the_place_of_the_peak() -> None:
    stem = build_network(CONFIG, 0).backbone.stem
    taken: list[torch.Tensor] = []
    stem.out.register_forward_pre_hook(lambda _, args: taken.append(args[0]))
    peak = torch.full((1, 32, 16, 16), -50.0)
    peak[:, :, 3, 12] = 50.0
    stem.maps.register_forward_hook(lambda *_: peak)
    stem(torch.zeros(1, 3, 64, 64), torch.zeros(1, 128))
    maps, queried = 32, stem.queried
    axis = torch.linspace(-1, 1, 16)
    place = taken[0][0, : 2 * (queried + maps)].view(queried + maps, 2)[queried:]
    assert torch.allclose(place[:, 0], 3.0 * axis[12].expand(maps), atol=1e-5)  # gain 3
    assert torch.allclose(place[:, 1], 3.0 * axis[3].expand(maps), atol=1e-5)
    assert torch.allclose(taken[0][0, -maps:], torch.tensor(4.0 * 50.0 / 10.0), atol=1e-4)


def test_film_scales_by_one_plus_gain_and_shifts() -> None:
    stem = FilmStem(PART, (64, 64))
    with torch.no_grad():
        stem.films[0].weight.zero_()
        stem.films[0].bias[:32], stem.films[0].bias[32:] = 0.5, 0.25
    out = stem._film(0, torch.full((1, 32, 2, 2), 2.0), torch.zeros(1, 128))
    assert torch.allclose(out, torch.tensor(2.0 * 1.5 + 0.25))


def test_padding_changes_nothing_and_order_does() -> None:
    text = TextEncoder(PART).eval()
    short, long = torch.tensor([[3, 5]]), torch.tensor([[3, 5, 0, 0], [1, 2, 3, 4]])
    assert torch.allclose(text(short)[0], text(long)[0][:1], atol=1e-6)
    assert torch.allclose(text(short)[1], text(long)[1][:1], atol=1e-6)
    assert not torch.allclose(text(short)[0], text(torch.tensor([[5, 3]]))[0], atol=1e-4)


def test_words_and_picture_and_state_each_reach_the_targets() -> None:
    network, base, other = build_network(CONFIG, 0).eval(), inputs(1, 0), inputs(1, 1)
    plain = network.act(base)
    assert plain.shape == (1, 16, 14)
    for field in Inputs._fields:
        changed = network.act(base._replace(**{field: getattr(other, field)}))
        assert not torch.allclose(plain, changed, atol=1e-5), field


def test_a_policy_that_does_not_use_the_state_does_not_see_it() -> None:
    blind = PolicyConfig(cameras=1, dof=14, horizon=16, backbone=PART, use_state=False)
    network, base = build_network(blind, 0).eval(), inputs(1, 0)
    assert torch.equal(network.act(base), network.act(base._replace(state=inputs(1, 1).state)))


def test_weights_depend_on_the_seed_only_and_leave_the_global_generator_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first = network_weights(build_network(CONFIG, 7))
    assert torch.equal(torch.rand(1), expected)
    assert all(np.array_equal(first[n], w) for n, w in network_weights(build_network(CONFIG, 7)).items())


def test_restored_network_acts_alike_and_wrong_weights_are_refused() -> None:
    network, batch = build_network(CONFIG, 1).eval(), inputs(2)
    weights = network_weights(network)
    assert torch.equal(restore_network(CONFIG, weights).act(batch), network.act(batch))
    queries = weights.pop("head.queries")
    with pytest.raises(PolicyError, match=r"head\.queries"):
        restore_network(CONFIG, weights)
    weights["head.queries"] = np.full_like(queries, np.nan)
    with pytest.raises(PolicyError, match="not finite"):
        restore_network(CONFIG, weights)


def test_weights_in_bfloat16_are_loaded_exactly() -> None:
    weights = network_weights(build_network(CONFIG, 1))
    halved = in_bfloat16(weights)
    assert {w.dtype.name for w in halved.values()} == {"uint16"}  # their bits
    assert sum(w.nbytes for w in halved.values()) * 2 == sum(w.nbytes for w in weights.values())
    loaded = restore_network(CONFIG, halved).state_dict()
    for name, array in weights.items():
        rounded = torch.from_numpy(array).to(torch.bfloat16).to(torch.float32)
        assert torch.equal(loaded[name], rounded), name


def test_loading_keeps_the_parameters_that_an_optimizer_holds() -> None:
    network = build_network(CONFIG, 1)
    held = list(network.parameters())
    load_weights(network, network_weights(build_network(CONFIG, 2)))
    assert all(a is b for a, b in zip(held, network.parameters(), strict=True))
    assert torch.equal(network.head.queries, build_network(CONFIG, 2).head.queries)


def test_a_weight_that_would_lose_bits_is_refused() -> None:
    weights = network_weights(build_network(CONFIG, 1))
    weights["head.out.bias"] = weights["head.out.bias"].astype(np.float64)
    with pytest.raises(PolicyError, match="lose bits"):
        restore_network(CONFIG, weights)


def test_configuration_survives_json_and_unknown_parts_are_refused() -> None:
    for name in PRESETS:
        for head in ("oft", "flow"):
            config = preset(name, head, dof=14, horizon=16, vocabulary_size=12)
            assert PolicyConfig.from_json(config.to_json()) == config
    for change in ({"backbone": {"type": "huge"}}, {"head": {}}, {"depth": 3}, {"cameras": 0}):
        with pytest.raises(PolicyError):
            PolicyConfig.from_json({**CONFIG.to_json(), **change})
    for wrong in (lambda: OftConfig(blocks=2), lambda: CompactConfig(vocabulary_size=0)):
        with pytest.raises(PolicyError, match="impossible"):
            wrong()


def test_unknown_presets_are_refused_with_the_known_ones() -> None:
    with pytest.raises(PolicyError, match="compact-3cam"):
        preset("medium", dof=14, horizon=16)
    assert preset("compact-3cam", dof=14, horizon=16, vocabulary_size=9).cameras == 3


def test_wrist_views_come_after_the_others() -> None:
    assert camera_order(["left_wrist", "high", "wrist_right", "low"]) == (
        "high",
        "low",
        "left_wrist",
        "wrist_right",
    )


def test_a_compact_policy_never_imports_transformers() -> None:
    code = (
        "import sys, finevla.policy.inference\n"
        "from finevla.policy.presets import preset\n"
        "from finevla.policy.model import build_network, network_weights, restore_network\n"
        "config = preset('compact', 'flow', dof=14, horizon=16, vocabulary_size=9)\n"
        "restore_network(config, network_weights(build_network(config, 0)))\n"
        "assert not {'transformers', 'tokenizers', 'lerobot'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=180)
