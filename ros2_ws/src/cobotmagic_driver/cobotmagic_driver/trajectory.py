"""Chunks or streams of joints in time to one target per tick: sampling, blending, staleness."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from finevla.contract.frame import NS_PER_S, ActionChunk


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
        """Forgets every chunk."""
        self._segment = None

    def begin(self, chunk: ActionChunk, now_ns: int) -> None:
        """Starts anew with `chunk`; the limiter sees to it that the arms join it smoothly."""
        self._segment = _Segment(chunk, now_ns, None)

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

    def reach(self, now_ns: int) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Lowest and highest targets of the newest chunk from now on, shape (14,) each."""
        chunk = self.newest
        if chunk is None:
            return None
        first = int((now_ns - chunk.t0_ns) / (chunk.dt_s * NS_PER_S)) + 1
        rows = chunk.targets[min(max(first, 0), chunk.horizon - 1) :]
        return rows.min(axis=0), rows.max(axis=0)

    def is_stale(self, now_ns: int) -> bool:
        """True where no chunk has arrived for too long."""
        return self._segment is not None and now_ns - self._segment.start_ns > self._stale_ns

    def age_s(self, now_ns: int) -> float:
        """Seconds since the newest chunk arrived; negative: none is followed."""
        return -1.0 if self._segment is None else (now_ns - self._segment.start_ns) / NS_PER_S


class StreamFollower:
    """Turns seven joints, which come at any rate, into a target at any time.

    The target goes in a straight line from one message to the next and arrives when the one after it
    is due: one message late, and without steps.
    """

    def __init__(self) -> None:
        self._before: tuple[int, NDArray[np.float64]] | None = None
        self._newest: tuple[int, NDArray[np.float64]] | None = None

    @property
    def newest(self) -> NDArray[np.float64] | None:
        """The joints that came last, shape (7,)."""
        return None if self._newest is None else self._newest[1]

    def age_ns(self, now_ns: int) -> float:
        """Time since the newest message; infinite before the first."""
        return math.inf if self._newest is None else now_ns - self._newest[0]

    def push(self, values: NDArray[np.float64], now_ns: int) -> None:
        """Takes the joints of a message, shape (7,), rad and m."""
        self._before, self._newest = self._newest, (now_ns, values)

    def target(self, now_ns: int) -> NDArray[np.float64]:
        """The target at `now_ns`, shape (7,).

        Raises:
            ValueError: No message has come.
        """
        if self._newest is None:
            raise ValueError("no joints have come yet")
        if self._before is None or self._newest[0] <= self._before[0]:
            return self._newest[1]
        (then, old), (newest, new) = self._before, self._newest
        weight = min((now_ns - newest) / (newest - then), 1.0)
        mixed: NDArray[np.float64] = (1.0 - weight) * old + weight * new
        return mixed
