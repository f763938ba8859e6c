"""What launch files are made of: entities, substitutions, and the context in which they are evaluated."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from finevla.errors import LaunchError

if TYPE_CHECKING:
    from finevla.launcher.subset.events import Event, EventHandler
    from finevla.launcher.subset.process import ExecuteProcess


class Substitution:
    """A text that is known only while launching."""

    def perform(self, context: LaunchContext) -> str:
        """The text, in this context."""
        raise NotImplementedError


SomeText = str | Path | Substitution | Iterable[str | Path | Substitution]
"""What every text argument accepts; the parts of an iterable are joined without a separator."""


class Runtime(Protocol):
    """What actions may ask of the program that runs the launch file."""

    def start(self, action: ExecuteProcess, context: LaunchContext) -> None:
        """Starts a process."""

    def after(self, seconds: float, entities: Sequence[Entity]) -> None:
        """Visits entities later, unless a shutdown comes first."""

    def emit(self, event: Event) -> None:
        """Hands an event to the handlers, after the current entity."""

    def log(self, text: str) -> None:
        """Prints a line of the launcher's own."""


@dataclass
class LaunchContext:
    """Launch configurations, environment and handlers while a launch file runs.

    `launch_configurations` holds texts by name. `globals` holds what groups set for their nodes:
    namespace, parameters and remappings. Both, and the environment, are scoped by `GroupAction`.
    """

    runtime: Runtime
    launch_configurations: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))
    globals: dict[str, Any] = field(default_factory=dict)
    handlers: list[EventHandler] = field(default_factory=list)
    launch_file_directory: str = ""
    _saved: list[tuple[dict[str, str], dict[str, str], dict[str, Any]]] = field(default_factory=list)

    def push(self) -> None:
        """Begins a scope."""
        self._saved.append((dict(self.launch_configurations), dict(self.environment), dict(self.globals)))

    def pop(self) -> None:
        """Ends the innermost scope: what was set in it is forgotten."""
        self.launch_configurations, self.environment, self.globals = self._saved.pop()

    def register_event_handler(self, handler: EventHandler) -> None:
        """Makes a handler listen; of two handlers for one event the newer one comes first."""
        self.handlers.insert(0, handler)

    def perform_substitution(self, substitution: SomeText) -> str:
        """The text of a substitution, as real launch offers it to functions of launch files."""
        return perform(self, substitution)


def parts(value: SomeText) -> Iterator[str | Substitution]:
    """The parts of a text argument.

    Raises:
        LaunchError: The value is not text.
    """
    if isinstance(value, str | Substitution):
        yield value
    elif isinstance(value, Path):
        yield str(value)
    elif isinstance(value, Iterable):
        for part in value:
            yield from parts(part)
    else:
        raise LaunchError(
            "a text is expected",
            expected="a string, a path, a substitution, or several of them",
            found=repr(value),
            remedy="correct the launch file",
        )


def perform(context: LaunchContext, value: SomeText) -> str:
    """The text of an argument, in this context."""
    return "".join(part if isinstance(part, str) else part.perform(context) for part in parts(value))


class Condition:
    """Decides whether an action is executed."""

    def evaluate(self, context: LaunchContext) -> bool:
        """True where the action is to be executed."""
        raise NotImplementedError


class Entity:
    """Anything that a launch description may hold."""

    def visit(self, context: LaunchContext) -> Sequence[Entity]:
        """Does its work and returns the entities to visit next."""
        raise NotImplementedError


class Action(Entity):
    """An entity with a condition."""

    def __init__(self, *, condition: Condition | None = None) -> None:
        self.condition = condition

    def visit(self, context: LaunchContext) -> Sequence[Entity]:
        """Executes the action if its condition holds."""
        if self.condition is not None and not self.condition.evaluate(context):
            return []
        return self.execute(context) or []

    def execute(self, context: LaunchContext) -> Sequence[Entity] | None:
        """Does the work of the action; returns entities to visit next."""
        raise NotImplementedError


class LaunchDescription(Entity):
    """What a launch file returns: entities in the order in which they are visited."""

    def __init__(self, initial_entities: Iterable[Entity] | None = None) -> None:
        self.entities: list[Entity] = list(initial_entities or [])

    def add_action(self, action: Entity) -> None:
        """Appends an entity."""
        self.entities.append(action)

    add_entity = add_action

    def visit(self, context: LaunchContext) -> Sequence[Entity]:
        """Returns its entities."""
        del context
        return self.entities
