"""Backbone + head = policy network. Any backbone works with any head through two protocols."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from finevla.errors import PolicyError
from finevla.policy.compact import CompactBackbone
from finevla.policy.config import CompactConfig, OftConfig, PolicyConfig
from finevla.policy.flow import FlowHead
from finevla.policy.grounding import Grounding, grounding_loss
from finevla.policy.inputs import Encoded, Inputs, Prefix
from finevla.policy.oft import OftHead

_FIXED_SEED = 0


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

    queries: Tensor
    """(Q, width): learned tokens that the backbone carries along; Q may be 0."""

    accepts_prefix: bool
    """Whether `act` can continue a running chunk."""

    def act(
        self, encoded: Encoded, state_bd: Tensor, generator: torch.Generator, prefix: Prefix | None
    ) -> Tensor:
        """Targets (B, H, dof), normalised."""
        ...

    def loss(
        self,
        encoded: Encoded,
        state_bd: Tensor,
        target_bhd: Tensor,
        valid_bh: Tensor,
        generator: torch.Generator,
    ) -> Tensor:
        """A scalar to descend on."""
        ...


def _build_backbone(config: PolicyConfig) -> nn.Module:
    dof = config.dof if config.use_state else None
    if isinstance(config.backbone, CompactConfig):
        return CompactBackbone(config.backbone, config.cameras, config.image_size, dof)
    from finevla.policy.qwen import QwenBackbone

    return QwenBackbone(config.backbone, config.image_size, dof if config.queries else None)


def _build_head(config: PolicyConfig, width: int) -> nn.Module:
    if isinstance(config.head, OftConfig):
        return OftHead(config.head, width, config.horizon, config.dof)
    return FlowHead(config.head, width, config.horizon, config.dof, config.use_state)


class PolicyNetwork(nn.Module):
    """The network that a configuration describes, with fresh weights."""

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = _build_backbone(config)
        self.head = _build_head(config, cast("Backbone", self.backbone).width)

    @property
    def accepts_prefix(self) -> bool:
        """Whether `act` can continue a running chunk."""
        return cast("Head", self.head).accepts_prefix

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def compile_backbone(self) -> None:
        """Has torch compile the backbone's costly part at its first call; names of weights stay.

        Worth its minute for thousands of updates: the modulated convolutions of `compact` become one pass
        over the data each. Needs a C++ compiler on a CPU.
        """
        part = self.backbone.stem if isinstance(self.backbone, CompactBackbone) else self.backbone
        part.compile()

    def _encode(self, inputs: Inputs) -> Encoded:
        backbone, head = cast("Backbone", self.backbone), cast("Head", self.head)
        return backbone(inputs, head.queries)

    def act(
        self, inputs: Inputs, generator: torch.Generator | None = None, prefix: Prefix | None = None
    ) -> Tensor:
        """Normalised targets (B, H, dof).

        Args:
            inputs: A batch.
            generator: Source of a head's noise, on the CPU; None is one of a fixed seed, so that
                the same inputs give the same targets.
            prefix: Part of the running chunk to continue.

        Raises:
            PolicyError: A prefix is given that the head cannot continue, or that does not fit.
        """
        if prefix is not None:
            _check_prefix(prefix, len(inputs.state), self.config)
        generator = torch.Generator().manual_seed(_FIXED_SEED) if generator is None else generator
        return cast("Head", self.head).act(self._encode(inputs), inputs.state, generator, prefix)

    def loss(
        self,
        inputs: Inputs,
        target_bhd: Tensor,
        valid_bh: Tensor,
        generator: torch.Generator | None = None,
        grounding: Grounding | None = None,
    ) -> Tensor:
        """Training loss, a scalar.

        Args:
            inputs: A batch.
            target_bhd: Normalised targets.
            valid_bh: True where a target exists.
            generator: The only source of a head's noise and times, on the CPU; None is one of a
                fixed seed (for a validation loss that can be compared).
            grounding: Where the hand acts next, for a backbone that can mark a place; adds its loss.

        Raises:
            PolicyError: Places are given and the backbone marks none.
        """
        generator = torch.Generator().manual_seed(_FIXED_SEED) if generator is None else generator
        head = cast("Head", self.head)
        encoded = self._encode(inputs)
        loss = head.loss(encoded, inputs.state, target_bhd, valid_bh, generator)
        if grounding is None:
            return loss
        if encoded.place_logits is None:
            raise PolicyError(
                "this backbone cannot mark a place in the picture",
                where=type(self.config.backbone).__name__,
                expected="a compact backbone where --workspace is given",
                remedy="train without --workspace",
            )
        return loss + grounding.weight * grounding_loss(encoded.place_logits, grounding.place_b2)


def _check_prefix(prefix: Prefix, batch: int, config: PolicyConfig) -> None:
    count = len(prefix.weights)
    finite = bool(torch.isfinite(prefix.targets).all())
    bounded = bool(((prefix.weights >= 0) & (prefix.weights <= 1)).all())
    fits = count <= config.horizon and prefix.targets.shape == (batch, count, config.dof)
    if not (finite and bounded and fits):
        raise PolicyError(
            "the part of the running chunk does not fit the policy",
            expected=f"finite, {batch} x (up to {config.horizon}) x {config.dof}, weights in [0, 1]",
            found=f"shape {tuple(prefix.targets.shape)}, weights {prefix.weights.tolist()}",
            remedy="pass targets of this policy's own last chunk",
        )


def build_network(config: PolicyConfig, seed: int) -> PolicyNetwork:
    """A network with weights that depend on `seed` only; the global generator is left alone.

    Raises:
        PolicyError: The configuration cannot be built.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return PolicyNetwork(config)


def network_weights(network: nn.Module) -> dict[str, NDArray[Any]]:
    """The weights as numpy arrays by name (copies).

    numpy has no bfloat16: such a weight is its bit pattern as uint16, which no other weight is.
    """
    return {name: _to_array(value) for name, value in network.state_dict().items()}


def in_bfloat16(weights: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The same weights rounded to bfloat16, half the bytes; `load_weights` takes both forms."""
    return {
        name: _to_array(torch.from_numpy(np.array(array)).to(torch.bfloat16))
        if array.dtype == np.float32
        else np.array(array)
        for name, array in weights.items()
    }


def load_weights(network: PolicyNetwork, weights: Mapping[str, NDArray[Any]]) -> None:
    """Loads what `network_weights` gave, in place.

    Raises:
        PolicyError: Names or shapes are not those of the network, or a weight would lose bits or is
            not finite.
    """
    values = {name: _to_tensor(array) for name, array in weights.items()}
    state = network.state_dict()
    expected = {name: tuple(value.shape) for name, value in state.items()}
    found = {name: tuple(value.shape) for name, value in values.items()}
    if expected != found:
        wrong = sorted(n for n in {*expected, *found} if expected.get(n) != found.get(n))
        raise PolicyError(
            "the weights do not fit the configuration of the policy",
            expected={name: expected.get(name) for name in wrong[:5]},
            found={name: found.get(name) for name in wrong[:5]},
            remedy="export the bundle again; weights and configuration must come from one training",
        )
    lossy = [n for n, v in values.items() if torch.promote_types(v.dtype, state[n].dtype) != state[n].dtype]
    infinite = [n for n, v in values.items() if v.is_floating_point() and not torch.isfinite(v).all()]
    if lossy or infinite:
        raise PolicyError(
            "weights would lose bits or are not finite",
            where=(lossy or infinite)[:5],
            expected=f"finite values, formats {sorted({str(v.dtype) for v in state.values()})} or narrower",
            found=sorted({str(values[n].dtype) for n in lossy or infinite}),
            remedy="export the bundle again; the configuration says the format of the weights",
        )
    network.load_state_dict(values)


def restore_network(config: PolicyConfig, weights: Mapping[str, NDArray[Any]]) -> PolicyNetwork:
    """A network with the given weights, in evaluation mode.

    Raises:
        PolicyError: As `load_weights`.
    """
    network = _skeleton(config)
    load_weights(network, weights)
    return network.eval()


def _skeleton(config: PolicyConfig) -> PolicyNetwork:
    """A network whose weights are about to be replaced: those of a language model are not drawn."""
    if isinstance(config.backbone, CompactConfig):
        return build_network(config, seed=0)
    initialization = importlib.import_module("transformers.initialization")
    with torch.random.fork_rng(devices=[]), initialization.no_init_weights():
        return PolicyNetwork(config)


def _to_array(value: Tensor) -> NDArray[Any]:
    value = value.detach().cpu()
    value = value.view(torch.uint16) if value.dtype == torch.bfloat16 else value
    array: NDArray[Any] = value.numpy().copy()
    return array


def _to_tensor(array: NDArray[Any]) -> Tensor:
    value = torch.from_numpy(np.array(array))
    return value.view(torch.bfloat16) if value.dtype == torch.uint16 else value
