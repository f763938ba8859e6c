"""The grammar of launch arguments, `name:=value`, and the text of `--show-args`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from finevla.errors import LaunchError


@dataclass(frozen=True, slots=True)
class DeclaredArgument:
    """An argument that a launch file declares; `default` is None where the argument is required."""

    name: str
    description: str
    default: str | None
    choices: tuple[str, ...] = ()


def parse_arguments(words: Sequence[str]) -> dict[str, str]:
    """Parses `name:=value` words; the last of two values for one name wins, as in `ros2 launch`.

    Raises:
        LaunchError: A word is not of this form.
    """
    found: dict[str, str] = {}
    for word in words:
        name, separator, value = word.partition(":=")
        if not separator or not name:
            raise LaunchError(
                "a launch argument is malformed",
                expected="name:=value",
                found=word,
                remedy="write it without spaces around :=, and quote the value if it holds spaces",
            )
        found[name] = value
    return found


def check_arguments(given: dict[str, str], declared: Sequence[DeclaredArgument]) -> None:
    """Refuses arguments that the launch file does not declare: a typing error must not go unnoticed.

    Raises:
        LaunchError: An argument is unknown.
    """
    known = sorted({argument.name for argument in declared})
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise LaunchError(
            f"the launch file has no argument {', '.join(unknown)}",
            expected=", ".join(known) or "no arguments at all",
            remedy="--show-args explains them",
        )


def describe(declared: Sequence[DeclaredArgument]) -> str:
    """Text of `--show-args`."""
    if not declared:
        return "No arguments."
    lines = ["Arguments (pass arguments as '<name>:=<value>'):"]
    for argument in declared:
        lines += ["", f"    '{argument.name}':", f"        {argument.description}"]
        if argument.choices:
            lines.append(f"        one of: {', '.join(argument.choices)}")
        lines.append(
            "        (required)" if argument.default is None else f"        (default: {argument.default!r})"
        )
    return "\n".join(lines)
