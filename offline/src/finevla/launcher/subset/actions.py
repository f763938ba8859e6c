"""The actions of the subset that start no process; `process.py` and `ros.py` have the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from finevla.errors import LaunchError
from finevla.launcher.arguments import DeclaredArgument
from finevla.launcher.subset import events
from finevla.launcher.subset.context import (
    Action,
    Condition,
    Entity,
    LaunchContext,
    LaunchDescription,
    SomeText,
    perform,
)
from finevla.launcher.subset.sources import PythonLaunchDescriptionSource


class DeclareLaunchArgument(Action):
    """Declares a launch argument, with the value that it has unless one is given."""

    def __init__(
        self,
        name: str,
        *,
        default_value: SomeText | None = None,
        description: str = "no description given",
        choices: Sequence[str] | None = None,
        condition: Condition | None = None,
    ) -> None:
        super().__init__(condition=condition)
        self.name = name
        self.default_value = default_value
        self.description = description
        self.choices = tuple(choices or ())

    def execute(self, context: LaunchContext) -> None:
        """Sets the default where no value was given, and checks the value against the choices."""
        values = context.launch_configurations
        if self.name not in values:
            if self.default_value is None:
                raise LaunchError(
                    f"the launch argument {self.name!r} is required",
                    expected=self.description,
                    remedy=f"give it: {self.name}:=VALUE",
                )
            values[self.name] = perform(context, self.default_value)
        if self.choices and values[self.name] not in self.choices:
            raise LaunchError(
                f"the launch argument {self.name!r} has a value that is not offered",
                expected=f"one of {', '.join(self.choices)}",
                found=values[self.name],
                remedy="choose one of these",
            )

    def declared(self, context: LaunchContext) -> DeclaredArgument:
        """The argument as `--show-args` tells it."""
        try:
            default = None if self.default_value is None else perform(context, self.default_value)
        except LaunchError:
            default = "(computed from other arguments)"
        return DeclaredArgument(self.name, self.description, default, self.choices)


class _Scope(Entity):
    """Begins or ends a scope."""

    def __init__(self, begin: bool) -> None:
        self.begin = begin

    def visit(self, context: LaunchContext) -> Sequence[Entity]:
        """Pushes or pops the context."""
        if self.begin:
            context.push()
        else:
            context.pop()
        return []


class GroupAction(Action):
    """Visits actions, by default in a scope of their own."""

    def __init__(
        self, actions: Iterable[Entity], *, scoped: bool = True, condition: Condition | None = None
    ) -> None:
        super().__init__(condition=condition)
        self.actions = list(actions)
        self.scoped = scoped

    def execute(self, context: LaunchContext) -> Sequence[Entity]:
        """Returns the actions, between the two ends of a scope."""
        del context
        return [_Scope(True), *self.actions, _Scope(False)] if self.scoped else self.actions


class _InFolder(Entity):
    """Sets the folder of the launch file that is being visited."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def visit(self, context: LaunchContext) -> Sequence[Entity]:
        """Sets the folder."""
        context.launch_file_directory = self.folder
        return []


class IncludeLaunchDescription(Action):
    """Visits what another launch file describes."""

    def __init__(
        self,
        launch_description_source: PythonLaunchDescriptionSource | SomeText,
        *,
        launch_arguments: Iterable[tuple[SomeText, SomeText]] | None = None,
        condition: Condition | None = None,
    ) -> None:
        super().__init__(condition=condition)
        source = launch_description_source
        if not isinstance(source, PythonLaunchDescriptionSource):
            source = PythonLaunchDescriptionSource(source)
        self.launch_description_source = source
        self.launch_arguments = list(launch_arguments or ())

    def execute(self, context: LaunchContext) -> Sequence[Entity]:
        """Sets the arguments and returns the description, with its own folder in force."""
        description = self.launch_description_source.get_launch_description(context)
        for name, value in self.launch_arguments:
            context.launch_configurations[perform(context, name)] = perform(context, value)
        folder = str(self.launch_description_source.path(context).parent)
        return [_InFolder(folder), description, _InFolder(context.launch_file_directory)]


class LogInfo(Action):
    """Prints a line."""

    def __init__(self, *, msg: SomeText, condition: Condition | None = None) -> None:
        super().__init__(condition=condition)
        self.msg = msg

    def execute(self, context: LaunchContext) -> None:
        """Prints the line."""
        context.runtime.log(perform(context, self.msg))


class SetEnvironmentVariable(Action):
    """Sets a variable for the processes that are started after it."""

    def __init__(self, name: SomeText, value: SomeText, *, condition: Condition | None = None) -> None:
        super().__init__(condition=condition)
        self.name = name
        self.value = value

    def execute(self, context: LaunchContext) -> None:
        """Sets the variable."""
        context.environment[perform(context, self.name)] = perform(context, self.value)


class OpaqueFunction(Action):
    """Calls a function, which may return entities to visit."""

    def __init__(
        self,
        *,
        function: Callable[..., Iterable[Entity] | None],
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        condition: Condition | None = None,
    ) -> None:
        super().__init__(condition=condition)
        self.function = function
        self.args = tuple(args or ())
        self.kwargs = dict(kwargs or {})

    def execute(self, context: LaunchContext) -> Sequence[Entity]:
        """Calls the function with the context first."""
        return list(self.function(context, *self.args, **self.kwargs) or [])


class TimerAction(Action):
    """Visits actions after a while, unless a shutdown comes first."""

    def __init__(
        self, *, period: float | SomeText, actions: Iterable[Entity], condition: Condition | None = None
    ) -> None:
        super().__init__(condition=condition)
        self.period = period
        self.actions = list(actions)

    def execute(self, context: LaunchContext) -> None:
        """Starts the timer."""
        seconds = (
            self.period if isinstance(self.period, int | float) else float(perform(context, self.period))
        )
        context.runtime.after(float(seconds), self.actions)


class RegisterEventHandler(Action):
    """Makes an event handler listen from now on."""

    def __init__(self, event_handler: events.EventHandler, *, condition: Condition | None = None) -> None:
        super().__init__(condition=condition)
        self.event_handler = event_handler

    def execute(self, context: LaunchContext) -> None:
        """Registers the handler."""
        context.register_event_handler(self.event_handler)


class EmitEvent(Action):
    """Emits an event; the subset knows `launch.events.Shutdown`."""

    def __init__(self, *, event: events.Event, condition: Condition | None = None) -> None:
        super().__init__(condition=condition)
        if not isinstance(event, events.Shutdown):
            raise LaunchError(
                f"EmitEvent({type(event).__name__}) is not in the subset",
                expected="launch.events.Shutdown",
                remedy="use ROS's own launch packages for this file",
            )
        self.event = event

    def execute(self, context: LaunchContext) -> None:
        """Emits the event."""
        context.runtime.emit(self.event)


class Shutdown(EmitEvent):
    """Ends the whole launch."""

    def __init__(self, *, reason: str = "reason not given", condition: Condition | None = None) -> None:
        super().__init__(event=events.Shutdown(reason=reason), condition=condition)


def declared_arguments(entities: Iterable[Entity], context: LaunchContext) -> list[DeclaredArgument]:
    """The arguments that a description declares, those of its groups and inclusions among them.

    An inclusion whose path depends on an argument is passed over, as it is by real launch.
    """
    found: list[DeclaredArgument] = []
    for entity in entities:
        if isinstance(entity, DeclareLaunchArgument):
            found.append(entity.declared(context))
        elif isinstance(entity, LaunchDescription):
            found += declared_arguments(entity.entities, context)
        elif isinstance(entity, GroupAction):
            found += declared_arguments(entity.actions, context)
        elif isinstance(entity, IncludeLaunchDescription):
            found += _included_arguments(entity, context)
    return list({argument.name: argument for argument in reversed(found)}.values())[::-1]


def _included_arguments(entity: IncludeLaunchDescription, context: LaunchContext) -> list[DeclaredArgument]:
    try:
        description = entity.launch_description_source.get_launch_description(context)
    except LaunchError:
        return []
    given = {perform(context, name) for name, _ in entity.launch_arguments}
    return [a for a in declared_arguments([description], context) if a.name not in given]
