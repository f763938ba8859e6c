"""Chunks in time to one target per tick: sampling, blending from one chunk to the next, staleness."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from finevla.contract.frame import NS_PER_S, ActionChunk
from numpy.typing import NDArray


@dataclass(slots=True)
class _Segment:
    """A chunk that takes over at `start_ns`, linearly within the blend time, from `before`."""

    chunk: ActionChunk
    start_ns: int
    before: _Segment | None


class ChunkFollower:
    """Turns the stream of chunks into a target at any time.

    Args:
        blend_s: Time over which a new chunk takes over from the one before it, in s.
        stale_s: A stream is stale when its newest chunk arrived longer ago than this, in s.
    """

    def __init__(self, blend_s: float, stale_s: float) -> None:
        self._blend_ns = round(blend_s * NS_PER_S)
        self._stale_ns = round(stale_s * NS_PER_S)
        self._segment: _Segment | None = None

    @property
    def newest(self) -> ActionChunk | None:
        """The chunk that arrived last, if any is followed."""
        return None if self._segment is None else self._segment.chunk

    def clear(self) -> None:
        """Forgets every chunk: the next one starts anew, without blending."""
        self._segment = None

    def refuse(self, chunk: ActionChunk, now_ns: int) -> str:
        """Why `chunk` cannot be followed at `now_ns`; empty: it can."""
        if chunk.t0_ns > now_ns + self._stale_ns:
            return "future_chunk"
        if chunk.end_ns < now_ns:
            return "expired_chunk"
        newest = self.newest
        if newest is not None and chunk.observation_stamp_ns < newest.observation_stamp_ns:
            return "older_chunk"
        return ""

    def accept(self, chunk: ActionChunk, now_ns: int) -> None:
        """Follows `chunk` from `now_ns` on."""
        self._segment = _Segment(chunk, now_ns, self._segment)

    def target(self, now_ns: int) -> NDArray[np.float64]:
        """The target at `now_ns`, shape (14,), rad and m.

        Raises:
            ValueError: No chunk is followed.
        """
        if self._segment is None:
            raise ValueError("there is no chunk to follow")
        return self._sample(self._segment, now_ns)

    def _sample(self, segment: _Segment, now_ns: int) -> NDArray[np.float64]:
        new = segment.chunk.sample(now_ns)
        if segment.before is None:
            return new
        weight = (now_ns - segment.start_ns) / self._blend_ns if self._blend_ns else 1.0
        if weight >= 1.0:
            segment.before = None
            return new
        old = self._sample(segment.before, now_ns)
        mixed: NDArray[np.float64] = (1.0 - weight) * old + weight * new
        return mixed

    def is_stale(self, now_ns: int) -> bool:
        """True where no chunk has arrived for too long."""
        return self._segment is not None and now_ns - self._segment.start_ns > self._stale_ns

    def age_s(self, now_ns: int) -> float:
        """Seconds since the newest chunk arrived; negative: none is followed."""
        return -1.0 if self._segment is None else (now_ns - self._segment.start_ns) / NS_PER_S
