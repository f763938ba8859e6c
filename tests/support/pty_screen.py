"""A terminal with a person in front of it: types keys, and remembers all that was written."""

from __future__ import annotations

import os
import pty
import re
import termios
import threading
import time
from types import TracebackType
from typing import Self


class PtyScreen:
    """A pseudo terminal; `fd` is the end that a program uses."""

    def __init__(self) -> None:
        self._master, self.fd = pty.openpty()
        termios.tcsetwinsize(self.fd, (24, 200))
        self.before = termios.tcgetattr(self.fd)
        self._written = b""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._master, 4096)
            except OSError:  # the other end is closed
                return
            if not data:
                return
            self._written += data

    @property
    def text(self) -> str:
        """All that was written, without what moves the cursor."""
        return re.sub("\x1b\\[[0-9;]*[A-Za-z]|\r", "\n", self._written.decode(errors="replace"))

    @property
    def line(self) -> str:
        """The line that is in view at the bottom."""
        return self.text.rsplit("\n", 1)[-1]

    def type(self, keys: str) -> None:
        """Presses keys."""
        os.write(self._master, keys.encode())

    def until(self, words: str, seconds: float = 15.0) -> None:
        """Waits until something has been written since the screen was last cleared."""
        deadline = time.monotonic() + seconds
        while words not in self.text:
            assert time.monotonic() < deadline, f"{words!r} does not appear in:\n{self.text[-3000:]}"
            time.sleep(0.02)

    def until_line(self, words: str, seconds: float = 15.0) -> None:
        """Waits until the line at the bottom holds something."""
        deadline = time.monotonic() + seconds
        while words not in self.line:
            assert time.monotonic() < deadline, f"{words!r} does not appear in {self.line!r}"
            time.sleep(0.02)

    def clear(self) -> None:
        """Forgets what was written."""
        self._written = b""

    @property
    def restored(self) -> bool:
        """Whether the terminal is as it was in the beginning."""
        return termios.tcgetattr(self.fd) == self.before

    def close(self) -> None:
        """Ends the terminal, as when its window is closed."""
        os.close(self.fd)
        self._thread.join(2.0)
        os.close(self._master)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
