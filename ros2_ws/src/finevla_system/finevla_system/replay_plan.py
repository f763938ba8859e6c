"""What is replayed of a bag, when each message is due, and with which stamp. No ROS."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from finevla.bag.cdr import restamped
from finevla.bag.raw_log import Logged
from finevla.contract.clock import to_ns
from finevla.contract.episode import RecordedTopic, Role, recorded_topics
from finevla.contract.frame import NS_PER_S
from finevla.contract.robot import RobotContract
from finevla.contract.services import REPLAY_NODE
from finevla.errors import BagError, LaunchError


@dataclass(frozen=True, slots=True)
class Choice:
    """The topics that are played, and those of the chosen roles that the bag has no message of."""

    topics: tuple[RecordedTopic, ...]
    absent: tuple[str, ...]


def choose(contract: RobotContract, kinds: Mapping[str, str], roles: str, topics: str, where: str) -> Choice:
    """Chooses what is played of a bag.

    Args:
        contract: Names the topics.
        kinds: Message types by topic, as the bag has them.
        roles: Roles, with commas.
        topics: Topics, with commas; replaces the roles where it is not empty.
        where: The bag, for messages.

    Raises:
        LaunchError: A role or topic is not one of the contract.
        BagError: The bag lacks a topic that was named, has nothing of the roles, or has another message type.
    """
    # A camera may have been recorded compressed, raw, or both.
    raw = [t for t in recorded_topics(contract, raw_images=True) if t.role is Role.CAMERA]
    known = {t.topic: t for t in (*recorded_topics(contract), *raw)}
    if topics:
        names = _listed("topics", topics, known)
        absent = tuple(name for name in names if name not in kinds)
    else:
        asked = {Role(name) for name in _listed("roles", roles, {role.value for role in Role})}
        names = [t.topic for t in known.values() if t.role in asked and t.topic in kinds]
        sources = {(known[name].role, known[name].source) for name in names}
        every = [t for t in recorded_topics(contract) if t.role in asked]
        absent = tuple(t.topic for t in every if t.topic not in kinds and (t.role, t.source) not in sources)
    if not names or (topics and absent):
        raise BagError(
            "the bag has no message of what should be replayed",
            where=where,
            expected=", ".join(absent),
            found=", ".join(sorted(set(kinds) & set(known))) or "no topic of the contract",
            remedy="choose among these (parameters roles and topics)",
        )
    for name in names:
        if kinds[name] != known[name].type:
            raise BagError(
                "a topic of the bag has another message type",
                where=f"{where}: {name}",
                expected=known[name].type,
                found=kinds[name],
                remedy="leave it out (parameters roles and topics)",
            )
    return Choice(tuple(known[name] for name in names), absent)


def _listed(parameter: str, text: str, allowed: Iterable[str]) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names or not set(names) <= set(allowed):
        raise LaunchError(
            f"the parameter {parameter} names something else",
            where=f"node {REPLAY_NODE}",
            expected=f"some of {', '.join(allowed)}, with commas",
            found=text,
            remedy="correct the name",
        )
    return list(dict.fromkeys(names))


def window(span_ns: tuple[int, int], start_s: float, end_s: float, where: str) -> tuple[int, int]:
    """Begin and end of what is played, log time in ns; the end itself is not played.

    Raises:
        BagError: The bag is shorter than that, or the end does not lie behind the start.
    """
    first, last = span_ns
    begin, end = first + to_ns(start_s), min(last, first + to_ns(end_s)) if end_s else last
    if begin < end:
        return begin, end
    raise BagError(
        "there is nothing between start and end",
        where=where,
        expected=f"start_s below end_s, within {(last - first) / NS_PER_S:.3f} s",
        found=f"start_s {start_s:g}, end_s {end_s:g}",
        remedy="correct the parameters start_s and end_s",
    )


@dataclass(slots=True)
class Pace:
    """When messages are due: in the distances of the log, divided by the speed.

    Args:
        begin_ns: Log time at which a lap begins.
        length_ns: Log time that a lap takes.
        rate: Speed.
        clock_s: Monotonic time, s.
    """

    begin_ns: int
    length_ns: int
    rate: float
    clock_s: Callable[[], float]
    worst_s: float = 0.0
    _zero_s: float | None = None

    def lap(self) -> None:
        """Begins a lap: the first one now, every other where the one before ends, or now if that is past."""
        length_s = self.length_ns / NS_PER_S / self.rate
        now_s = self.clock_s()
        self._zero_s = now_s if self._zero_s is None else max(now_s, self._zero_s + length_s)

    def wait_s(self, log_ns: int) -> float:
        """Seconds until a message is due; below zero where it is late."""
        assert self._zero_s is not None, "lap comes first"  # noqa: S101
        return self._zero_s + (log_ns - self.begin_ns) / NS_PER_S / self.rate - self.clock_s()

    def sent(self, log_ns: int) -> None:
        """A message was published: remembers how late the latest one was."""
        self.worst_s = max(self.worst_s, -self.wait_s(log_ns))


@dataclass(slots=True)
class Stamps:
    """Moves the stamps of all messages by the same time, so that skews between streams stay what they were.

    A lap begins now, or behind the stamps of the lap before where that is later: they never go back.

    Args:
        begin_ns: Log time at which a lap begins.
        length_ns: Log time that a lap takes.
        now_ns: Time since the epoch; None where stamps stay as they were recorded.
    """

    begin_ns: int
    length_ns: int
    now_ns: Callable[[], int] | None
    _shift_ns: int | None = None

    def lap(self) -> None:
        """Begins a lap."""
        if self.now_ns is not None:
            fresh = self.now_ns() - self.begin_ns
            self._shift_ns = fresh if self._shift_ns is None else max(fresh, self._shift_ns + self.length_ns)

    def apply(self, message: Logged) -> bytes:
        """The bytes to publish.

        Raises:
            BagError: The stamp cannot be moved.
        """
        if self._shift_ns is None:
            return message.cdr
        moved = restamped(message.cdr, self._shift_ns)
        if moved is None:
            raise BagError(
                "a message cannot get another stamp",
                where=f"{message.topic} at {message.log_ns} ns of the log",
                expected="plain little-endian CDR, with a stamp that a header can hold after it was moved",
                found=f"bytes that begin with {message.cdr[:12].hex()}",
                remedy="play it with the stamps that it has (stamps:=original)",
            )
        return moved


@dataclass(slots=True)
class Tally:
    """What was published, for the report at the end."""

    counts: Counter[str] = field(default_factory=Counter)
    laps: int = 0

    def text(self, worst_s: float) -> str:
        """Counts per topic, and how late the latest message was."""
        rows = "".join(f"\n  {topic}: {count}" for topic, count in sorted(self.counts.items()))
        laps = f" in {self.laps} laps" if self.laps > 1 else ""
        return f"{self.counts.total()} messages{laps}, at worst {worst_s * 1000:.1f} ms late{rows}"
