"""Backbone + head = policy network. Any backbone works with any head through two protocols."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from finevla.errors import PolicyError
from finevla.policy.compact import CompactBackbone, Encoded, Inputs
from finevla.policy.config import PolicyConfig
from finevla.policy.oft import OftHead


class Backbone(Protocol):
    """Turns inputs into context tokens and carries a head's queries through its layers."""

    @property
    def width(self) -> int:
        """Width of every token."""
        ...

    def __call__(self, inputs: Inputs, queries_qd: Tensor) -> Encoded:
        """Context (B, N, width) and queries (B, Q, width)."""
        ...


class Head(Protocol):
    """Turns what a backbone encoded into chunks."""

    queries: nn.Parameter

    def act(self, encoded: Encoded) -> Tensor:
        """Targets (B, H, dof), normalised."""
        ...

    def loss(self, encoded: Encoded, target_bhd: Tensor, valid_bh: Tensor) -> Tensor:
        """A scalar to descend on."""
        ...


class PolicyNetwork(nn.Module):
    """The network that a configuration describes, with fresh weights."""

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = CompactBackbone(config)
        self.head = OftHead(config, self.backbone.width)

    def _encode(self, inputs: Inputs) -> Encoded:
        backbone, head = cast("Backbone", self.backbone), cast("Head", self.head)
        return backbone(inputs, head.queries)

    def act(self, inputs: Inputs) -> Tensor:
        """Normalised targets (B, H, dof)."""
        return self.head.act(self._encode(inputs))

    def loss(self, inputs: Inputs, target_bhd: Tensor, valid_bh: Tensor) -> Tensor:
        """Training loss, a scalar."""
        return self.head.loss(self._encode(inputs), target_bhd, valid_bh)


def build_network(config: PolicyConfig, seed: int) -> PolicyNetwork:
    """A network with weights that depend on `seed` only; the global generator is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return PolicyNetwork(config)


def network_weights(network: nn.Module) -> dict[str, NDArray[Any]]:
    """The weights as numpy arrays by name (copies)."""
    return {name: value.detach().cpu().numpy().copy() for name, value in network.state_dict().items()}


def restore_network(config: PolicyConfig, weights: Mapping[str, NDArray[Any]]) -> PolicyNetwork:
    """A network with the given weights, in evaluation mode.

    Raises:
        PolicyError: Names or shapes are not those of the configuration.
    """
    network = build_network(config, seed=0)
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    found = {name: tuple(array.shape) for name, array in weights.items()}
    if expected != found:
        wrong = sorted(n for n in {*expected, *found} if expected.get(n) != found.get(n))
        raise PolicyError(
            "the weights do not fit the configuration of the policy",
            expected={name: expected.get(name) for name in wrong[:5]},
            found={name: found.get(name) for name in wrong[:5]},
            remedy="export the bundle again; weights and configuration must come from one training",
        )
    network.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in weights.items()})
    return network.eval()
