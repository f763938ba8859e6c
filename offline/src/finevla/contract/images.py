"""Camera image to policy input: the one definition, run by the trainer and by the live node.

The arms' workspace is cut out of the picture and resized by exact area averaging. A policy of this
size binds a word to a place only when the objects fill the picture, so the box leaves out the
black border and the arm bases. The box travels in the bundle: training and inference cannot
disagree. Resizing is done here in numpy because image libraries differ in their rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finevla.errors import ContractError


@dataclass(frozen=True, slots=True)
class WorkspaceCrop:
    """Cuts a box out of a picture and resizes it by area averaging.

    Args:
        source: Width and height of the camera picture, pixels.
        box: Left, top, right, bottom of the workspace, pixels; right and bottom are exclusive.
        size: Width and height of the result, pixels.

    Raises:
        ContractError: The box is empty or leaves the picture, or the result would be enlarged.
    """

    source: tuple[int, int]
    box: tuple[int, int, int, int]
    size: tuple[int, int] = (64, 64)

    def __post_init__(self) -> None:
        """Rejects a box that no picture of this size has."""
        left, top, right, bottom = self.box
        inside = 0 <= left < right <= self.source[0] and 0 <= top < bottom <= self.source[1]
        small = 0 < self.size[0] <= right - left and 0 < self.size[1] <= bottom - top
        if not inside or not small:
            raise ContractError(
                "the workspace box does not fit the camera picture",
                expected=f"a box within {self.source} that is at least {self.size} pixels large",
                found=self.box,
                remedy="give left, top, right, bottom in pixels of the camera picture",
            )

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Turns an RGB picture (height, width, 3) uint8 into the policy's input, same dtype.

        Raises:
            ContractError: The picture has another shape or dtype than the box was chosen for.
        """
        width, height = self.source
        if image.shape != (height, width, 3) or image.dtype != np.uint8:
            raise ContractError(
                "the camera picture is not the one that the policy was trained with",
                expected=f"uint8 of shape {(height, width, 3)}",
                found=f"{image.dtype} of shape {image.shape}",
                remedy="set the camera to the resolution of the contract, RGB",
            )
        left, top, right, bottom = self.box
        rows = _area_weights(bottom - top, self.size[1])
        columns = _area_weights(right - left, self.size[0])
        cut = image[top:bottom, left:right].astype(np.float64)
        mixed = np.matmul(columns, np.tensordot(rows, cut, axes=1))
        result: NDArray[np.uint8] = np.floor(mixed + 0.5).astype(np.uint8)
        return result

    def to_json(self) -> dict[str, Any]:
        """The transform as plain JSON values."""
        return {name: list(value) for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> WorkspaceCrop:
        """Rebuilds the transform.

        Raises:
            ContractError: A field is missing, unknown or not made of integers.
        """
        try:
            fields = {name: tuple(int(v) for v in value) for name, value in document.items()}
            return cls(**fields)  # type: ignore[arg-type]  # lengths are checked by unpacking
        except (TypeError, ValueError, AttributeError) as err:
            raise ContractError(
                "the image transform cannot be read",
                expected="source, box and size as lists of integers",
                found=document,
                remedy="take the bundle or configuration as the tool wrote it",
            ) from err


@lru_cache(maxsize=32)
def _area_weights(before: int, after: int) -> NDArray[np.float64]:
    """Share of each old pixel in each new one, shape (after, before); every row sums to 1."""
    edges = np.linspace(0.0, before, after + 1)
    starts = np.arange(before)
    overlap = np.minimum(edges[1:, None], starts + 1) - np.maximum(edges[:-1, None], starts)
    weights: NDArray[np.float64] = np.clip(overlap, 0.0, None)
    weights /= weights.sum(axis=1, keepdims=True)
    weights.setflags(write=False)
    return weights
