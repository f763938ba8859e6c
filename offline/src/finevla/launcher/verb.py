"""`finevla launch FILE name:=value ...`: runs a ROS 2 launch file.

Uses ROS's own `launch` and `launch_ros` where they are installed, and says so. Elsewhere the same file
runs through a strict subset of them, which refuses what it does not know.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from finevla.errors import LaunchError
from finevla.launcher.arguments import parse_arguments
from finevla.launcher.packages import find_launch_file

_log = logging.getLogger("launch")


@dataclass(frozen=True)
class Config:
    """Run a ROS 2 launch file."""

    file: tyro.conf.Positional[str]
    """Launch file: a path, or a name in the package `finevla` such as bringup.launch.py."""
    arguments: tyro.conf.Positional[tuple[str, ...]] = ()
    """Launch arguments as name:=value."""
    show_args: bool = False
    """Print the arguments of the file and end."""
    engine: Literal["auto", "ros", "subset"] = "auto"
    """ros: ROS's launch packages; subset: ours; auto: ROS's where they are installed."""


def real_launch_is_installed() -> bool:
    """True where ROS's own launch packages can be imported.

    Their submodules are asked for: a mere folder named `launch` on the path would pass for the package.
    """
    try:
        return all(
            importlib.util.find_spec(name) is not None for name in ("launch.actions", "launch_ros.actions")
        )
    except ModuleNotFoundError:
        return False


def choose_engine(wanted: str) -> str:
    """Resolves `auto` to ros or subset.

    Raises:
        LaunchError: ROS's launch packages are wanted and not installed.
    """
    if wanted == "auto":
        return "ros" if real_launch_is_installed() else "subset"
    if wanted == "ros" and not real_launch_is_installed():
        raise LaunchError(
            "ROS's own launch packages are not installed",
            expected="launch and launch_ros",
            remedy="source a ROS 2 installation, or leave --engine at auto",
        )
    return wanted


def main(config: Config) -> int:
    """Runs the launch file until it ends; returns 0, or 1 if a process failed."""
    path = find_launch_file(config.file)
    given = parse_arguments(config.arguments)
    engine = choose_engine(config.engine)
    runner: Callable[[Path, dict[str, str], bool], int]
    if engine == "ros":
        _log.info("engine: ROS's launch and launch_ros")
        from finevla.launcher.real import run as runner
    else:
        _log.info("engine: finevla's subset of launch and launch_ros (ROS's own are not installed)")
        from finevla.launcher.subset.run import run as runner
    return runner(path, given, config.show_args)
