"""Finds packages, executables and launch files through the ament index."""

from __future__ import annotations

import os
from pathlib import Path

from finevla.errors import LaunchError

LAUNCH_PACKAGE = "finevla"


def _prefixes() -> list[Path]:
    return [Path(p) for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p]


def package_prefix(package: str) -> Path:
    """Installation prefix of a package.

    Raises:
        LaunchError: No prefix of the ament index holds the package.
    """
    for prefix in _prefixes():
        if (prefix / "share" / "ament_index" / "resource_index" / "packages" / package).exists():
            return prefix
    raise LaunchError(
        f"the ROS 2 package {package!r} is not found",
        where="AMENT_PREFIX_PATH",
        found=os.environ.get("AMENT_PREFIX_PATH") or "(empty)",
        remedy="build the workspace (make setup) and enter it: . scripts/env.sh",
    )


def package_share(package: str) -> Path:
    """Folder `share/PACKAGE` of a package. Raises LaunchError where the package is not found."""
    return package_prefix(package) / "share" / package


def package_executable(package: str, executable: str) -> Path:
    """Path of an executable of a package.

    Raises:
        LaunchError: The package or the executable is not found.
    """
    folder = package_prefix(package) / "lib" / package
    path = folder / executable
    if path.is_file() and os.access(path, os.X_OK):
        return path
    names = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []
    raise LaunchError(
        f"the package {package!r} has no executable {executable!r}",
        where=folder,
        expected=", ".join(names) or "at least one executable",
        remedy="check the name in the launch file, or build the workspace again",
    )


def find_launch_file(name: str) -> Path:
    """Launch file by path, or by name in the share folder of the package `finevla`.

    Raises:
        LaunchError: There is no such file.
    """
    path = Path(name)
    if path.is_file():
        return path.resolve()
    if path.name == name:
        folder = package_share(LAUNCH_PACKAGE) / "launch"
        if (folder / name).is_file():
            return folder / name
        expected = ", ".join(sorted(p.name for p in folder.glob("*.launch.py")))
        raise LaunchError(
            f"there is no launch file {name!r}",
            where=folder,
            expected=expected,
            remedy="give one of these, or the path of a file",
        )
    raise LaunchError(f"there is no launch file {name!r}", remedy="check the path")
