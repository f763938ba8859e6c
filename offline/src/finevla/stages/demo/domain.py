"""A ROS domain of one's own: found free, and held so that no second session takes the same one."""

from __future__ import annotations

import fcntl
import os
import socket
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from finevla.errors import LaunchError

PORT_BASE, PORT_STEP, UNICAST_OFFSET = 7400, 250, 10
"""RTPS: the first participant of domain d listens on UDP port base + step * d + offset."""
DOMAINS = range(70, 100)


def port_of(domain_id: int) -> int:
    """The UDP port that the first participant of a domain listens on."""
    return PORT_BASE + PORT_STEP * domain_id + UNICAST_OFFSET


def lock_path(domain_id: int) -> Path:
    """The file whose lock stands for a domain of this machine."""
    return Path(tempfile.gettempdir()) / f"finevla-domain-{domain_id}.lock"


def domain_is_free(domain_id: int) -> bool:
    """Whether no participant of this machine listens in a ROS domain."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("", port_of(domain_id)))
        except OSError:
            return False
    return True


@contextmanager
def reserved_domain(wanted: int | None, candidates: Iterable[int] = DOMAINS) -> Iterator[int]:
    """Holds the wanted ROS domain, else (None wanted) the first free one, until the block ends.

    The port alone would not do: it is taken only seconds later, when the first node is up. The lock
    ends with this process however it ends; its file stays, because removing it would let two sessions
    lock two files of one name.

    Raises:
        LaunchError: The domain is in use, or all are.
    """
    for domain_id in candidates if wanted is None else (wanted,):
        lock = _lock(lock_path(domain_id))
        if lock is None:
            continue
        try:
            if domain_is_free(domain_id):
                yield domain_id
                return
        finally:
            os.close(lock)
    raise _none_free(wanted)


def _lock(path: Path) -> int | None:
    """A descriptor that holds the lock of a file; None where somebody else does, or owns the file."""
    try:
        # Read-only and not inherited: flock needs no more, and the graph must not keep the lock.
        descriptor = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _none_free(wanted: int | None) -> LaunchError:
    if wanted is not None:
        return LaunchError(
            f"ROS domain {wanted} is in use on this machine",
            where=lock_path(wanted),
            expected="a domain without other nodes, so that two graphs do not mix",
            found=f"UDP port {port_of(wanted)} is taken, or another session holds the lock",
            remedy="end the other graph, or leave the domain out and a free one is taken",
        )
    return LaunchError(
        "no ROS domain is free on this machine",
        where=lock_path(DOMAINS.start).parent,
        expected=f"one of {DOMAINS.start}..{DOMAINS.stop - 1} with a free port and a free lock",
        remedy="end other ROS graphs",
    )
