"""Processes of a benchmark: until they are ready, what they cost, and how they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


def cpu_s(process_id: int) -> float:
    """CPU time that a process has used so far."""
    fields = Path(f"/proc/{process_id}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


@contextmanager
def process(*arguments: str, until: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Python with these arguments, and the line in which it said that it is ready; interrupted in the end."""
    with subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as started:
        assert started.stdout is not None
        heard = []
        for line in started.stdout:
            heard.append(line)
            if until in line:
                break
        else:
            raise SystemExit(f"{arguments} ended before it was ready:\n{''.join(heard)}")
        threading.Thread(target=started.stdout.read, daemon=True).start()
        try:
            yield started, line
        finally:
            if started.poll() is None:
                started.send_signal(signal.SIGINT)
            try:
                started.wait(20)
            except subprocess.TimeoutExpired:
                started.kill()
