"""Parameters of nodes: one typed table per node, declared, bounded and read in one place.

A table is a frozen dataclass whose fields are made by `param`: name (with its unit), type,
default, bounds and description stand in one line. `read` declares the table on a node and returns
the filled dataclass; nodes call `get_parameter` nowhere else. Works with any object that has
rclpy's `declare_parameter` and `get_parameter`, so that this module needs no ROS and the checks
are tested without it. A number written without a point (`timeout_s:=20`) is accepted where a
float is meant; everything else of a wrong type or out of bounds is refused with its name.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast, get_type_hints

from finevla.errors import LaunchError

Value = bool | int | float | str | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ParamSpec:
    """One line of a table. Bounds are inclusive; `choices` lists all texts that are allowed."""

    name: str
    type: type
    default: Value
    description: str
    lower: float | None = None
    upper: float | None = None
    choices: tuple[str, ...] = ()

    @property
    def constraint(self) -> str:
        """Bounds or choices in words; empty where there are none."""
        if self.choices:
            return "one of " + ", ".join(repr(choice) for choice in self.choices)
        if self.lower is None and self.upper is None:
            return ""
        low = "-inf" if self.lower is None else f"{self.lower:g}"
        high = "inf" if self.upper is None else f"{self.upper:g}"
        return f"{low} .. {high}"

    def check(self, value: Any, where: str) -> Value:
        """Returns `value` in the type of the table.

        Raises:
            LaunchError: It has another type, lies out of bounds or is none of the choices.
        """
        converted = _convert(value, self.type)
        fits = converted is not None
        if isinstance(converted, int | float):
            fits = (self.lower is None or converted >= self.lower) and (
                self.upper is None or converted <= self.upper
            )
        if self.choices and converted not in self.choices:
            fits = False
        if converted is None or not fits:
            raise LaunchError(
                f"the parameter {self.name} has a value that it cannot take",
                where=where,
                expected=f"{self.type.__name__} {self.constraint}".strip(),
                found=repr(value),
                remedy=f"correct it in the parameter file or the launch argument ({self.description})",
            )
        return converted


class ParameterHost(Protocol):
    """What `read` needs of a node; every rclpy node has it."""

    def declare_parameter(self, name: str, value: Any, descriptor: Any) -> Any:
        """Declares one parameter."""

    def get_parameter(self, name: str) -> Any:
        """Returns an object with the attribute `value`."""

    def get_name(self) -> str:
        """Name of the node."""


def param(
    default: Value,
    description: str,
    *,
    lower: float | None = None,
    upper: float | None = None,
    choices: Sequence[str] = (),
) -> Any:
    """Makes one field of a table; use it as the default of a dataclass field."""
    meta = {"description": description, "lower": lower, "upper": upper, "choices": tuple(choices)}
    return dataclasses.field(default=default, metadata=meta)


def specs(table: type[Any]) -> tuple[ParamSpec, ...]:
    """The lines of a table, in the order in which its dataclass lists them."""
    hints = get_type_hints(table)
    return tuple(
        ParamSpec(f.name, _plain(hints[f.name]), cast("Value", f.default), **f.metadata)
        for f in dataclasses.fields(table)
    )


def build[T](table: type[T], values: Mapping[str, Any], where: str = "parameters") -> T:
    """Fills a table from values by name; names that are absent keep their default.

    Raises:
        LaunchError: A value has a wrong type or is out of bounds, or a name is not in the table.
    """
    lines = {spec.name: spec for spec in specs(table)}
    unknown = sorted(set(values) - set(lines))
    if unknown:
        raise LaunchError(
            "there is no such parameter",
            where=where,
            expected=f"one of {sorted(lines)}",
            found=unknown,
            remedy="correct the name",
        )
    return table(**{name: lines[name].check(value, where) for name, value in values.items()})


def read[T](node: ParameterHost, table: type[T], descriptor: Callable[..., Any]) -> T:
    """Declares every line of `table` on `node` and returns the filled table.

    Args:
        node: The rclpy node.
        table: Frozen dataclass whose fields come from `param`.
        descriptor: The class `rcl_interfaces.msg.ParameterDescriptor`.

    Raises:
        LaunchError: A value has a wrong type or is out of bounds.
    """
    values = {}
    for spec in specs(table):
        default = list(spec.default) if isinstance(spec.default, tuple) else spec.default
        # Types are checked here and not by rclpy, which would refuse `2` for a float.
        # Read-only, because the node reads its table once, when it starts.
        meta = descriptor(
            name=spec.name,
            description=spec.description,
            additional_constraints=spec.constraint,
            read_only=True,
            dynamic_typing=True,
        )
        node.declare_parameter(spec.name, default, meta)
        values[spec.name] = node.get_parameter(spec.name).value
    return build(table, values, where=f"node {node.get_name()}")


def _plain(hint: Any) -> type:
    return hint if isinstance(hint, type) else tuple


def _convert(value: Any, wanted: type) -> Value | None:
    if wanted is tuple:
        entries = [] if value is None else value
        is_list = isinstance(entries, list | tuple) and all(isinstance(entry, str) for entry in entries)
        return tuple(entries) if is_list else None
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not wanted or (isinstance(value, float) and math.isnan(value)):
        return None
    return cast("Value", value)
