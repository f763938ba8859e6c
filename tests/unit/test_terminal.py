"""The terminal that gives key by key is put back whatever happens."""

from __future__ import annotations

import os
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

terminal = pytest.importorskip("finevla_system.terminal")

from pty_screen import PtyScreen

from finevla.errors import SetupError


@pytest.fixture
def screen() -> Iterator[PtyScreen]:
    with PtyScreen() as screen:
        yield screen


def test_what_is_no_terminal_is_refused(screen: PtyScreen, tmp_path: Path) -> None:
    terminal.require(screen.fd)
    (tmp_path / "file").write_text("ssy")
    with (tmp_path / "file").open() as file, pytest.raises(SetupError, match="keys need a terminal"):
        terminal.require(file.fileno())


def test_keys_come_at_once_without_echo_and_all_is_put_back_after_an_error(screen: PtyScreen) -> None:
    def fail() -> None:
        with terminal.key_by_key(screen.fd):
            assert not termios.tcgetattr(screen.fd)[3] & (termios.ECHO | termios.ICANON)
            assert not screen.restored
            assert terminal.wait_for_keys(screen.fd, 0.0) == b""
            screen.type("s")
            assert terminal.wait_for_keys(screen.fd, 5.0) == b"s"
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert screen.restored
    assert screen.text == ""


def test_keys_that_nobody_read_do_not_reach_the_shell(screen: PtyScreen) -> None:
    with terminal.key_by_key(screen.fd):
        screen.type("rm -r bags\n")
        time.sleep(0.1)
    os.set_blocking(screen.fd, False)
    with pytest.raises(BlockingIOError):
        os.read(screen.fd, 100)


def test_a_window_that_was_closed_is_the_end() -> None:
    master, slave = os.openpty()
    with terminal.key_by_key(slave):
        os.close(master)
        assert terminal.wait_for_keys(slave, 5.0) is None
    os.close(slave)


def test_what_is_said_stays_above_the_line_that_is_renewed(screen: PtyScreen) -> None:
    out = terminal.Screen(screen.fd)
    assert out.width == 199
    out.show("one")
    out.say("hello")
    screen.until_line("one")
    out.show("two")
    screen.until_line("two")
    assert [line for line in screen.text.split("\n") if line] == ["one", "hello", "one", "two"]
    screen.clear()
    out.show("two")
    time.sleep(0.1)
    assert screen.text == "", "nothing new, nothing written"
