"""A bag as what it is: serialized messages at the times at which they were recorded."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from finevla.bag.damage import DAMAGE, damaged
from finevla.bag.reader import EpisodeReader
from finevla.bag.types import typestore


@dataclass(frozen=True, slots=True)
class Logged:
    """A serialized message (CDR with its header) and when it was recorded, ns since the epoch."""

    topic: str
    log_ns: int
    cdr: bytes


class RawLog(EpisodeReader):
    """One bag, opened to be read message by message; any form that rosbag2 writes.

    Args and errors are those of `EpisodeReader`.
    """

    @property
    def span_ns(self) -> tuple[int, int]:
        """When the first message was recorded, and the first moment behind the last."""
        return self._reader.start_time, self._reader.end_time

    def kinds(self) -> dict[str, str]:
        """Message types by topic, of topics that have messages."""
        return {c.topic: c.msgtype for c in self._reader.connections if self.counts().get(c.topic)}

    def differs(self, kind: str) -> bool:
        """Whether the bag defines a message type otherwise than this version of the software."""
        ours, theirs = typestore(), self._reader.typestore
        known = kind in ours.fielddefs and kind in theirs.fielddefs
        return known and ours.hash_rihs01(kind) != theirs.hash_rihs01(kind)

    def messages(self, topics: Collection[str], begin_ns: int, end_ns: int) -> Iterator[Logged]:
        """Messages of these topics from `begin_ns` until before `end_ns`, in the order of the log.

        Nothing is held beyond what the file keeps together (a chunk).

        Raises:
            BagError: The file ends early or a part of it cannot be read.
        """
        wanted = [c for c in self._reader.connections if c.topic in topics]
        if not wanted:
            return
        try:
            for connection, log_ns, raw in self._reader.messages(wanted, start=begin_ns, stop=end_ns):
                yield Logged(connection.topic, log_ns, bytes(raw))
        except DAMAGE as err:
            raise damaged(self.path, err) from err
