"""A terminal that gives key by key, with one line that is renewed below what was said. No ROS."""

from __future__ import annotations

import os
import select
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from finevla.errors import SetupError

READ_BYTES = 1024
WIDTH = 80
"""Where a terminal does not tell how wide it is."""
CLEAR = "\r\x1b[K"


def require(fd: int) -> None:
    """Refuses what is no terminal.

    Raises:
        SetupError: `fd` is a file, a pipe or closed.
    """
    if not os.isatty(fd):
        raise SetupError(
            "keys need a terminal",
            where="standard input",
            expected="a terminal",
            found="a file, a pipe or nothing",
            remedy="run it in a terminal of its own (over ssh: ssh -t), not from a launch file; without one "
            "use the dashboard, the services or the action",
        )


@contextmanager
def key_by_key(fd: int) -> Iterator[None]:
    """Keys come at once, without echo, while the block runs; afterwards all is as it was, come what may."""
    before = termios.tcgetattr(fd)
    try:
        tty.setcbreak(fd, termios.TCSANOW)
        yield
    finally:
        with suppress(termios.error):  # the terminal itself is gone: there is nothing to put back
            termios.tcflush(fd, termios.TCIFLUSH)  # keys that nobody read are no commands of the shell
            termios.tcsetattr(fd, termios.TCSANOW, before)


def wait_for_keys(fd: int, timeout_s: float) -> bytes | None:
    """What was typed; empty where nothing was within the time, None where the terminal is gone."""
    ready, _, _ = select.select([fd], [], [], timeout_s)
    if not ready:
        return b""
    try:
        return os.read(fd, READ_BYTES) or None
    except OSError:  # how Linux says that nobody holds the other end any more
        return None


class Screen:
    """Writes to a terminal.

    Args:
        fd: Where to.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._shown = ""

    @property
    def width(self) -> int:
        """Its columns, less one: a full line would wrap."""
        try:
            columns = os.get_terminal_size(self._fd).columns
        except OSError:  # the output goes to a file
            columns = 0
        return (columns or WIDTH) - 1

    def say(self, text: str) -> None:
        """Writes lines that stay."""
        self._write(f"{CLEAR}{text}\n{self._shown}")

    def show(self, line: str) -> None:
        """Renews the line at the bottom."""
        if line != self._shown:
            self._shown = line
            self._write(f"{CLEAR}{line}")

    def _write(self, text: str) -> None:
        data = text.encode(errors="replace")
        while data:
            data = data[os.write(self._fd, data) :]
