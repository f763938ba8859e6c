"""The part of `launch_ros` that is in the subset: nodes, namespaces, parameters and remappings."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from finevla.errors import LaunchError
from finevla.launcher import packages
from finevla.launcher.subset.context import Action, Condition, LaunchContext, SomeText, perform
from finevla.launcher.subset.events import Reaction
from finevla.launcher.subset.parameters import ParameterFile, ParameterValue, evaluate_mapping, write_files
from finevla.launcher.subset.process import ExecuteProcess

NAMESPACE, PARAMETERS, REMAPS = "namespace", "parameters", "remaps"
"""Keys of what groups set for their nodes in `LaunchContext.globals`."""


@cache
def _parameter_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="finevla_launch_"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def join_namespace(base: str, namespace: str) -> str:
    """A namespace inside another one; an absolute one stands for itself."""
    if namespace.startswith("/"):
        return namespace
    joined = "/".join(part for part in (base.strip("/"), namespace.strip("/")) if part)
    return f"/{joined}" if joined else ""


class Node(ExecuteProcess):
    """Starts a node: an executable of a package, with name, namespace, parameters and remappings."""

    def __init__(
        self,
        *,
        executable: SomeText,
        package: SomeText | None = None,
        name: SomeText | None = None,
        namespace: SomeText | None = None,
        parameters: Sequence[Mapping[Any, Any] | ParameterFile | SomeText] | None = None,
        remappings: Iterable[tuple[SomeText, SomeText]] | None = None,
        arguments: Iterable[SomeText] | None = None,
        ros_arguments: Iterable[SomeText] | None = None,
        additional_env: Mapping[str, SomeText] | None = None,
        output: SomeText = "log",
        sigterm_timeout: SomeText = "5",
        sigkill_timeout: SomeText = "5",
        on_exit: Reaction | None = None,
        condition: Condition | None = None,
    ) -> None:
        super().__init__(
            cmd=[],
            additional_env=additional_env,
            output=output,
            sigterm_timeout=sigterm_timeout,
            sigkill_timeout=sigkill_timeout,
            on_exit=on_exit,
            condition=condition,
        )
        if isinstance(parameters, str | Mapping):
            raise LaunchError(
                "Node(parameters=...) is a list", found=repr(parameters), remedy="put it in [ ]"
            )
        self.executable = executable
        self.package = package
        self.node_name = name
        self.namespace = namespace
        self.parameters = list(parameters or [])
        self.remappings = list(remappings or [])
        self.arguments = list(arguments or [])
        self.ros_arguments = list(ros_arguments or [])

    def command(self, context: LaunchContext) -> list[str]:
        """The command line of the node, in this context."""
        name = "" if self.node_name is None else perform(context, self.node_name)
        base = str(context.globals.get(NAMESPACE, ""))
        namespace = join_namespace(base, "" if self.namespace is None else perform(context, self.namespace))
        words = [self._program(context), *(perform(context, word) for word in self.arguments), "--ros-args"]
        words += [perform(context, word) for word in self.ros_arguments]
        words += ["-r", f"__node:={name}"] if name else []
        words += ["-r", f"__ns:={namespace}"] if namespace else []
        full_name = f"{namespace.rstrip('/')}/{name}" if name else "/**"
        for path in self._parameter_files(context, full_name):
            words += ["--params-file", str(path)]
        remaps = [*context.globals.get(REMAPS, []), *self._remaps(context)]
        for source, target in remaps:
            words += ["-r", f"{source}:={target}"]
        return words

    def _program(self, context: LaunchContext) -> str:
        executable = perform(context, self.executable)
        if self.package is None:
            return executable
        return str(packages.package_executable(perform(context, self.package), executable))

    def _parameter_files(self, context: LaunchContext, full_name: str) -> list[Path]:
        for_all = context.globals.get(PARAMETERS, {})
        wanted = [for_all, *self.parameters] if for_all else self.parameters
        return write_files(context, wanted, full_name, _parameter_folder(), f"node_{id(self):x}")

    def _remaps(self, context: LaunchContext) -> list[tuple[str, str]]:
        return [(perform(context, a), perform(context, b)) for a, b in self.remappings]


class LifecycleNode(Node):
    """A node with a life cycle; name and namespace are required. Its transitions are a manager's work."""

    def __init__(self, *, name: SomeText, namespace: SomeText, **arguments: Any) -> None:
        super().__init__(name=name, namespace=namespace, **arguments)


class PushRosNamespace(Action):
    """Puts the nodes that follow in this scope into a namespace."""

    def __init__(self, namespace: SomeText, *, condition: Condition | None = None) -> None:
        super().__init__(condition=condition)
        self.namespace = namespace

    def execute(self, context: LaunchContext) -> None:
        """Joins the namespace to the one in force."""
        base = str(context.globals.get(NAMESPACE, ""))
        context.globals[NAMESPACE] = join_namespace(base, perform(context, self.namespace))


class SetParameter(Action):
    """Sets a parameter of all nodes that follow in this scope."""

    def __init__(self, name: SomeText, value: Any, *, condition: Condition | None = None) -> None:
        super().__init__(condition=condition)
        self.name = name
        self.value = value

    def execute(self, context: LaunchContext) -> None:
        """Adds the parameter."""
        evaluated = evaluate_mapping(context, {self.name: self.value})
        context.globals[PARAMETERS] = {**context.globals.get(PARAMETERS, {}), **evaluated}


class SetRemap(Action):
    """Remaps a name of all nodes that follow in this scope."""

    def __init__(self, src: SomeText, dst: SomeText, *, condition: Condition | None = None) -> None:
        super().__init__(condition=condition)
        self.src = src
        self.dst = dst

    def execute(self, context: LaunchContext) -> None:
        """Adds the remapping."""
        rule = (perform(context, self.src), perform(context, self.dst))
        context.globals[REMAPS] = [*context.globals.get(REMAPS, []), rule]


__all__ = [
    "LifecycleNode",
    "Node",
    "ParameterFile",
    "ParameterValue",
    "PushRosNamespace",
    "SetParameter",
    "SetRemap",
]
