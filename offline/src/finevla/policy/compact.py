"""The `compact` backbone: a million parameters, milliseconds on one core.

A stride-4 convolution, coordinate channels and two more convolutions, each modulated by text and state
(FiLM), then a spatial softmax that reads out where each map fires. Modulating the convolutions is
what binds a word to a place early; text that meets the picture only in attention does not within
minutes. There is no normalization layer: it costs as much as the convolutions and gains nothing.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, relu, scaled_dot_product_attention

from finevla.policy.config import CompactConfig
from finevla.policy.inputs import Encoded, Inputs
from finevla.policy.text import PADDING

_FILM_STD = 0.05
_LOGSUMEXP_SCALE = 10.0
_SHARPNESS = 2.0
"""Exponent of a map where its place is read: far weak maxima no longer pull at the mean."""
_REACH = 5
"""Words that one word's local context spans: itself and two to either side."""


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Attention; on a CPU in float32, since in bfloat16 its backward pass takes ten times as long there."""
    if query.device.type != "cpu":
        return scaled_dot_product_attention(query, key, value, attn_mask=mask)
    with torch.autocast("cpu", enabled=False):
        return scaled_dot_product_attention(query.float(), key.float(), value.float(), attn_mask=mask)


class Block(nn.Module):
    """Pre-norm transformer block with full attention; padded keys can be masked out."""

    def __init__(self, width: int, heads: int, mlp_ratio: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, mlp_ratio * width), nn.GELU(), nn.Linear(mlp_ratio * width, width)
        )

    def forward(self, tokens_bnd: Tensor, keep_bn: Tensor | None = None) -> Tensor:
        """Returns (B, N, width). `keep_bn` is True where a token may be attended to."""
        batch, count, width = tokens_bnd.shape
        split = self.qkv(self.norm_attention(tokens_bnd)).view(batch, count, 3, self.heads, -1)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        mask = None if keep_bn is None else keep_bn[:, None, None, :]
        mixed = _attend(query, key, value, mask)
        tokens_bnd = tokens_bnd + self.project(mixed.transpose(1, 2).reshape(batch, count, width))
        out: Tensor = tokens_bnd + self.mlp(self.norm_mlp(tokens_bnd))
        return out


class TextEncoder(nn.Module):
    """Words to one pooled vector (for FiLM) and a few attention-pooled tokens.

    A word is told apart by its neighbours, through a convolution. By its number in the sentence it is told
    only where the configuration asks for it: that is learned for the clause orders of training alone.
    """

    def __init__(self, part: CompactConfig) -> None:
        super().__init__()
        self.embed = nn.Embedding(part.vocabulary_size, part.width, padding_idx=PADDING)
        if part.word_order == "context":
            self.context = nn.Conv1d(part.width, part.width, _REACH, padding=_REACH // 2)
        else:
            self.place = nn.Parameter(0.02 * torch.randn(part.max_words, part.width))
        self.by_context = part.word_order == "context"
        self.block = Block(part.width, part.attention_heads, part.mlp_ratio)
        self.pool_queries = nn.Parameter(torch.randn(part.text_tokens, part.width))

    def forward(self, words_bl: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the masked mean (B, width) and tokens (B, text_tokens, width)."""
        keep = words_bl != PADDING
        used = max(int(keep.sum(1).max()), 1)
        words_bl, keep = words_bl[:, :used], keep[:, :used]
        words = self.embed(words_bl)  # zero at the padding, so the convolution sees the sentence end
        if self.by_context:
            words = words + gelu(self.context(words.transpose(1, 2))).transpose(1, 2)
        else:
            words = words + self.place[:used]
        states = self.block(words, keep)
        weight = keep.unsqueeze(-1).to(states.dtype)
        mean = (states * weight).sum(1) / weight.sum(1)
        scores = torch.einsum("td,bld->btl", self.pool_queries, states) / states.shape[-1] ** 0.5
        attention = scores.masked_fill(~keep[:, None, :], float("-inf")).softmax(-1)
        return mean, attention @ states


def _film_layer(width: int, channels: int) -> nn.Linear:
    """Text to one gain and one shift per channel; starts close to no modulation."""
    layer = nn.Linear(width, 2 * channels)
    nn.init.normal_(layer.weight, std=_FILM_STD)
    nn.init.zeros_(layer.bias)
    return layer


class FilmStem(nn.Module):
    """A picture and a condition to the expected positions of feature maps.

    The first `queried` maps are inner products of the features with vectors made of the condition: the
    shortest way from a word to a place. The first of them is what `finevla.policy.grounding` trains.
    """

    def __init__(self, part: CompactConfig, image_size: tuple[int, int]) -> None:
        super().__init__()
        first, second, third = part.channels
        self.first = nn.Conv2d(3, first, 8, stride=4, padding=2)
        self.second = nn.Conv2d(first + 2, second, 3, padding=1)
        self.third = nn.Conv2d(second, third, 3, padding=1)
        self.films = nn.ModuleList(_film_layer(part.width, size) for size in part.channels)
        self.maps = nn.Conv2d(third, part.maps, 1)
        self.queried = part.queried
        if part.queried:
            self.query = nn.Linear(part.width, part.queried * third)
            nn.init.normal_(self.query.weight, std=_FILM_STD)
            nn.init.zeros_(self.query.bias)
        self.out = nn.Linear(3 * (part.maps + part.queried), part.width)
        self.temperature, self.gain = part.temperature, part.coordinate_gain
        width, height = (size // 4 for size in image_size)
        y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
        self.register_buffer("grid", torch.stack([x, y]), persistent=False)
        self.grid: Tensor

    def _film(self, index: int, features: Tensor, condition: Tensor) -> Tensor:
        gain, shift = self.films[index](condition)[:, :, None, None].chunk(2, dim=1)
        return relu(features * (1 + gain) + shift)

    def forward(self, picture_b3hw: Tensor, condition_bd: Tensor) -> tuple[Tensor, Tensor | None]:
        """Returns one token per picture, (B, width), and the first queried map (B, height, width), logits."""
        features = self._film(0, self.first(picture_b3hw), condition_bd)
        features = torch.cat([features, self.grid.expand(features.shape[0], -1, -1, -1)], dim=1)
        features = self._film(1, self.second(features), condition_bd)
        features = self._film(2, self.third(features), condition_bd)
        maps = self.maps(features).flatten(2)
        if self.queried:
            queries = self.query(condition_bd).view(len(condition_bd), self.queried, -1)
            maps = torch.cat([queries @ features.flatten(2), maps], dim=1)
        logits = self.temperature * maps.float()
        place = logits.softmax(-1) @ self.grid.flatten(1).T * self.gain
        strength = logits.logsumexp(-1) / _LOGSUMEXP_SCALE
        token: Tensor = self.out(torch.cat([place.flatten(1), strength], dim=1))
        return token, logits[:, 0].view(len(logits), *self.grid.shape[1:]) if self.queried else None


class Pointer(nn.Module):
    """The place that a map marks, told to the actions precisely.

    Positions that only pass through the picture token reach the joints to a few centimetres after
    thousands of updates, however well the map knows the place. Waves of several lengths make a
    small network of it precise (Fourier features, Tancik et al. 2020, section 4).
    """

    def __init__(self, part: CompactConfig) -> None:
        super().__init__()
        waves = math.pi * 2.0 ** torch.arange(-1.0, part.pointing - 1.0)
        self.register_buffer("waves", waves, persistent=False)
        self.waves: Tensor
        self.mlp = nn.Sequential(
            nn.Linear(2 + 4 * part.pointing + part.width, 2 * part.width),
            nn.GELU(),
            nn.Linear(2 * part.width, part.width),
        )

    def forward(self, logits_bhw: Tensor, grid_2hw: Tensor, condition_bd: Tensor) -> Tensor:
        """Returns (B, width): where the map is high, in the light of words and state."""
        sharp = (_SHARPNESS * logits_bhw.flatten(1)).softmax(-1)
        place = (sharp.unsqueeze(1) * grid_2hw.flatten(1)).sum(-1)  # in float32 under autocast, too
        phase = (place.unsqueeze(-1) * self.waves).flatten(1)
        out: Tensor = self.mlp(torch.cat([place, phase.sin(), phase.cos(), condition_bd], dim=1))
        return out


class CompactBackbone(nn.Module):
    """Pictures, words and state to context tokens and updated queries.

    Args:
        part: Its configuration.
        cameras: Pictures per frame.
        image_size: Their width and height, pixels.
        dof: Values of the state, or None where the policy does not see it.
    """

    def __init__(
        self, part: CompactConfig, cameras: int, image_size: tuple[int, int], dof: int | None
    ) -> None:
        super().__init__()
        self.text = TextEncoder(part)
        self.stem = FilmStem(part, image_size)
        self.camera = nn.Parameter(0.02 * torch.randn(cameras, part.width))
        self.state = None if dof is None else nn.Linear(dof, part.width)
        self.phase = nn.Linear(dof, part.width) if dof is not None and part.phase else None
        self.pointer = Pointer(part) if part.queried and part.pointing else None
        self.kind = nn.Parameter(0.02 * torch.randn(4 if dof is not None else 3, part.width))
        self.blocks = nn.ModuleList(
            Block(part.width, part.attention_heads, part.mlp_ratio) for _ in range(part.layers)
        )
        self.norm = nn.LayerNorm(part.width)

    @property
    def width(self) -> int:
        """Width of every token."""
        return int(self.kind.shape[1])

    def forward(self, inputs: Inputs, queries_qd: Tensor) -> Encoded:
        """Returns context tokens [text, pictures, state] and one updated token per query.

        The words are pooled, so every context token is real: there is no mask. The state is part of
        what the picture is looked at with: a hand that holds something looks for another place.
        """
        condition, text = self.text(inputs.words)
        if self.phase is not None:
            condition = condition + self.phase(inputs.state)
        batch, cameras = inputs.pictures.shape[:2]
        seen, places = self.stem(inputs.pictures.flatten(0, 1), condition.repeat_interleave(cameras, dim=0))
        first = None if places is None else places.view(batch, cameras, *places.shape[1:])[:, 0]
        pictures, queries = seen.view(batch, cameras, -1) + self.camera, queries_qd.expand(batch, -1, -1)
        if self.pointer is not None and first is not None:
            pointed = self.pointer(first, self.stem.grid, condition).unsqueeze(1)
            pictures, queries = pictures + pointed, queries + pointed
        parts = [text, pictures]
        if self.state is not None:
            parts.append(self.state(inputs.state).unsqueeze(1))
        parts.append(queries)
        tokens = torch.cat([part + kind for part, kind in zip(parts, self.kind, strict=True)], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        tokens = self.norm(tokens)
        split = tokens.shape[1] - queries_qd.shape[0]
        return Encoded(tokens[:, :split], tokens[:, split:], place_logits=first)
