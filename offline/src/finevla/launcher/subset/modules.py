"""Offers the subset under the names `launch` and `launch_ros` while a launch file runs."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import ModuleType

from finevla.errors import LaunchError
from finevla.launcher.subset import actions, context, events, parameters, process, ros, sources, substitutions

ROOTS = ("launch", "launch_ros")
EXPORTS: Mapping[str, Mapping[str, object]] = {
    "launch": {"LaunchDescription": context.LaunchDescription, "LaunchContext": context.LaunchContext},
    "launch.actions": {
        "DeclareLaunchArgument": actions.DeclareLaunchArgument,
        "EmitEvent": actions.EmitEvent,
        "ExecuteProcess": process.ExecuteProcess,
        "GroupAction": actions.GroupAction,
        "IncludeLaunchDescription": actions.IncludeLaunchDescription,
        "LogInfo": actions.LogInfo,
        "OpaqueFunction": actions.OpaqueFunction,
        "RegisterEventHandler": actions.RegisterEventHandler,
        "SetEnvironmentVariable": actions.SetEnvironmentVariable,
        "Shutdown": actions.Shutdown,
        "TimerAction": actions.TimerAction,
    },
    "launch.conditions": {
        "IfCondition": substitutions.IfCondition,
        "UnlessCondition": substitutions.UnlessCondition,
    },
    "launch.event_handlers": {
        "OnProcessExit": events.OnProcessExit,
        "OnProcessStart": events.OnProcessStart,
        "OnShutdown": events.OnShutdown,
    },
    "launch.events": {"Shutdown": events.Shutdown},
    "launch.launch_description_sources": {
        "PythonLaunchDescriptionSource": sources.PythonLaunchDescriptionSource
    },
    "launch.substitutions": {
        "EnvironmentVariable": substitutions.EnvironmentVariable,
        "LaunchConfiguration": substitutions.LaunchConfiguration,
        "PathJoinSubstitution": substitutions.PathJoinSubstitution,
        "PythonExpression": substitutions.PythonExpression,
        "TextSubstitution": substitutions.TextSubstitution,
        "ThisLaunchFileDir": substitutions.ThisLaunchFileDir,
    },
    "launch_ros": {},
    "launch_ros.actions": {
        "LifecycleNode": ros.LifecycleNode,
        "Node": ros.Node,
        "PushRosNamespace": ros.PushRosNamespace,
        "SetParameter": ros.SetParameter,
        "SetRemap": ros.SetRemap,
    },
    "launch_ros.parameter_descriptions": {
        "ParameterFile": parameters.ParameterFile,
        "ParameterValue": parameters.ParameterValue,
    },
    "launch_ros.substitutions": {"FindPackageShare": substitutions.FindPackageShare},
}


def _refusal(name: str) -> LaunchError:
    return LaunchError(
        f"{name} is not in the subset",
        expected=", ".join(sorted(n for names in EXPORTS.values() for n in names)),
        remedy="write the file without it, or use ROS's own launch packages: ros2 launch",
    )


class _SubsetModule(ModuleType):
    """A module that refuses names which it does not hold."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        raise _refusal(f"{self.__name__}.{name}")


class _Refuser(importlib.abc.MetaPathFinder):
    """Refuses modules of the real packages that the subset lacks."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Raises for `launch.x` and `launch_ros.x`; leaves all other modules to others."""
        del path, target
        if fullname.split(".", maxsplit=1)[0] in ROOTS:
            raise _refusal(fullname)
        return None


def _build() -> dict[str, ModuleType]:
    modules: dict[str, ModuleType] = {}
    for name, exports in EXPORTS.items():
        module = _SubsetModule(name, "Part of finevla's subset of ROS 2 launch.")
        vars(module).update(exports, __path__=[])
        modules[name] = module
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(modules[parent], child, module)
    return modules


@contextmanager
def installed() -> Iterator[None]:
    """Makes `import launch` and `import launch_ros` give the subset, and puts everything back at the end."""
    hidden = {name: module for name, module in sys.modules.items() if name.split(".")[0] in ROOTS}
    for name in hidden:
        del sys.modules[name]
    refuser = _Refuser()
    sys.meta_path.insert(0, refuser)
    sys.modules.update(_build())
    try:
        yield
    finally:
        sys.meta_path.remove(refuser)
        for name in [name for name in sys.modules if name.split(".")[0] in ROOTS]:
            del sys.modules[name]
        sys.modules.update(hidden)
