"""Runs a launch description: visits entities, keeps processes, hands events to their handlers."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

from finevla.errors import LaunchError
from finevla.launcher.subset.context import Entity, LaunchContext
from finevla.launcher.subset.events import Event, OnProcessExit, ProcessExited, ProcessStarted, Shutdown
from finevla.launcher.subset.process import ExecuteProcess, RunningProcess


def _print(line: str) -> None:
    print(line, flush=True)


def _print_own(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


class LaunchService:
    """The `Runtime` of a launch file. Ends when nothing is left to do, or after a shutdown.

    Args:
        write: Takes the lines of the processes.
        log: Takes the launcher's own lines.
    """

    def __init__(
        self, write: Callable[[str], None] = _print, log: Callable[[str], None] = _print_own
    ) -> None:
        self._write = write
        self._log = log
        self._context = LaunchContext(self)
        self._events: deque[Event] = deque()
        self._processes: dict[ExecuteProcess, RunningProcess] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._timers: set[asyncio.Task[None]] = set()
        self._count = 0
        self._handling = False
        self._stopping = False
        self._error: LaunchError | None = None
        self.failed: list[str] = []
        """Processes that ended with another code than 0 before the shutdown began."""

    @property
    def context(self) -> LaunchContext:
        """The context of the whole launch."""
        return self._context

    def run(self, entities: Sequence[Entity]) -> int:
        """Visits the entities and waits for the end.

        Returns:
            0, or 1 if a process failed before the shutdown began.

        Raises:
            LaunchError: The launch file asks for what cannot be done; all processes have been stopped.
        """
        asyncio.run(self._run(entities))
        if self._error is not None:
            raise self._error
        return 1 if self.failed else 0

    async def _run(self, entities: Sequence[Entity]) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._interrupted, number)
        try:
            self._visit_safely(lambda: entities)
            while self._tasks or self._timers:
                await asyncio.wait(self._tasks | self._timers, return_when=asyncio.FIRST_COMPLETED)
            self.emit(Shutdown(reason="nothing is left to do"))
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

    def _interrupted(self, number: signal.Signals) -> None:
        if self._stopping:
            self._log("[launch]: in a hurry: no more grace")
            for process in self._processes.values():
                process.hurry()
            return
        self.emit(
            Shutdown(reason=f"signal {signal.Signals(number).name}", due_to_sigint=number == signal.SIGINT)
        )

    def _visit_safely(self, entities: Callable[[], Sequence[Entity]]) -> None:
        try:
            self._visit(entities())
        except Exception as err:  # noqa: BLE001  launch files are programs: whatever they raise ends the launch
            self._fail(err)

    def _fail(self, err: Exception) -> None:
        if not isinstance(err, LaunchError):
            err = LaunchError("a launch file fails", found=repr(err), remedy="correct the file")
        self._error = self._error or err
        self.emit(Shutdown(reason=err.what))

    def _visit(self, entities: Sequence[Entity]) -> None:
        for entity in entities:
            if not isinstance(entity, Entity):
                raise LaunchError(
                    "a launch description holds something that is no entity",
                    found=repr(entity),
                    remedy="correct the launch file",
                )
            self._visit(entity.visit(self._context))

    # Runtime

    def start(self, action: ExecuteProcess, context: LaunchContext) -> None:
        """Starts a process and looks after it until it ends; during a shutdown nothing is started."""
        if self._stopping:
            return
        if action in self._processes:
            raise LaunchError("one process action is executed twice", remedy="make two actions of it")
        if action.on_exit is not None:
            context.register_event_handler(OnProcessExit(target_action=action, on_exit=action.on_exit))
        self._count += 1
        process = RunningProcess(action, context, self._count)
        self._processes[action] = process
        self._keep(self._tasks, self._supervise(process))

    def after(self, seconds: float, entities: Sequence[Entity]) -> None:
        """Visits entities later, unless a shutdown comes first."""

        async def wait() -> None:
            await asyncio.sleep(seconds)
            self._visit_safely(lambda: entities)

        if not self._stopping:
            self._keep(self._timers, wait())

    def emit(self, event: Event) -> None:
        """Hands an event to the handlers, one event after the other."""
        self._events.append(event)
        if self._handling:
            return
        self._handling = True
        try:
            while self._events:
                self._handle(self._events.popleft())
        finally:
            self._handling = False

    def log(self, text: str) -> None:
        """Prints a line of the launch file's own."""
        self._log(f"[launch.user]: {text}")

    def _keep(self, where: set[asyncio.Task[None]], job: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(job)
        where.add(task)
        task.add_done_callback(where.discard)

    def _handle(self, event: Event) -> None:
        if isinstance(event, Shutdown):
            if self._stopping:
                return
            self._stopping = True
            self._log(f"[launch]: shutting down: {event.reason}")
        for handler in list(self._context.handlers):
            if handler.matches(event):
                self._visit_safely(partial(handler.handle, event, self._context))
        if isinstance(event, Shutdown):
            for timer in list(self._timers):
                timer.cancel()
            for process in self._processes.values():
                self._keep(self._tasks, process.stop(self._log))

    async def _supervise(self, process: RunningProcess) -> None:
        try:
            await process.start()
        except LaunchError as err:
            self._fail(err)
            return
        facts = (process.action, process.label, tuple(process.cmd), process.pid)
        self._log(f"[{process.label}]: process started with pid [{process.pid}]")
        if self._stopping:
            self._keep(self._tasks, process.stop(self._log))
        self.emit(ProcessStarted(*facts))
        code = await process.finish(self._write)
        if code != 0 and not self._stopping:
            self.failed.append(process.label)
            self._log(f"[{process.label}]: process has died [pid {process.pid}, exit code {code}]")
        elif code != 0:
            self._log(f"[{process.label}]: process ended during the shutdown with exit code {code}")
        else:
            self._log(f"[{process.label}]: process has finished cleanly [pid {process.pid}]")
        self.emit(ProcessExited(*facts, returncode=code))
