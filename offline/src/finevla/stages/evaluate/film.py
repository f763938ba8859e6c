"""The film of a pair: both runs side by side, from the overhead camera, as one small MP4.

One picture per inference is shown, at `FPS` pictures per second; the run that ends first holds its last
picture. What was said and done stands beside the film as text, not in it.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from finevla.stages.media import encode_mp4

FPS = 10
HALF_SIZE = (320, 240)
GAP = 8
"""Width of the strip between the halves, pixels."""
HOLD = 8
"""Pictures for which the end is held."""

Picture = NDArray[np.uint8]


def small(picture: Picture) -> Picture:
    """A camera's picture in the size of one half, shape (240, 320, 3)."""
    image = Image.fromarray(picture).resize(HALF_SIZE, Image.Resampling.BILINEAR)
    return np.asarray(image, dtype=np.uint8)


def side_by_side(reels: Sequence[Sequence[Picture]]) -> Iterator[Image.Image]:
    """Pictures of two runs next to each other, until the longer one has ended and was held.

    A run without pictures (its sentence was refused) is grey.
    """
    length = max(len(reel) for reel in reels)
    if not length:
        return
    blank = np.full((HALF_SIZE[1], HALF_SIZE[0], 3), 72, dtype=np.uint8)
    gap = np.zeros((HALF_SIZE[1], GAP, 3), dtype=np.uint8)
    for i in range(length + HOLD):
        left, right = (reel[min(i, len(reel) - 1)] if reel else blank for reel in reels)
        yield Image.fromarray(np.concatenate([left, gap, right], axis=1))


def film(reels: Sequence[Sequence[Picture]]) -> tuple[bytes, str]:
    """The MP4 of both runs and why there is none: one of the two is empty.

    A film is an extra: whatever goes wrong with it must not cost what was measured, so it is told
    instead of raised.
    """
    import av

    target = io.BytesIO()
    try:
        count = encode_mp4(target, side_by_side(reels), FPS)
    except (av.FFmpegError, OSError, ValueError) as err:
        return b"", f"the film could not be written: {err}"
    return (target.getvalue(), "") if count else (b"", "no picture was taken: both sentences were refused")
