"""Starting, awaiting and ending a graph, with a small process in the place of the launch."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from finevla.errors import FineVLAError, LaunchError
from finevla.stages.demo import bringup
from finevla.stages.demo.domain import DOMAINS, lock_path, port_of, reserved_domain
from finevla.stages.demo.session import terminable, wanted_domain
from finevla.stages.demo.verb import out_directory

POLITE = """
import signal, sys, time
signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
print("up", flush=True)
time.sleep(60)
"""
STUBBORN = """
import signal, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
time.sleep(60)
"""
BROKEN = "print('[driver_node-2] no arm answers on can_left', flush=True)"


class Client:
    """Lacks something for a number of questions."""

    def __init__(self, answers: list[dict[str, str]]) -> None:
        self.answers = answers

    def awaited(self) -> dict[str, str]:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def graph(tmp_path: Path, code: str) -> bringup.Graph:
    made = bringup.Graph({"sim": "true"}, 71, tmp_path / "graph.log")
    assert made._command[-3:] == ["launch", "bringup.launch.py", "sim:=true"]
    made._command = [sys.executable, "-c", code]
    return made


def wait_for_output(running: bringup.Graph) -> None:
    while "up" not in running.log_path.read_text():
        assert running.alive


def test_ready_graph_is_reported_and_ends_cleanly(tmp_path: Path) -> None:
    seen: list[dict[str, str]] = []
    with graph(tmp_path, POLITE) as running:
        wait_for_output(running)
        client = Client([{"finevla_policy": "a bundle"}, {}])
        seconds = running.wait_until_ready(client, 5.0, lambda lacking, _: seen.append(dict(lacking)))
        assert seconds < 5
        assert running.stop() == 0
    assert seen == [{"finevla_policy": "a bundle"}, {}]


def test_a_graph_that_ends_names_the_node_and_its_last_lines(tmp_path: Path) -> None:
    with graph(tmp_path, BROKEN) as running, pytest.raises(LaunchError) as caught:
        running.wait_until_ready(Client([{"finevla_driver": "both arms"}]), 20.0, lambda *_: None)
    text = str(caught.value)
    assert "finevla_driver lacks both arms (the launch ended by itself)" in text
    assert "no arm answers on can_left" in text
    assert "finevla doctor" in text


def test_a_graph_that_never_gets_ready_is_given_up(tmp_path: Path) -> None:
    ticks = iter(range(100))
    client = Client([{"finevla_sim": "pictures"}])
    with graph(tmp_path, POLITE) as running, pytest.raises(LaunchError, match="after 3 s"):
        running.wait_until_ready(client, 3.0, lambda *_: None, lambda: float(next(ticks)), lambda _: None)


def test_a_graph_that_ignores_signals_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running = graph(tmp_path, STUBBORN).__enter__()
    wait_for_output(running)
    monkeypatch.setattr(running._process, "wait", _impatient(running._process.wait))
    assert running.stop(patience_s=0.3) == -signal.SIGKILL
    assert running.stop() == -signal.SIGKILL, "stopping twice is harmless"


def _impatient(wait):
    return lambda timeout=None: wait(min(timeout, 0.3))


def test_tail_prefers_the_lines_of_the_node() -> None:
    log = "[sim_node-1] a\n[driver_node-2] b\n[finevla_driver]: c\n\n[sim_node-1] d\n"
    assert bringup.tail(log, "finevla_driver") == "[driver_node-2] b\n[finevla_driver]: c"
    assert bringup.tail(log, "finevla_policy", 1) == "[sim_node-1] d"
    assert bringup.tail("", "x") == "(the log is empty)"


def test_an_occupied_domain_is_passed_over_or_refused() -> None:
    with reserved_domain(None, range(60, 70)) as domain:
        pass
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("", port_of(domain)))
        assert reserve(None, range(domain, 75)) > domain
        with pytest.raises(LaunchError, match=f"domain {domain} is in use"):
            reserve(domain)
        with pytest.raises(LaunchError, match="no ROS domain is free"):
            reserve(None, [domain])
    assert reserve(domain) == domain


def reserve(wanted: int | None, candidates=DOMAINS) -> int:
    with reserved_domain(wanted, candidates) as domain:
        return domain


def test_two_sessions_never_share_a_domain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with reserved_domain(None, range(60, 70)) as first:
        assert lock_path(first).parent == tmp_path
        assert reserve(None, range(first, 75)) > first, "its port is free still, its lock is not"
        with pytest.raises(LaunchError, match=f"domain {first} is in use"):
            reserve(first)
        code = f"from finevla.stages.demo.domain import reserved_domain as r; r({first}).__enter__()"
        other = subprocess.run([sys.executable, "-c", code], env=os.environ | {"TMPDIR": str(tmp_path)})
        assert other.returncode != 0, "another process is refused as well"
    assert reserve(first) == first


def test_a_lock_that_cannot_be_taken_is_no_free_domain(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    lock_path(61).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LaunchError, match="domain 61 is in use"):
        reserve(61)
    assert not (tmp_path / "elsewhere").exists()


def test_the_flag_beats_the_environment() -> None:
    assert wanted_domain(5, {"ROS_DOMAIN_ID": "9"}) == 5
    assert wanted_domain(None, {"ROS_DOMAIN_ID": "9"}) == 9
    assert wanted_domain(None, {"ROS_DOMAIN_ID": "0"}) is None
    assert wanted_domain(None, {}) is None


def test_sigterm_ends_a_session_like_ctrl_c() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), terminable():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def test_an_occupied_output_directory_is_refused(tmp_path: Path) -> None:
    fresh = tmp_path / "new" / "out"
    assert out_directory(fresh, None) == fresh
    (fresh / "x").write_text("mine")
    with pytest.raises(FineVLAError, match="not empty"):
        out_directory(fresh, None)
    with pytest.raises(FineVLAError, match="cannot be made"):
        out_directory(fresh / "x", None)
