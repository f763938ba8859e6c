"""Every backbone with every head: builds, learns a toy batch, survives saving, acts the same again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from finevla.policy.config import PolicyConfig
from finevla.policy.inputs import Inputs, Prefix
from finevla.policy.model import PolicyNetwork, build_network, network_weights, restore_network
from finevla.policy.presets import preset
from finevla.policy.qwen_text import QwenCodec
from finevla.policy.qwen_tiny import tiny_tokenizer
from finevla.policy.text import TextCodec, Vocabulary

TEXTS = (
    "lift the red cube with the left arm",
    "lift the red cube with the right arm",
    "push the blue cube with the left arm",
    "push the blue cube with the right arm",
)
PAIRS = [(name, head) for name in ("compact", "compact-3cam", "qwen-tiny") for head in ("oft", "flow")]
HORIZON, DOF = 6, 14


def policy(name: str, head: str) -> tuple[PolicyConfig, TextCodec]:
    if name == "qwen-tiny":
        pytest.importorskip("transformers")
        config = preset(name, head, dof=DOF, horizon=HORIZON)
        return config, QwenCodec.for_policy(config, tiny_tokenizer(), max_tokens=256)
    vocabulary = Vocabulary.from_texts(TEXTS)
    return preset(name, head, dof=DOF, horizon=HORIZON, vocabulary_size=vocabulary.size), vocabulary


def batch(config: PolicyConfig, codec: TextCodec) -> tuple[Inputs, torch.Tensor, torch.Tensor]:
    draws = torch.Generator().manual_seed(4)
    width, height = config.image_size
    pictures = torch.rand((len(TEXTS), config.cameras, 3, height, width), generator=draws) * 2 - 1
    words = torch.from_numpy(np.stack([codec.encode(text) for text in TEXTS]))
    inputs = Inputs(pictures, words, torch.randn((len(TEXTS), DOF), generator=draws))
    goals = torch.randn((len(TEXTS), 1, DOF), generator=draws)
    valid = torch.ones(len(TEXTS), HORIZON, dtype=torch.bool)
    valid[0, 4:] = False
    return inputs, goals.expand(-1, HORIZON, -1), valid


def train(network: PolicyNetwork, data: tuple[Inputs, torch.Tensor, torch.Tensor], steps: int) -> None:
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    network.train()
    for step in range(steps):
        torch.manual_seed(step)
        optimizer.zero_grad()
        network.loss(*data, torch.Generator().manual_seed(step)).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
    network.eval()


@pytest.mark.parametrize(("name", "head"), PAIRS)
def test_pair_learns_and_survives_saving(name: str, head: str, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    config, codec = policy(name, head)
    assert codec.mismatch(config) == ""
    data = batch(config, codec)
    network = build_network(config, 0).eval()
    before = network.loss(*data).item()
    train(network, data, steps=10)
    after = network.loss(*data).item()
    assert after < 0.95 * before
    save_file(network_weights(network), tmp_path / "weights.safetensors")
    again = PolicyConfig.from_json(config.to_json())
    restored = restore_network(again, load_file(tmp_path / "weights.safetensors"))
    first, second = network.act(data[0]), restored.act(data[0])
    assert first.shape == (len(TEXTS), HORIZON, DOF)
    assert first.dtype == torch.float32
    assert torch.equal(first, second)
    assert torch.equal(first, network.act(data[0]))
    assert restored.loss(*data).item() == after
    assert not torch.allclose(first[0], first[1], atol=1e-6)


@pytest.mark.parametrize(("name", "head"), PAIRS)
def test_training_repeats_to_the_bit(name: str, head: str) -> None:
    torch.set_num_threads(1)
    config, codec = policy(name, head)
    data = batch(config, codec)
    weights = []
    for _ in range(2):
        network = build_network(config, 3)
        train(network, data, steps=2)
        weights.append(network_weights(network))
    assert all(np.array_equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.parametrize(("name", "head"), PAIRS)
def test_every_parameter_takes_part(name: str, head: str) -> None:
    """A parameter without a gradient would be lost weight, and has no optimizer state to resume from."""
    config, codec = policy(name, head)
    network = build_network(config, 0)
    network.loss(*batch(config, codec)).backward()
    assert [n for n, p in network.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize(("name", "head"), [pair for pair in PAIRS if pair[0] != "compact-3cam"])
def test_left_and_right_give_other_targets_after_few_updates(name: str, head: str) -> None:
    """The texts of a pair differ in one word, the pictures and the state not at all."""
    torch.set_num_threads(1)
    config, codec = policy(name, head)
    inputs, _, valid = batch(config, codec)
    same = inputs._replace(
        pictures=inputs.pictures[:1].expand_as(inputs.pictures),
        state=inputs.state[:1].expand_as(inputs.state),
    )
    side = torch.tensor([1.0, -1.0, 1.0, -1.0])[:, None, None].expand(-1, HORIZON, DOF)
    network = build_network(config, 0)
    train(network, (same, side, valid), steps=12 if name == "compact" else 40)
    arms = network.act(same).mean((1, 2)).tolist()
    assert min(arms[0], arms[2]) > max(arms[1], arms[3]) + 0.5


@pytest.mark.parametrize("name", ["compact", "qwen-tiny"])
def test_a_running_chunk_is_continued(name: str) -> None:
    config, codec = policy(name, "flow")
    inputs, target, _ = batch(config, codec)
    network = build_network(config, 0).eval()
    chunk = network.act(inputs, prefix=Prefix(target[:, :2], torch.tensor([1.0, 1.0])))
    assert torch.equal(chunk[:, :2], target[:, :2])


@pytest.mark.parametrize(("name", "head"), PAIRS)
def test_noise_is_a_function_of_the_generator(name: str, head: str) -> None:
    config, codec = policy(name, head)
    data = batch(config, codec)
    network = build_network(config, 0).eval()
    one, two, three = (network.loss(*data, torch.Generator().manual_seed(s)).item() for s in (1, 1, 2))
    assert one == two
    assert (one != three) is (head == "flow")
    acts = [network.act(data[0], torch.Generator().manual_seed(s)) for s in (1, 1, 2)]
    assert torch.equal(acts[0], acts[1])
    assert torch.equal(acts[0], acts[2]) is (head == "oft")
