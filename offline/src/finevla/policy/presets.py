"""Named policies: a backbone preset and a head give a complete configuration.

`compact` is the recipe of a few minutes on two cores, with light heads; the `qwen` presets have the
shapes of the paper; `qwen-tiny` is a random model of the same structure for tests.
"""

from __future__ import annotations

from finevla.errors import PolicyError
from finevla.policy.config import (
    BackboneConfig,
    CompactConfig,
    FlowConfig,
    HeadConfig,
    OftConfig,
    PolicyConfig,
    QwenConfig,
)
from finevla.policy.qwen_presets import QWEN3_5_4B, QWEN3_VL_4B
from finevla.policy.qwen_tiny import QWEN_TINY

_PAPER_WIDTH = 2560
PAPER_HEADS: dict[str, HeadConfig] = {
    "oft": OftConfig(hidden=2 * _PAPER_WIDTH, blocks=2),
    "flow": FlowConfig(
        width=768,
        layers=16,
        attention_heads=12,
        output=2560,
        decoder_hidden=2560,
        future_tokens=32,
        dropout=0.2,
    ),
}
"""Heads of the paper: OFT with two residual blocks of twice the width; DiT-B."""

LIGHT_HEADS: dict[str, HeadConfig] = {"oft": OftConfig(hidden=256, blocks=2), "flow": FlowConfig()}
"""Heads of the compact backbone."""

_TINY_HEADS: dict[str, HeadConfig] = {
    "oft": OftConfig(hidden=64, blocks=2),
    "flow": FlowConfig(width=32, layers=2, attention_heads=2, output=32, decoder_hidden=32, future_tokens=4),
}

_QWEN: dict[str, tuple[QwenConfig, dict[str, HeadConfig], tuple[int, int]]] = {
    "qwen3-vl-4b": (QWEN3_VL_4B, PAPER_HEADS, (224, 224)),
    "qwen3.5-4b": (QWEN3_5_4B, PAPER_HEADS, (224, 224)),
    "qwen-tiny": (QWEN_TINY, _TINY_HEADS, (64, 64)),
}
_COMPACT = {"compact": 1, "compact-3cam": 3}

PRESETS = (*_COMPACT, *_QWEN)
"""Names of the backbone presets."""


def preset(name: str, head: str = "oft", *, dof: int, horizon: int, vocabulary_size: int = 0) -> PolicyConfig:
    """The configuration of a named policy.

    Args:
        name: One of `PRESETS`.
        head: `oft` or `flow`.
        dof: Values in a state or target.
        horizon: Targets in a chunk.
        vocabulary_size: Words of the compact backbone, padding included; other backbones bring
            their own.

    Raises:
        PolicyError: There is no such preset or head, or the compact backbone got no words.
    """
    if name not in PRESETS or head not in PAPER_HEADS:
        raise PolicyError(
            "there is no such policy",
            expected=f"{list(PRESETS)} with {list(PAPER_HEADS)}",
            found=f"{name!r} with {head!r}",
            remedy="choose one of these names",
        )
    if name in _COMPACT:
        backbone: BackboneConfig = CompactConfig(vocabulary_size=vocabulary_size)
        return PolicyConfig(
            cameras=_COMPACT[name], dof=dof, horizon=horizon, backbone=backbone, head=LIGHT_HEADS[head]
        )
    part, heads, size = _QWEN[name]
    return PolicyConfig(
        cameras=3,
        dof=dof,
        horizon=horizon,
        backbone=part,
        head=heads[head],
        image_size=size,
        use_state=False,
    )
