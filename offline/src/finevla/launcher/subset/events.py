"""Events and their handlers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from finevla.launcher.subset.context import Entity, LaunchContext

if TYPE_CHECKING:
    from finevla.launcher.subset.process import ExecuteProcess


class Event:
    """Something that happened."""


@dataclass(frozen=True)
class Shutdown(Event):
    """The whole launch is to end."""

    reason: str = "reason not given"
    due_to_sigint: bool = False


@dataclass(frozen=True)
class ProcessEvent(Event):
    """A process started or ended."""

    action: ExecuteProcess
    process_name: str
    cmd: tuple[str, ...]
    pid: int


@dataclass(frozen=True)
class ProcessStarted(ProcessEvent):
    """A process started."""


@dataclass(frozen=True)
class ProcessExited(ProcessEvent):
    """A process ended; a negative return code is the number of the signal that ended it."""

    returncode: int


SomeEntities = Entity | Iterable[Entity]
Reaction = SomeEntities | Callable[[Event, LaunchContext], SomeEntities | None]
"""Entities to visit on an event, or a function that returns them."""


def react(reaction: Reaction | None, event: Event, context: LaunchContext) -> Sequence[Entity]:
    """The entities that follow an event."""
    if reaction is not None and not isinstance(reaction, Entity) and callable(reaction):
        reaction = reaction(event, context)
    if reaction is None:
        return []
    if isinstance(reaction, Entity):
        return [reaction]
    return list(reaction)


class EventHandler:
    """Reacts to one kind of event."""

    kind: type[Event] = Event

    def __init__(self, reaction: Reaction, target_action: ExecuteProcess | None = None) -> None:
        self.reaction = reaction
        self.target_action = target_action

    def matches(self, event: Event) -> bool:
        """True where the handler reacts to this event."""
        if not isinstance(event, self.kind):
            return False
        return self.target_action is None or getattr(event, "action", None) is self.target_action

    def handle(self, event: Event, context: LaunchContext) -> Sequence[Entity]:
        """The entities that follow the event."""
        return react(self.reaction, event, context)


class OnProcessStart(EventHandler):
    """Reacts when a process, or any process, has started."""

    kind = ProcessStarted

    def __init__(self, *, target_action: ExecuteProcess | None = None, on_start: Reaction) -> None:
        super().__init__(on_start, target_action)


class OnProcessExit(EventHandler):
    """Reacts when a process, or any process, has ended."""

    kind = ProcessExited

    def __init__(self, *, target_action: ExecuteProcess | None = None, on_exit: Reaction) -> None:
        super().__init__(on_exit, target_action)


class OnShutdown(EventHandler):
    """Reacts when the launch is about to end; processes are still running."""

    kind = Shutdown

    def __init__(self, *, on_shutdown: Reaction) -> None:
        super().__init__(on_shutdown)
