"""Runs a launch file through the subset."""

from __future__ import annotations

from pathlib import Path

from finevla.launcher.arguments import check_arguments, describe
from finevla.launcher.subset.actions import IncludeLaunchDescription, declared_arguments
from finevla.launcher.subset.modules import installed
from finevla.launcher.subset.service import LaunchService
from finevla.launcher.subset.sources import PythonLaunchDescriptionSource


def run(path: Path, given: dict[str, str], show_args: bool) -> int:
    """Runs a launch file until it ends.

    Args:
        path: The launch file.
        given: Launch arguments.
        show_args: Print the arguments of the file instead.

    Returns:
        0, or 1 if a process failed before the shutdown began.

    Raises:
        LaunchError: The file, its arguments or one of its programs is not right.
    """
    with installed():
        service = LaunchService()
        source = PythonLaunchDescriptionSource(path)
        description = source.get_launch_description(service.context)
        declared = declared_arguments([description], service.context)
        if show_args:
            print(describe(declared))
            return 0
        check_arguments(given, declared)
        arguments = list(given.items())
        return service.run([IncludeLaunchDescription(source, launch_arguments=arguments)])
