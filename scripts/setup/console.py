"""What the set-up tells the person who waits: one line per step, with the seconds since the start."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

_START = time.monotonic()
HEARTBEAT_S = 10.0


class SetupError(Exception):
    """The set-up cannot go on; the text says what is wrong and what to do."""


def say(text: str) -> None:
    """Prints one line with the elapsed time."""
    print(f"[{time.monotonic() - _START:6.1f} s] {text}", flush=True)


def size(n_bytes: float) -> str:
    """A number of bytes for people."""
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.0f} MB"


def run(
    command: Sequence[str],
    *,
    show: Callable[[str], str | None],
    heartbeat: Callable[[], str],
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
) -> None:
    """Runs a command and reports on it.

    Args:
        command: The command line.
        show: Maps a line of its output to what is printed, None for nothing.
        heartbeat: What is printed whenever nothing was for `HEARTBEAT_S`.
        env: Its whole environment; None is ours.
        cwd: Its folder.

    Raises:
        SetupError: The command failed; the text holds the end of its output.
    """
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=env,
        cwd=cwd,
    )
    last = [time.monotonic()]
    done = threading.Event()

    def beat() -> None:
        while not done.wait(1.0):
            if time.monotonic() - last[0] >= HEARTBEAT_S:
                last[0] = time.monotonic()
                say(f"    {heartbeat()}")

    threading.Thread(target=beat, daemon=True).start()
    tail: list[str] = []
    assert process.stdout is not None
    for line in process.stdout:
        tail = [*tail[-29:], line.rstrip()]
        shown = show(line.rstrip())
        if shown:
            last[0] = time.monotonic()
            say(f"    {shown}")
    done.set()
    if process.wait():
        output = "\n".join(f"    {line}" for line in tail)
        raise SetupError(f"'{' '.join(command[:6])} ...' ended with exit code {process.returncode}\n{output}")
