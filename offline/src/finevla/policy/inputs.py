"""What flows between the parts of a policy: inputs to a backbone, encoded tokens to a head."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor


class Inputs(NamedTuple):
    """A batch as the backbones take it.

    pictures: (B, cameras, 3, height, width) float in [-1, 1]; words: (B, L) int64 token numbers of
    the text codec, padded at the end; state: (B, dof) normalised.
    """

    pictures: Tensor
    words: Tensor
    state: Tensor

    def to(self, device: torch.device | str) -> Inputs:
        """The same batch on another device."""
        return Inputs(*(part.to(device) for part in self))


class Encoded(NamedTuple):
    """What a backbone gives to a head, float32.

    context: (B, N, width); queries: (B, Q, width), the head's queries after the backbone; keep_bn:
    (B, N) bool, True where a context token is real, or None where all of them are; place_logits:
    (B, height, width), a map over the first picture that can be trained to mark a place, or None.
    """

    context: Tensor
    queries: Tensor
    keep_bn: Tensor | None = None
    place_logits: Tensor | None = None


class Prefix(NamedTuple):
    """The part of a running chunk that a new chunk must continue (real-time chunking).

    targets: (B, P, dof), normalised, at the times of the first P targets of the new chunk;
    weights: (P,) in [0, 1]: 1 freezes a target, 0 leaves it free.
    """

    targets: Tensor
    weights: Tensor


def masked_mean(error_bhd: Tensor, valid_bh: Tensor) -> Tensor:
    """Mean of an error over the valid targets of a batch, a scalar; 0 where none is valid.

    Args:
        error_bhd: One error per value, (B, H, dof).
        valid_bh: True where a target exists; the rest is padding and counts nothing.
    """
    weight = valid_bh.to(error_bhd.dtype)
    return (error_bhd.mean(-1) * weight).sum() / weight.sum().clamp(min=1.0)


def camera_order(names: Iterable[str]) -> tuple[str, ...]:
    """Cameras as a language-model backbone takes them: wrist views after the others, else as given."""
    return tuple(sorted(names, key=lambda name: "wrist" in name))
