"""The virtual environment: made once per set of pins, kept in the cache, linked as `.venv`.

A virtual environment cannot be moved, so it is made where it will stay, and counts only when the
file `.complete` is in it: an installation that was interrupted is never used.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from console import SetupError, run, say, size

FILES = ("base", "bags", "sim", "robot", "realsense", "ros", "dev", "learn", "importers", "curate")
NEEDED_BYTES = 9e9
ABSENT_ON_PURPOSE = {
    # requirement that is left out -> why
    "opencv-python": "sapien asks for it; opencv-python-headless offers the same module without a screen",
    "pytest-cov": "colcon-core asks for it; used only by `colcon test --pytest-with-coverage`",
    "pytest-repeat": "colcon-core asks for it; used only by `colcon test --retest-until-fail`",
    "pytest-rerunfailures": "colcon-core asks for it; used only by `colcon test --retest-until-pass`",
}


def sourced_ros() -> str:
    """The ROS 2 distribution that this shell has sourced, or the empty string."""
    distro = os.environ.get("ROS_DISTRO", "")
    prefixes = os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
    installed = [Path(p) for p in prefixes if p and (Path(p) / "share" / "rclpy").is_dir()]
    return distro if any(not (prefix / "pyvenv.cfg").exists() for prefix in installed) else ""


def pins(root: Path, ros: str) -> dict[str, list[str]]:
    """The pinned packages per file; ROS's own wheels are left out where ROS 2 is installed."""
    found = {}
    for name in FILES:
        lines = (root / "requirements" / f"{name}.txt").read_text().splitlines()
        chosen = [line for line in lines if line and not line.startswith("#")]
        found[name] = [line for line in chosen if not (ros and line.startswith("ros-"))]
    return found


def cache_folder() -> Path:
    """Where environments are kept between checkouts."""
    return Path(os.environ.get("FINEVLA_CACHE") or Path.home() / ".cache" / "finevla")


def environment_path(root: Path) -> Path:
    """Folder of the environment for this checkout's pins and this Python."""
    ros = sourced_ros()
    text = "\n".join(line for lines in pins(root, ros).values() for line in sorted(lines))
    key = f"{text}\n{platform.python_version()} {platform.machine()} {sys.base_prefix} ros:{ros}"
    return cache_folder() / f"venv-{hashlib.sha256(key.encode()).hexdigest()[:12]}"


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another set-up is at work on this environment: waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def ensure(root: Path) -> Path:
    """Makes the environment if it is not there, links it as `.venv`, and returns its folder."""
    venv = environment_path(root)
    with _locked(cache_folder() / f"{venv.name}.lock"):
        if (venv / ".complete").exists():
            say(f"virtual environment: present ({venv})")
        else:
            _create(root, venv)
    link = root / ".venv"
    if link.is_symlink() or not link.exists():
        link.unlink(missing_ok=True)
        link.symlink_to(venv)
    elif link.resolve() != venv:
        raise SetupError(f"{link} is not ours\n  remedy: move it away, then run `make setup` again")
    return venv


def _create(root: Path, venv: Path) -> None:
    free = shutil.disk_usage(venv.parent).free
    if free < NEEDED_BYTES:
        raise SetupError(
            f"{size(free)} are free in {venv.parent}, {size(NEEDED_BYTES)} are needed\n"
            "  remedy: make room, or set FINEVLA_CACHE to a folder on a larger disk"
        )
    if venv.exists():
        say(f"virtual environment: removing an unfinished one ({venv})")
        shutil.rmtree(venv)
    ros = sourced_ros()
    say(f"virtual environment: Python {platform.python_version()} in {venv}")
    say(
        f"    ROS 2 {ros} is sourced: its packages are used"
        if ros
        else "    no ROS 2 is sourced: ROS 2 Kilted wheels"
    )
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    chosen = pins(root, ros)
    for name, lines in chosen.items():
        _install(venv, name, lines)
    _check(venv)
    (venv / ".complete").write_text("".join(f"{line}\n" for lines in chosen.values() for line in lines))
    say("virtual environment: done")


def _install(venv: Path, name: str, lines: list[str]) -> None:
    say(f"  requirements/{name}.txt: {len(lines)} packages")
    listed = venv / f"{name}.txt"
    listed.write_text("\n".join(lines) + "\n")
    before = shutil.disk_usage(venv).free
    started = time.monotonic()
    phase = ["downloading"]

    def show(line: str) -> str | None:
        if line.startswith("Installing collected"):
            phase[0] = "unpacking"
        match = re.match(r"\s*(?:Downloading|Using cached) (\S+?)-\S+\.whl \(([\d.]+) MB\)", line)
        if match and float(match[2]) >= 20:
            return f"{match[1]} ({match[2]} MB)"
        return line if line.startswith("ERROR") else None

    def written() -> str:
        return size(max(0, before - shutil.disk_usage(venv).free))

    pip = [str(venv / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--no-input", "install"]
    command = [*pip, "--no-deps", "--progress-bar", "off", "-r", str(listed)]
    run(command, show=show, heartbeat=lambda: f"{name}: {phase[0]}, {written()} written")
    listed.unlink()
    say(f"    {written()} in {time.monotonic() - started:.0f} s")


def _check(venv: Path) -> None:
    """Refuses an environment in which a package lacks what it needs and what is not left out on purpose."""
    report = subprocess.run(
        [venv / "bin" / "python", "-m", "pip", "check"], capture_output=True, text=True
    ).stdout
    ros = sourced_ros()
    wrong = []
    for line in report.splitlines():
        match = re.match(r"\S+ \S+ requires (\S+), which is not installed", line)
        by_distro = match is not None and bool(ros) and match[1].startswith("ros-")
        excused = match is not None and (match[1] in ABSENT_ON_PURPOSE or by_distro)
        if not excused and line.strip() and "No broken requirements" not in line:
            wrong.append(f"    {line}")
    if wrong:
        raise SetupError("the pins do not fit together:\n" + "\n".join(wrong))
