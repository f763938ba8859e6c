"""Camera image to policy input: the one definition, run by the trainer and by the live node.

The arms' workspace is cut out of the picture and resized by exact area averaging. A policy of this
size binds a word to a place only when the objects fill the picture, so the box leaves out the
black border and the arm bases. The box travels in the bundle: training and inference cannot
disagree. Resizing is done here in numpy because image libraries differ in their rounding. Its sums
are whole numbers, which floating point holds exactly in any order of summation, so that trainer and node
give the same bytes on every machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finevla.errors import ContractError

_WHITE = 255
_EXACT_FLOAT32 = 1 << 24
"""Whole numbers below this have an exact float32."""


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
        area = (right - left) * (bottom - top)
        small = _WHITE * area < _EXACT_FLOAT32
        exact, whole = (np.float32, np.int32) if small else (np.float64, np.int64)
        rows = _area_weights(bottom - top, self.size[1]).astype(exact)
        columns = _area_weights(right - left, self.size[0]).astype(exact)
        planes = image[top:bottom, left:right].transpose(2, 0, 1).astype(exact, order="C")
        sums = np.matmul(rows, planes).reshape(-1, right - left) @ columns.T
        means = (2 * sums.astype(whole) + area) // (2 * area)  # rounded half up
        mixed = means.astype(np.uint8).reshape(3, self.size[1], self.size[0])
        return np.ascontiguousarray(mixed.transpose(1, 2, 0))

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
def _area_weights(before: int, after: int) -> NDArray[np.int64]:
    """Overlap of each new pixel with each old one, shape (after, before), in parts of 1 / after.

    New pixel j covers [j, j + 1) * before / after of the old ones; every row sums to `before`.
    """
    new, old = np.arange(after)[:, None], np.arange(before)
    overlap = np.minimum((new + 1) * before, (old + 1) * after) - np.maximum(new * before, old * after)
    weights: NDArray[np.int64] = np.maximum(overlap, 0)
    weights.setflags(write=False)
    return weights
