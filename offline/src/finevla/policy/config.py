"""The configuration tree of a policy, from dataclasses to JSON and back.

One registry per kind of part: a new backbone or head adds its dataclass here and its module in
`model.py`. The tree is stored in the bundle, so nobody types an architecture twice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from finevla.errors import PolicyError


@dataclass(frozen=True, slots=True)
class CompactConfig:
    """Small convolutional backbone with language-modulated features.

    Args:
        width: Width of a token.
        layers: Transformer blocks over text, picture, state and queries.
        attention_heads: Heads of each block.
        mlp_ratio: Hidden width of a block over its width.
        channels: Channels of the three convolutions.
        maps: Feature maps whose expected position is read out.
        temperature: Factor on the maps before the spatial softmax; larger is sharper.
        coordinate_gain: Factor on the positions read out.
        text_tokens: Tokens pooled from the words for the transformer.
        max_words: Longest instruction in content words.
    """

    width: int = 128
    layers: int = 2
    attention_heads: int = 4
    mlp_ratio: int = 3
    channels: tuple[int, int, int] = (32, 48, 64)
    maps: int = 32
    temperature: float = 4.0
    coordinate_gain: float = 3.0
    text_tokens: int = 4
    max_words: int = 32


@dataclass(frozen=True, slots=True)
class OftConfig:
    """Parallel decoding with an L1 loss: one query per target, all in one pass."""


BACKBONES = {"compact": CompactConfig}
HEADS = {"oft": OftConfig}


@dataclass(frozen=True, slots=True)
class PolicyConfig:
    """Everything that fixes the shapes of a policy.

    Args:
        backbone: Its kind is its type.
        head: Its kind is its type.
        cameras: Pictures per frame.
        image_size: Width and height of each picture, pixels.
        vocabulary_size: Embeddings of words, padding included.
        dof: Values in a state or target.
        horizon: Targets in a chunk.
    """

    cameras: int
    vocabulary_size: int
    dof: int
    horizon: int
    image_size: tuple[int, int] = (64, 64)
    backbone: CompactConfig = field(default_factory=CompactConfig)
    head: OftConfig = field(default_factory=OftConfig)

    def to_json(self) -> dict[str, Any]:
        """The tree as plain JSON values, each part with its `type`."""
        tree: dict[str, Any] = json.loads(json.dumps(asdict(self)))  # tuples become lists
        tree["backbone"] = {"type": _kind(BACKBONES, self.backbone), **tree["backbone"]}
        tree["head"] = {"type": _kind(HEADS, self.head), **tree["head"]}
        return tree

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> PolicyConfig:
        """Rebuilds the tree.

        Raises:
            PolicyError: A part is missing, unknown or has a field that this version does not know.
        """
        try:
            fields = {**document}
            fields["backbone"] = _part(BACKBONES, fields["backbone"])
            fields["head"] = _part(HEADS, fields["head"])
            fields["image_size"] = tuple(fields["image_size"])
            return cls(**fields)
        except (KeyError, TypeError) as err:
            raise PolicyError(
                "the configuration of the policy cannot be used",
                expected=f"backbone {sorted(BACKBONES)}, head {sorted(HEADS)}",
                found=f"{type(err).__name__}: {err}",
                remedy="use the version of the library that wrote it, or train again",
            ) from err


def _kind(registry: Mapping[str, type], part: object) -> str:
    return next(name for name, kind in registry.items() if type(part) is kind)


def _part(registry: Mapping[str, type], document: Mapping[str, Any]) -> Any:
    fields = {k: tuple(v) if isinstance(v, list) else v for k, v in document.items() if k != "type"}
    return registry[document["type"]](**fields)
