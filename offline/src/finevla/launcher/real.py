"""Runs a launch file with ROS's own `launch` package, as `ros2 launch` does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from finevla.launcher.arguments import DeclaredArgument, check_arguments, describe


def _declared(description: Any) -> list[DeclaredArgument]:
    found = []
    for argument in description.get_launch_arguments():
        default = argument.default_value
        text = None if default is None else " + ".join(part.describe() for part in default)
        found.append(DeclaredArgument(argument.name, argument.description, text))
    return found


def run(path: Path, given: dict[str, str], show_args: bool) -> int:
    """Runs a launch file until it ends.

    Args:
        path: The launch file.
        given: Launch arguments.
        show_args: Print the arguments of the file instead.

    Returns:
        0, or 1 if a process failed before the shutdown began or the launch itself did.
    """
    from launch import LaunchContext, LaunchDescription, LaunchService
    from launch.actions import IncludeLaunchDescription, RegisterEventHandler
    from launch.event_handlers import OnProcessExit
    from launch.launch_description_sources import PythonLaunchDescriptionSource

    source = PythonLaunchDescriptionSource(str(path))
    declared = _declared(source.get_launch_description(LaunchContext()))
    if show_args:
        print(describe(declared))
        return 0
    check_arguments(given, declared)
    failed: list[str] = []

    def note(event: Any, context: Any) -> None:
        if event.returncode != 0 and not context.is_shutdown:
            failed.append(event.process_name)

    service = LaunchService()
    service.include_launch_description(
        LaunchDescription(
            [
                RegisterEventHandler(OnProcessExit(on_exit=note)),
                IncludeLaunchDescription(source, launch_arguments=list(given.items())),
            ]
        )
    )
    code: int = service.run()
    return 1 if failed else code
