"""The main of a node: an interrupt is its ordinary end, whatever rclpy makes of it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("rclpy")

NODE = """
import os, signal, sys, time
from finevla_perception.run import run_node
from rclpy.node import Node

class Converting(Node):
    def __init__(self):
        super().__init__("converting")
        self.create_timer(0.01, self.convert)

    def convert(self):
        try:
            if sys.argv[1] == "interrupted":
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(5.0)
        except KeyboardInterrupt:
            pass
        raise RuntimeError("Unable to convert call argument '0' to Python object")

print("code", run_node("converting", Converting, []))
"""


def run(mode: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", NODE, mode], capture_output=True, text=True, timeout=60, env=os.environ.copy()
    )


def test_an_interrupt_that_rclpy_disguises_is_the_ordinary_end():
    """Bug: a node that took a message when SIGINT came ended with a traceback and exit code 1."""
    ended = run("interrupted")
    assert (ended.stdout, ended.returncode) == ("code 0\n", 0), ended.stderr


def test_an_error_without_an_interrupt_is_no_ordinary_end():
    ended = run("alone")
    assert ended.returncode == 1
    assert "Unable to convert" in ended.stderr
