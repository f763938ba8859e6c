"""The configuration tree of a policy, from dataclasses to JSON and back.

One registry per kind of part: a new backbone or head adds its dataclass here and its module in
`model.py`. The tree is stored in the bundle, so nobody types an architecture twice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal

from finevla.errors import PolicyError

FLOATS = ("float32", "bfloat16")
"""Number formats of a language model's weights and of its computation."""


WORD_ORDERS = ("context", "positions")


def _require(condition: bool, what: str, expected: object, found: object) -> None:
    if not condition:
        raise PolicyError(
            f"a setting of the policy is impossible: {what}",
            expected=expected,
            found=found,
            remedy="correct it, or start from a preset (finevla.policy.presets)",
        )


def _require_positive(part: object, *names: str) -> None:
    found = {name: getattr(part, name) for name in names if not getattr(part, name) > 0}
    _require(not found, type(part).__name__, "positive numbers", found)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactConfig:
    """Small convolutional backbone with language-modulated features.

    Args:
        vocabulary_size: Embeddings of words, padding included.
        width: Width of a token.
        layers: Transformer blocks over text, picture, state and queries.
        attention_heads: Heads of each block.
        mlp_ratio: Hidden width of a block over its width.
        channels: Channels of the three convolutions.
        maps: Feature maps whose expected position is read out.
        queried: Further maps, each the inner product of the features with a vector of the condition; with
            none, no place can be marked (`finevla.policy.grounding`).
        pointing: Frequencies of the waves that tell the marked place to the actions; 0: it is not told.
        word_order: How a word is told apart: by its neighbours (`context`), or by its number in the sentence
            (`positions`), which does not carry over to other orders of clauses.
        phase: Whether the state, too, decides what the picture is searched for.
        temperature: Factor on the maps before the spatial softmax; larger is sharper.
        coordinate_gain: Factor on the positions read out.
        text_tokens: Tokens pooled from the words for the transformer.
        max_words: Longest instruction in content words.
    """

    resizes: ClassVar[bool] = False
    """Whether the backbone brings pictures of any size to the size of the configuration."""

    vocabulary_size: int
    width: int = 128
    layers: int = 2
    attention_heads: int = 4
    mlp_ratio: int = 3
    channels: tuple[int, int, int] = (32, 48, 64)
    maps: int = 32
    queried: int = 8
    pointing: int = 4
    word_order: Literal["context", "positions"] = "context"
    phase: bool = True
    temperature: float = 4.0
    coordinate_gain: float = 3.0
    text_tokens: int = 4
    max_words: int = 32

    def __post_init__(self) -> None:
        """Refuses shapes that no network has."""
        _require_positive(self, "vocabulary_size", "width", "attention_heads", "maps", "max_words")
        _require(self.queried >= 0, "queried", "0 or more", self.queried)
        _require(self.pointing >= 0, "pointing", "0 or more", self.pointing)
        _require(self.word_order in WORD_ORDERS, "word_order", WORD_ORDERS, self.word_order)


@dataclass(frozen=True, slots=True, kw_only=True)
class QwenConfig:
    """Vision-language model of the Qwen3-VL or Qwen3.5 family, built by transformers.

    Args:
        architecture: Configuration of the model as transformers writes it (`config.json`); its
            `model_type` is `qwen3_vl` or `qwen3_5`. With it a bundle needs no hub.
        placeholder_id: Token whose last hidden states are a head's queries.
        pad_id: Token that fills up short texts; it may stand nowhere else.
        weights: Format of the parameters: `float32`, or `bfloat16` for half the memory.
        compute: `bfloat16` runs the model under autocast; the head stays in float32.
        gradient_checkpointing: Trades a second forward pass in training for memory.
    """

    resizes: ClassVar[bool] = True

    architecture: Mapping[str, Any] = field(hash=False)
    placeholder_id: int
    pad_id: int
    weights: str = "float32"
    compute: str = "bfloat16"
    gradient_checkpointing: bool = False

    def __post_init__(self) -> None:
        """Refuses formats that do not exist or fit each other."""
        chosen = (self.weights, self.compute)
        _require(all(name in FLOATS for name in chosen), "weights and compute", FLOATS, chosen)
        _require(self.weights == "float32" or self.compute == "bfloat16", "compute", "bfloat16", chosen)
        plain: dict[str, Any] = json.loads(json.dumps(dict(self.architecture)))  # tuples become lists
        object.__setattr__(self, "architecture", plain)


@dataclass(frozen=True, slots=True, kw_only=True)
class OftConfig:
    """Parallel decoding with an L1 loss: one query per target, all in one pass.

    Args:
        hidden: Width of the residual blocks (twice the backbone's width in the paper).
        blocks: Residual blocks per query; 0 makes the head one linear layer without `hidden`.
    """

    hidden: int = 0
    blocks: int = 0

    def __post_init__(self) -> None:
        """Refuses blocks without a width."""
        _require(
            self.blocks == self.hidden == 0 or min(self.blocks, self.hidden) > 0,
            "hidden and blocks of the head",
            "both positive, or both 0",
            (self.hidden, self.blocks),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowConfig:
    """Diffusion transformer that denoises a chunk by rectified flow (GR00T N1.5).

    Args:
        width: Width of a token of the transformer.
        layers: Blocks; even ones attend to the context, odd ones to the chunk itself.
        attention_heads: Heads of each block.
        output: Width of the transformer's output.
        decoder_hidden: Hidden width of the layers that turn an output into a target.
        future_tokens: Learned tokens that the chunk can attend to.
        dropout: Share of dropped values in training.
        time_buckets: Number of distinguished flow times.
        repeats: Noise draws per sample and update.
        euler_steps: Steps from noise to chunk at inference.
    """

    width: int = 128
    layers: int = 3
    attention_heads: int = 4
    output: int = 128
    decoder_hidden: int = 128
    future_tokens: int = 8
    dropout: float = 0.0
    time_buckets: int = 1000
    repeats: int = 4
    euler_steps: int = 4

    def __post_init__(self) -> None:
        """Refuses shapes that no transformer has."""
        _require_positive(self, "width", "layers", "attention_heads", "output", "decoder_hidden")
        _require_positive(self, "time_buckets", "repeats", "euler_steps")
        _require(self.width % self.attention_heads == 0, "width", "a multiple of the heads", self.width)
        _require(0.0 <= self.dropout < 1.0, "dropout", "in [0, 1)", self.dropout)
        _require(self.future_tokens >= 0, "future_tokens", "0 or more", self.future_tokens)


BackboneConfig = CompactConfig | QwenConfig
HeadConfig = OftConfig | FlowConfig

BACKBONES: Mapping[str, type[BackboneConfig]] = {"compact": CompactConfig, "qwen": QwenConfig}
HEADS: Mapping[str, type[HeadConfig]] = {"oft": OftConfig, "flow": FlowConfig}


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyConfig:
    """Everything that fixes the shapes of a policy.

    Args:
        cameras: Pictures per frame.
        dof: Values in a state or target.
        horizon: Targets in a chunk.
        backbone: Its kind is its type.
        head: Its kind is its type.
        image_size: Width and height of each picture, pixels.
        use_state: Whether the measured joints are an input.
    """

    cameras: int
    dof: int
    horizon: int
    backbone: BackboneConfig
    head: HeadConfig = field(default_factory=OftConfig)
    image_size: tuple[int, int] = (64, 64)
    use_state: bool = True

    def __post_init__(self) -> None:
        """Refuses a policy without pictures, joints or targets."""
        _require_positive(self, "cameras", "dof", "horizon")

    @property
    def queries(self) -> int:
        """Queries that the head sends through the backbone."""
        return self.horizon if isinstance(self.head, OftConfig) else 0

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
