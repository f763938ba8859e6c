"""The subset's processes: lines, exit codes, handlers, and a shutdown that always ends."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from finevla.errors import LaunchError
from finevla.launcher.subset.actions import (
    DeclareLaunchArgument,
    GroupAction,
    IncludeLaunchDescription,
    LogInfo,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
    Shutdown,
    TimerAction,
)
from finevla.launcher.subset.events import OnProcessExit, OnProcessStart, OnShutdown
from finevla.launcher.subset.events import Shutdown as ShutdownEvent
from finevla.launcher.subset.modules import installed
from finevla.launcher.subset.process import ExecuteProcess
from finevla.launcher.subset.service import LaunchService
from finevla.launcher.subset.substitutions import EnvironmentVariable, LaunchConfiguration


class Record:
    """A launch whose output is kept."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.own: list[str] = []
        self.service = LaunchService(self.lines.append, self.own.append)

    def run(self, *entities) -> int:
        return self.service.run(entities)


def sh(text: str, **arguments) -> ExecuteProcess:
    return ExecuteProcess(cmd=["sh", "-c", text], **{"output": "screen", "name": "job", **arguments})


def test_lines_are_prefixed_and_a_clean_end_is_zero() -> None:
    record = Record()
    assert record.run(sh("echo one; echo two >&2; printf three")) == 0
    assert sorted(record.lines) == ["[job-1] one", "[job-1] three", "[job-1] two"]


def test_output_log_shows_only_stderr() -> None:
    record = Record()
    record.run(sh("echo one; echo two >&2", output="log"))
    assert record.lines == ["[job-1] two"]


def test_a_process_that_fails_makes_the_launch_fail() -> None:
    record = Record()
    assert record.run(sh("exit 3")) == 1
    assert any("exit code 3" in line for line in record.own)


def test_a_required_process_takes_the_others_with_it() -> None:
    record = Record()
    started = time.monotonic()
    assert record.run(sh("sleep 30"), sh("exit 1", on_exit=Shutdown(reason="it is required"))) == 1
    assert time.monotonic() - started < 5
    assert any("it is required" in line for line in record.own)


def test_what_ends_by_the_shutdown_is_no_failure() -> None:
    record = Record()
    assert record.run(sh("sleep 30"), TimerAction(period=0.2, actions=[Shutdown(reason="enough")])) == 0


def test_a_process_that_ignores_signals_is_killed() -> None:
    record = Record()
    stubborn = sh(
        "trap '' INT TERM; while :; do sleep 0.1; done", sigterm_timeout="0.3", sigkill_timeout="0.3"
    )
    record.run(stubborn, TimerAction(period=0.5, actions=[Shutdown()]))
    assert [line.split()[-1] for line in record.own if "still running" in line] == ["SIGINT", "SIGTERM"]


def test_sigterm_to_the_launcher_stops_everything() -> None:
    record = Record()
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
    assert record.run(sh("sleep 30")) == 0
    assert any("SIGTERM" in line for line in record.own)


def test_handlers_follow_start_exit_and_shutdown() -> None:
    record = Record()
    job = sh("exit 0")
    seen = []
    record.run(
        RegisterEventHandler(OnProcessStart(target_action=job, on_start=[LogInfo(msg="started")])),
        RegisterEventHandler(
            OnProcessExit(target_action=job, on_exit=lambda event, _: seen.append(event.returncode))
        ),
        RegisterEventHandler(OnShutdown(on_shutdown=[LogInfo(msg="ending")])),
        job,
    )
    assert seen == [0]
    assert [line for line in record.own if "user" in line] == [
        "[launch.user]: started",
        "[launch.user]: ending",
    ]


def test_groups_are_scopes() -> None:
    record = Record()
    record.run(
        DeclareLaunchArgument("a", default_value="outer"),
        GroupAction(
            [
                OpaqueFunction(function=lambda c: c.launch_configurations.update(a="inner")),
                SetEnvironmentVariable("FINEVLA_TEST", "inner"),
                LogInfo(msg=[LaunchConfiguration("a"), EnvironmentVariable("FINEVLA_TEST")]),
            ]
        ),
        LogInfo(msg=[LaunchConfiguration("a"), EnvironmentVariable("FINEVLA_TEST", default_value="outer")]),
    )
    assert [line.split()[-1] for line in record.own if "user" in line] == ["innerinner", "outerouter"]


def test_inclusions_pass_arguments_and_know_their_folder(tmp_path: Path) -> None:
    (tmp_path / "child.launch.py").write_text(
        "from launch import LaunchDescription\n"
        "from launch.actions import DeclareLaunchArgument, LogInfo\n"
        "from launch.substitutions import LaunchConfiguration, ThisLaunchFileDir\n"
        "def generate_launch_description():\n"
        "    return LaunchDescription([DeclareLaunchArgument('x', choices=['1', '2']),\n"
        "        LogInfo(msg=[LaunchConfiguration('x'), ' ', ThisLaunchFileDir()])])\n"
    )
    child = str(tmp_path / "child.launch.py")
    record = Record()
    with installed():
        record.run(IncludeLaunchDescription(child, launch_arguments=[("x", "2")]))
        assert record.own[0] == f"[launch.user]: 2 {tmp_path}"
        with pytest.raises(LaunchError, match="'x' is required"):
            Record().run(IncludeLaunchDescription(child))
        with pytest.raises(LaunchError, match="not offered"):
            Record().run(IncludeLaunchDescription(child, launch_arguments=[("x", "3")]))


def test_an_error_in_the_launch_file_stops_what_runs() -> None:
    record = Record()
    started = time.monotonic()
    with pytest.raises(LaunchError, match="ZeroDivisionError"):
        record.run(
            sh("sleep 30"), TimerAction(period=0.3, actions=[OpaqueFunction(function=lambda _: [1 / 0])])
        )
    assert time.monotonic() - started < 5


def test_a_reaction_that_is_no_entity_ends_the_launch() -> None:
    # It once raised in the task that looks after the process, and the launch waited for ever.
    with pytest.raises(LaunchError, match="a launch file fails"):
        Record().run(sh("exit 0", on_exit=ShutdownEvent()), sh("sleep 30"))


def test_a_program_that_does_not_exist_is_named() -> None:
    with pytest.raises(LaunchError, match="cannot be started"):
        Record().run(ExecuteProcess(cmd=["/absent/program"]))


def test_no_process_survives_a_launcher_that_is_killed(tmp_path: Path) -> None:
    import subprocess

    pid_file = tmp_path / "pid"
    path = tmp_path / "x.launch.py"
    path.write_text(
        "from launch import LaunchDescription\nfrom launch.actions import ExecuteProcess\n"
        "def generate_launch_description():\n"
        f"    job = ['sh', '-c', 'echo $$ > {pid_file}; exec sleep 60']\n"
        "    return LaunchDescription([ExecuteProcess(cmd=job)])\n"
    )
    launcher = subprocess.Popen(
        [sys.executable, "-m", "finevla", "launch", str(path)], stderr=subprocess.DEVNULL
    )
    _wait_for(lambda: pid_file.exists() and pid_file.read_text().strip())
    pid = int(pid_file.read_text())
    launcher.kill()
    launcher.wait()
    _wait_for(
        lambda: not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().split()[2]
    )


def _wait_for(condition, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.05)
