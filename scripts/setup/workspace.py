"""The colcon workspace: built when a source has changed since the last build."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from pathlib import Path

import environment
from console import run, say

STAMP = Path("install") / ".finevla_stamp"
SOURCES = ("ros2_ws", "launch", "colcon.meta")


def fingerprint(root: Path, venv: Path) -> str:
    """Hash of everything that the build reads.

    Python modules and parameter files are linked, not copied: only their names count.
    """
    digest = hashlib.sha256(str(venv).encode())
    for source in SOURCES:
        paths = [root / source] if (root / source).is_file() else sorted((root / source).rglob("*"))
        for path in paths:
            if path.is_file() and "__pycache__" not in path.parts and ".egg-info" not in str(path):
                digest.update(str(path.relative_to(root)).encode())
                linked = path.suffix in {".py", ".yaml"} and path.name != "setup.py"
                digest.update(b"" if linked else path.read_bytes())
    return digest.hexdigest()


def build_environment(venv: Path) -> dict[str, str]:
    """Environment for colcon: the virtual environment first, ROS 2 from it where none is sourced."""
    env = {**os.environ, "VIRTUAL_ENV": str(venv)}
    env["PATH"] = f"{venv / 'bin'}{os.pathsep}{env.get('PATH', '')}"
    if not environment.sourced_ros():
        env["AMENT_PREFIX_PATH"] = str(venv)
        for name in ("CMAKE_PREFIX_PATH", "COLCON_PREFIX_PATH", "ROS_DISTRO"):
            env.pop(name, None)
    return env


def ensure(root: Path, venv: Path) -> None:
    """Runs `colcon build` at the root unless nothing has changed."""
    stamp = root / STAMP
    wanted = fingerprint(root, venv)
    if stamp.exists() and stamp.read_text() == wanted:
        say("ROS 2 workspace: up to date")
        return
    previous = root / "install" / ".finevla_venv"
    if (root / "install").exists() and (not previous.exists() or previous.read_text() != str(venv)):
        say("ROS 2 workspace: it was built with another environment, starting afresh")
        for folder in ("build", "install", "log"):
            shutil.rmtree(root / folder, ignore_errors=True)
    stamp.unlink(missing_ok=True)  # a build that breaks off must not pass for the one before it
    say("ROS 2 workspace: colcon build")

    def show(line: str) -> str | None:
        return (
            line if re.match(r"(Starting|Finished|Failed|Summary|CMake Error|\s+\d+ package)", line) else None
        )

    # colcon is called as a module of the environment's Python: that Python becomes the nodes'.
    command = [str(venv / "bin" / "python"), "-m", "colcon", "build", "--symlink-install"]
    command += ["--parallel-workers", str(os.cpu_count() or 1)]
    if environment.sourced_ros():
        command += ["--cmake-args", "-DPython3_EXECUTABLE=/usr/bin/python3"]
    run(command, show=show, heartbeat=lambda: "building ...", env=build_environment(venv), cwd=root)
    previous.write_text(str(venv))
    stamp.write_text(wanted)
    say("ROS 2 workspace: done")
