"""One hash over everything of an episode that a policy can see."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from finevla.bag import EncodedImage


class EpisodeDigest:
    """SHA-256 over texts, states and actions, then the images, camera by camera in the order of their names.

    Args:
        texts: Instruction, level, dimensions.
        state: (n, dof), float32.
        action: (n, dof), float32.
    """

    def __init__(self, texts: Sequence[str], state: NDArray[np.float32], action: NDArray[np.float32]) -> None:
        self._sha = hashlib.sha256("\n".join(texts).encode())
        for rows in (state, action):
            self._sha.update(np.ascontiguousarray(rows))

    def add(self, camera: str, image: EncodedImage) -> None:
        """Adds the next image of a camera."""
        self._sha.update(f"{camera} {image.encoding} {len(image.data)}\n".encode())
        self._sha.update(image.data)

    def hexdigest(self) -> str:
        """The digest of all that was added."""
        return self._sha.hexdigest()
