"""Who may move the arms: each source turns what it has received into a target per tick. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cobotmagic_driver.core_types import CoreSettings
from cobotmagic_driver.safety import Reach
from cobotmagic_driver.state_machine import JOINTS, LEADER
from cobotmagic_driver.trajectory import ChunkFollower, StreamFollower
from finevla.contract.frame import NS_PER_S
from finevla.contract.robot import ARM_SIDES

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a source does not move the arms any longer: reason code and a sentence."""

    code: str
    reason: str


class Source(Protocol):
    """What the core follows while it is ACTIVE."""

    def ending(self, now_ns: int) -> Ending | None:
        """Why the arms shall hold now; None: they shall go on."""

    def target(self, now_ns: int) -> Vector:
        """Where the arms shall be now, shape (14,), rad and m."""

    def reach(self, now_ns: int) -> Reach | None:
        """Between which positions the target will stay from now on; None: nobody knows."""

    def clear(self) -> None:
        """Forgets what was received."""


class PolicySource:
    """Action chunks of a policy, blended."""

    def __init__(self, settings: CoreSettings) -> None:
        self.follower = ChunkFollower(settings.blend_s, settings.chunk_timeout_s)

    def ending(self, now_ns: int) -> Ending | None:
        """HOLD where no chunk has arrived for too long."""
        if self.follower.is_stale(now_ns):
            return Ending("stale_chunk", "no new action chunk arrived in time")
        return None

    def target(self, now_ns: int) -> Vector:
        """See `Source`."""
        return self.follower.target(now_ns)

    def reach(self, now_ns: int) -> Reach | None:
        """See `Source`."""
        return self.follower.reach(now_ns)

    def clear(self) -> None:
        """See `Source`."""
        self.follower.clear()


_SILENT = {
    LEADER: Ending("stale_leader", "a leader arm has gone silent"),
    JOINTS: Ending("stale_joints", "joint commands have ceased"),
}


class StreamSource:
    """Joints that come as a stream: leader arms, one message per arm, or joint commands for both.

    Args:
        name: LEADER or JOINTS.
        timeout_s: The stream is silent when a side has sent nothing for longer, s.
    """

    def __init__(self, name: str, timeout_s: float) -> None:
        self._silent = _SILENT[name]
        self._timeout_ns = round(timeout_s * NS_PER_S)
        self._sides: dict[str, StreamFollower] = {}

    def push(self, side: str, values: Vector, now_ns: int) -> None:
        """Takes seven joints of one side, rad and m."""
        self._sides.setdefault(side, StreamFollower()).push(values, now_ns)

    def newest(self, side: str) -> Vector | None:
        """The seven joints that a side sent last."""
        follower = self._sides.get(side)
        return None if follower is None else follower.newest

    def is_fresh(self, side: str, now_ns: int) -> bool:
        """True where a side is not silent."""
        follower = self._sides.get(side)
        return follower is not None and follower.age_ns(now_ns) <= self._timeout_ns

    def ending(self, now_ns: int) -> Ending | None:
        """HOLD where a side has gone silent."""
        return self._silent if self._age_ns(now_ns) > self._timeout_ns else None

    def _age_ns(self, now_ns: int) -> float:
        if len(self._sides) < len(ARM_SIDES):
            return math.inf
        return max(follower.age_ns(now_ns) for follower in self._sides.values())

    def target(self, now_ns: int) -> Vector:
        """See `Source`."""
        return np.concatenate([self._sides[side].target(now_ns) for side in ARM_SIDES])

    def reach(self, _now_ns: int) -> Reach | None:
        """See `Source`: where a leader will go nobody knows."""
        return None

    def clear(self) -> None:
        """See `Source`."""
        self._sides.clear()


@dataclass(frozen=True, slots=True)
class JointPath:
    """A planned trajectory: where the joints that it names shall be, and when.

    Attributes:
        start_ns: When its time zero is, ns since the epoch.
        times_s: Times of the points after that, shape (K,), increasing, s.
        columns: Places of the named joints in the vector of fourteen, n of them.
        positions: Their positions, shape (K, n), rad and m.
    """

    start_ns: int
    times_s: Vector
    columns: tuple[int, ...]
    positions: Vector

    @property
    def end_ns(self) -> int:
        """When the last point is reached."""
        return self.start_ns + round(float(self.times_s[-1]) * NS_PER_S)

    def as_chunk_rows(self, rest: Vector) -> Vector:
        """The points as vectors of fourteen, shape (K, 14); joints without a name keep `rest`."""
        rows = np.repeat(rest[None], len(self.times_s), axis=0)
        rows[:, list(self.columns)] = self.positions
        return rows


class TrajectorySource:
    """One planned trajectory, linear between its points; joints that it does not name keep their command."""

    def __init__(self) -> None:
        self._path: JointPath | None = None

    def begin(self, path: JointPath, command: Vector, now_ns: int) -> None:
        """Follows `path` from the present command on."""
        self._path = path
        first = (now_ns - path.start_ns) / NS_PER_S
        later = path.times_s > first
        times = [first, *path.times_s[later]]
        self._times = np.array(times)
        self._rows = np.vstack([command[None], path.as_chunk_rows(command)[later]])

    def ending(self, now_ns: int) -> Ending | None:
        """HOLD at the end."""
        if self._path is None or now_ns > self._path.end_ns:
            return Ending("trajectory_done", "the trajectory has ended")
        return None

    def target(self, now_ns: int) -> Vector:
        """See `Source`.

        Raises:
            ValueError: There is no trajectory.
        """
        if self._path is None:
            raise ValueError("there is no trajectory to follow")
        at = (now_ns - self._path.start_ns) / NS_PER_S
        return np.array([np.interp(at, self._times, column) for column in self._rows.T])

    def reach(self, now_ns: int) -> Reach | None:
        """See `Source`."""
        if self._path is None:
            return None
        rows = self._rows[self._times >= (now_ns - self._path.start_ns) / NS_PER_S]
        return (rows.min(axis=0), rows.max(axis=0)) if len(rows) else None

    def clear(self) -> None:
        """See `Source`."""
        self._path = None
