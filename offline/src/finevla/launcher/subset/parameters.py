"""Node parameters: from what a launch file says to what a node is given."""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml

from finevla.errors import LaunchError
from finevla.launcher.subset.context import LaunchContext, SomeText, Substitution, perform

SCALARS = (bool, int, float, str)
ParameterType = type | types.GenericAlias | None


class ParameterValue:
    """A parameter with a type: `value_type` is bool, int, float, str, a list of these, or None (as YAML)."""

    def __init__(self, value: Any, *, value_type: ParameterType = None) -> None:
        self.value = value
        self.value_type = value_type

    def evaluate(self, context: LaunchContext) -> Any:
        """The value, in this context.

        Raises:
            LaunchError: The text cannot be read as a value of this type.
        """
        if not is_text(self.value) or isinstance(self.value, str):
            return (
                checked(self.value, repr(self.value)) if self.value_type is None else self._typed(self.value)
            )
        text = perform(context, self.value)
        if self.value_type is str:
            return text
        return _from_yaml(text) if self.value_type is None else self._typed(_from_yaml(text))

    def _typed(self, value: Any) -> Any:
        wanted = self.value_type
        if get_origin(wanted) is list:
            (item,) = get_args(wanted)
            if isinstance(value, list | tuple) and all(_fits(v, item) for v in value):
                return [item(v) for v in value]
        elif isinstance(wanted, type) and _fits(value, wanted):
            return wanted(value)
        raise LaunchError(
            "a parameter has another type than the launch file says",
            expected=str(wanted),
            found=repr(value),
            remedy="correct the launch argument or value_type",
        )


class ParameterFile:
    """A YAML file of parameters; it is handed to the node as it is."""

    def __init__(self, param_file: SomeText, *, allow_substs: bool = False) -> None:
        if allow_substs:
            raise LaunchError("ParameterFile(allow_substs=True) is not in the subset", remedy="leave it out")
        self.param_file = param_file


def is_text(value: Any) -> bool:
    """True for what `perform` reads as one text; a list only where a substitution is in it."""
    if isinstance(value, str | Path | Substitution):
        return True
    return isinstance(value, list | tuple) and any(isinstance(v, Substitution) for v in value)


def _fits(value: Any, wanted: type) -> bool:
    return type(value) is wanted or (wanted is float and type(value) is int)


def checked(value: Any, where: str) -> Any:
    """Returns a parameter value that ROS 2 knows.

    Raises:
        LaunchError: It is neither a bool, int, float, str nor a list of one of these.
    """
    if isinstance(value, SCALARS):
        return value
    if isinstance(value, list | tuple) and {type(v) for v in value} in ({kind} for kind in SCALARS):
        return list(value)
    raise LaunchError(
        "a parameter has a value that ROS 2 does not know",
        where=where,
        expected="bool, int, float, str, or a list of one of these that is not empty",
        found=repr(value),
        remedy="correct the launch file; leave out what is to have its default",
    )


def _from_yaml(text: str) -> Any:
    try:
        return checked(yaml.safe_load(text), repr(text))
    except yaml.YAMLError as err:
        raise LaunchError("a parameter is no YAML", found=repr(text), remedy="quote it") from err


def evaluate_mapping(context: LaunchContext, values: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """Evaluates a mapping of parameters; texts with substitutions are read as YAML, as by real launch.

    Nested mappings become names with dots.
    """
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = prefix + perform(context, key)
        if isinstance(value, Mapping):
            found |= evaluate_mapping(context, value, f"{name}.")
        elif isinstance(value, ParameterValue):
            found[name] = value.evaluate(context)
        elif isinstance(value, str) or not is_text(value):
            found[name] = checked(value, name)
        else:
            found[name] = _from_yaml(perform(context, value))
    return found


def write_files(
    context: LaunchContext, parameters: Iterable[Any], node: str, folder: Path, stem: str
) -> list[Path]:
    """Turns the `parameters` of a node into parameter files, in order.

    Args:
        context: Where substitutions are evaluated.
        parameters: Mappings, paths of YAML files, or `ParameterFile`.
        node: Full name of the node, or `/**`.
        folder: Where files are written for the mappings.
        stem: First part of their names.

    Raises:
        LaunchError: A file is missing or a value is not possible.
    """
    files = []
    for i, entry in enumerate(parameters):
        if isinstance(entry, Mapping):
            path = folder / f"{stem}_{i}.yaml"
            document = {node: {"ros__parameters": evaluate_mapping(context, entry)}}
            path.write_text(yaml.safe_dump(document))
        else:
            path = Path(perform(context, entry.param_file if isinstance(entry, ParameterFile) else entry))
            if not path.is_file():
                raise LaunchError("a parameter file is missing", where=path, remedy="check its path")
        files.append(path)
    return files
