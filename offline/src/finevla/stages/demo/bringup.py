"""Starts the real graph as a subprocess, says what it is waiting for, and ends it cleanly.

The graph runs in a ROS domain and on CAN ports of its own, so that a demonstration never meets
another graph on the same machine.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Protocol, Self

from finevla.errors import LaunchError

TAIL_LINES = 12
POLL_S = 0.2
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class Awaiting(Protocol):
    """Something that can say what is still lacking: name of the node -> what is awaited of it."""

    def awaited(self) -> dict[str, str]:
        """Empty when everything is there."""


Progress = Callable[[Mapping[str, str], float], None]


def free_port() -> int:
    """A TCP port on loopback that nobody uses now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def tail(log: str, node: str, count: int = TAIL_LINES) -> str:
    """The last log lines that mention a node; the last lines of all where none does."""
    lines = [line for line in log.splitlines() if line.strip()]
    plain = node.removeprefix("finevla_")
    own = [line for line in lines if node in line or f"{plain}_node" in line]
    return "\n".join((own or lines)[-count:]) or "(the log is empty)"


def _not_up(awaited: Mapping[str, str], log_path: Path, why: str) -> LaunchError:
    node, what = next(iter(awaited.items()), ("the graph", "its processes"))
    log = log_path.read_text(errors="replace") if log_path.exists() else ""
    lacking = "; ".join(f"{name}: {text}" for name, text in awaited.items())
    return LaunchError(
        f"the graph did not come up: {node} lacks {what} ({why})",
        where=log_path,
        expected="simulator, driver, policy and instruction node all ready",
        found=f"lacking {lacking or 'nothing'}\n  last lines:\n{tail(log, node)}",
        remedy="run `finevla doctor`; it names what the machine lacks (renderer, messages, bundle)",
    )


class Graph:
    """The launched graph; use as a context manager so that it always ends.

    Args:
        arguments: Launch arguments `name:=value`.
        domain_id: ROS domain.
        log_path: Receives everything that the graph prints.
    """

    def __init__(self, arguments: Mapping[str, str], domain_id: int, log_path: Path) -> None:
        self.domain_id = domain_id
        self.log_path = log_path
        self._command = [
            *(sys.executable, "-m", "finevla", "launch", "bringup.launch.py"),
            *(f"{name}:={value}" for name, value in arguments.items()),
        ]
        self._log: IO[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        environment = {**os.environ, "ROS_DOMAIN_ID": str(self.domain_id), "PYTHONUNBUFFERED": "1"}
        environment.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
        self._log = self.log_path.open("wb")
        self._process = subprocess.Popen(
            self._command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_end_with_parent,  # noqa: PLW1509 (one system call, before any thread exists)
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def alive(self) -> bool:
        """Whether the launch process still runs."""
        return self._process is not None and self._process.poll() is None

    def wait_until_ready(
        self,
        client: Awaiting,
        timeout_s: float,
        progress: Progress,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> float:
        """Waits until nothing is lacking; returns the seconds it took.

        Raises:
            LaunchError: The launch ended or the time is up; names the node and its last log lines.
        """
        begun = monotonic()
        while lacking := client.awaited():
            passed = monotonic() - begun
            progress(lacking, passed)
            if not self.alive:
                raise _not_up(lacking, self.log_path, "the launch ended by itself")
            if passed > timeout_s:
                raise _not_up(lacking, self.log_path, f"after {timeout_s:.0f} s")
            sleep(POLL_S)
        progress({}, monotonic() - begun)
        return monotonic() - begun

    def stop(self, patience_s: float = 20.0) -> int | None:
        """Ends the graph: SIGINT to the launch process, then to its group, then SIGKILL to the group.

        Returns:
            The exit code of the launch process; None where it never started.
        """
        process = self._process
        if process is None:
            return None
        for number, whole_group, seconds in (
            (signal.SIGINT, False, patience_s),
            (signal.SIGTERM, True, 5.0),
            (signal.SIGKILL, True, 5.0),
        ):
            if process.poll() is not None:
                break
            _send(process.pid, number, whole_group=whole_group)
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                continue
        _send(process.pid, signal.SIGKILL, whole_group=True)
        if self._log is not None:
            self._log.close()
        return process.returncode


def _end_with_parent() -> None:
    """Runs in the child: the launch gets SIGINT, and ends its nodes, even where we are killed."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


def _send(pid: int, number: signal.Signals, *, whole_group: bool) -> None:
    try:
        if whole_group:
            os.killpg(pid, number)
        else:
            os.kill(pid, number)
    except ProcessLookupError:
        return
