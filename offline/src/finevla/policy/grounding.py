"""The grounding loss: one map of the backbone marks the place where the hand will act next.

A cross-entropy over the cells of the map, against a bell of 1.5 cells around the place. Its gradient
reaches the language-modulated features directly, where that of a joint target arrives through a
spatial softmax that is nearly uniform at first. It is used in training only.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_BELL_CELLS = 1.5
_BEYOND = 1.05
"""Places further out than this, in half widths of the picture, are not in it."""


class Grounding(NamedTuple):
    """Labels of the grounding loss: places (B, 2) as `grounding_loss` takes them, and its weight."""

    place_b2: Tensor
    weight: float


def grounding_loss(logits_bhw: Tensor, place_b2: Tensor) -> Tensor:
    """Mean cross-entropy of the samples whose place is in the picture; 0 where there is none.

    Args:
        logits_bhw: The map, (B, height, width).
        place_b2: Right and down, -1 to 1 from edge to edge; nan where nothing follows.
    """
    batch, height, width = logits_bhw.shape
    logits = logits_bhw.float().reshape(batch, -1)
    known = torch.isfinite(place_b2).all(1) & (place_b2.abs() < _BEYOND).all(1)
    place = torch.nan_to_num(place_b2)
    x, y = (torch.linspace(-1.0, 1.0, size, device=logits.device) for size in (width, height))
    away = ((x[None] - place[:, :1]) * (width - 1) / 2)[:, None, :] ** 2
    away = away + ((y[None] - place[:, 1:]) * (height - 1) / 2)[:, :, None] ** 2
    bell = torch.softmax(-away.reshape(batch, -1) / (2 * _BELL_CELLS**2), dim=-1)
    entropy = -(bell * torch.log_softmax(logits, dim=-1)).sum(-1)
    weight = known.to(entropy.dtype)
    return (entropy * weight).sum() / weight.sum().clamp(min=1.0)
