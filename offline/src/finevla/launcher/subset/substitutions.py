"""The substitutions of the subset."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from finevla.errors import LaunchError
from finevla.launcher import packages
from finevla.launcher.subset.context import Condition, LaunchContext, SomeText, Substitution, parts, perform

TRUE_TEXTS = frozenset({"true", "1"})
FALSE_TEXTS = frozenset({"false", "0"})


class TextSubstitution(Substitution):
    """A plain text."""

    def __init__(self, *, text: str) -> None:
        self.text = text

    def perform(self, context: LaunchContext) -> str:
        """The text."""
        del context
        return self.text


class LaunchConfiguration(Substitution):
    """The value of a launch argument."""

    def __init__(self, variable_name: SomeText, *, default: object = None) -> None:
        self.variable_name = variable_name
        self.default = default

    def perform(self, context: LaunchContext) -> str:
        """The value, or the default.

        Raises:
            LaunchError: It has neither.
        """
        name = perform(context, self.variable_name)
        if name in context.launch_configurations:
            return context.launch_configurations[name]
        if self.default is None:
            raise LaunchError(
                f"launch configuration {name!r} does not exist",
                expected=f"one of {sorted(context.launch_configurations)}",
                remedy="declare it with DeclareLaunchArgument before it is used",
            )
        if isinstance(self.default, str | Path | Substitution | Iterable):
            return perform(context, self.default)
        return str(self.default)


class PathJoinSubstitution(Substitution):
    """Parts of a path, joined with the separator."""

    def __init__(self, substitutions: Iterable[SomeText]) -> None:
        self.substitutions = list(substitutions)

    def perform(self, context: LaunchContext) -> str:
        """The path."""
        return str(Path(*(perform(context, part) for part in self.substitutions)))


class EnvironmentVariable(Substitution):
    """The value of an environment variable, as launch would hand it to a process."""

    def __init__(self, name: SomeText, *, default_value: SomeText | None = None) -> None:
        self.name = name
        self.default_value = default_value

    def perform(self, context: LaunchContext) -> str:
        """The value, or the default.

        Raises:
            LaunchError: It has neither.
        """
        name = perform(context, self.name)
        if name in context.environment:
            return context.environment[name]
        if self.default_value is None:
            raise LaunchError(f"environment variable {name!r} does not exist", remedy="set it")
        return perform(context, self.default_value)


class PythonExpression(Substitution):
    """The value of a Python expression, as text. Its author is the author of the launch file."""

    def __init__(self, expression: SomeText, python_modules: Sequence[str] = ("math",)) -> None:
        self.expression = list(parts(expression))
        self.python_modules = tuple(python_modules)

    def perform(self, context: LaunchContext) -> str:
        """The value.

        Raises:
            LaunchError: The expression fails.
        """
        text = perform(context, self.expression)
        names = {name: importlib.import_module(name) for name in self.python_modules}
        for module in list(names.values()):
            names |= vars(module) if module.__name__ == "math" else {}
        try:
            return str(eval(text, {}, names))  # noqa: S307  launch files are programs
        except Exception as err:
            raise LaunchError(
                "a Python expression of the launch file fails",
                where=text,
                found=repr(err),
                remedy="correct the expression; texts in it need quotes",
            ) from err


class ThisLaunchFileDir(Substitution):
    """Folder of the launch file that is being visited."""

    def perform(self, context: LaunchContext) -> str:
        """The folder."""
        return context.launch_file_directory


class FindPackageShare(Substitution):
    """Folder `share/PACKAGE` of an installed package."""

    def __init__(self, package: SomeText) -> None:
        self.package = package

    def perform(self, context: LaunchContext) -> str:
        """The folder. Raises LaunchError where the package is not found."""
        return str(packages.package_share(perform(context, self.package)))


def evaluate_condition(text: str) -> bool:
    """Reads a condition as real launch does.

    Raises:
        LaunchError: The text is neither true, false, 1 nor 0 (in any case).
    """
    lowered = text.strip().lower()
    if lowered in TRUE_TEXTS | FALSE_TEXTS:
        return lowered in TRUE_TEXTS
    raise LaunchError(
        "a condition is neither true nor false",
        expected="true, false, 1 or 0",
        found=repr(text),
        remedy="correct the launch argument",
    )


class IfCondition(Condition):
    """True where the text is true or 1."""

    def __init__(self, predicate_expression: SomeText) -> None:
        self.predicate_expression = predicate_expression

    def evaluate(self, context: LaunchContext) -> bool:
        """Reads the text in this context."""
        return evaluate_condition(perform(context, self.predicate_expression))


class UnlessCondition(IfCondition):
    """True where the text is false or 0."""

    def evaluate(self, context: LaunchContext) -> bool:
        """Reads the text in this context."""
        return not super().evaluate(context)
