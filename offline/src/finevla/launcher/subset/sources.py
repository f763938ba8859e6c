"""Loads launch files: Python files with a function `generate_launch_description`."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from finevla.errors import LaunchError
from finevla.launcher.subset.context import LaunchContext, LaunchDescription, SomeText, perform


def load(path: Path) -> LaunchDescription:
    """Runs a launch file and returns its description.

    Raises:
        LaunchError: The file is missing, fails, uses what the subset lacks, or describes nothing.
    """
    spec = importlib.util.spec_from_file_location(f"launch_file_{path.stem.split('.')[0]}", path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise LaunchError("a launch file cannot be read", where=path, remedy="the subset reads *.py files")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        description = module.generate_launch_description()
    except LaunchError as err:
        raise LaunchError(
            err.what, where=err.where or path, expected=err.expected, found=err.found, remedy=err.remedy
        ) from err
    except Exception as err:
        raise _explain(path, err) from err
    if not isinstance(description, LaunchDescription):
        raise LaunchError(
            "generate_launch_description() returns no LaunchDescription",
            where=path,
            found=type(description).__name__,
            remedy="return launch.LaunchDescription([...])",
        )
    return description


def _explain(path: Path, err: Exception) -> LaunchError:
    match = re.match(r"(\w+)(?:\.__init__)?\(\) got an unexpected keyword argument '(\w+)'", str(err))
    if isinstance(err, TypeError) and match:
        return LaunchError(
            f"{match[1]}({match[2]}=...) is not in the subset",
            where=path,
            remedy="leave it out, or use ROS's own launch packages for this file",
        )
    return LaunchError("a launch file fails", where=path, found=repr(err), remedy="correct the file")


class PythonLaunchDescriptionSource:
    """A launch file that is written in Python."""

    def __init__(self, launch_file_path: SomeText) -> None:
        self.launch_file_path = launch_file_path
        self._loaded: tuple[Path, LaunchDescription] | None = None

    def path(self, context: LaunchContext) -> Path:
        """Path of the file, in this context."""
        return Path(perform(context, self.launch_file_path)).absolute()

    def get_launch_description(self, context: LaunchContext) -> LaunchDescription:
        """The description; the file is run once."""
        path = self.path(context)
        if self._loaded is None or self._loaded[0] != path:
            self._loaded = (path, load(path))
        return self._loaded[1]
