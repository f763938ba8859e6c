"""Processes: how they are described, started, listened to and stopped."""

from __future__ import annotations

import asyncio
import ctypes
import os
import shlex
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from finevla.errors import LaunchError
from finevla.launcher.subset.context import Action, Condition, LaunchContext, SomeText, perform
from finevla.launcher.subset.events import Reaction

OUTPUTS = ("screen", "log", "both")
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class ExecuteProcess(Action):
    """Starts a process.

    `output`: "screen" prints its lines; "log", the default as in real launch, prints only what it
    writes to stderr; "both" is "screen". `additional_env` is added to the whole environment: a reduced
    one would break the ROS 2 wheels.
    """

    def __init__(
        self,
        *,
        cmd: Iterable[SomeText],
        name: SomeText | None = None,
        cwd: SomeText | None = None,
        additional_env: Mapping[str, SomeText] | None = None,
        shell: bool = False,
        output: SomeText = "log",
        sigterm_timeout: SomeText = "5",
        sigkill_timeout: SomeText = "5",
        on_exit: Reaction | None = None,
        condition: Condition | None = None,
    ) -> None:
        super().__init__(condition=condition)
        self.cmd = list(cmd)
        self.name = name
        self.cwd = cwd
        self.additional_env = dict(additional_env or {})
        self.shell = shell
        self.output = output
        self.sigterm_timeout = sigterm_timeout
        self.sigkill_timeout = sigkill_timeout
        self.on_exit = on_exit

    def command(self, context: LaunchContext) -> list[str]:
        """The command line, in this context."""
        return [perform(context, word) for word in self.cmd]

    def execute(self, context: LaunchContext) -> None:
        """Asks the runtime to start the process."""
        context.runtime.start(self, context)


def _in_child() -> None:
    """Runs in the child before the program: it must end when the launcher is killed."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


class RunningProcess:
    """One process of a launch: starts it, prefixes its lines, stops it with growing emphasis."""

    def __init__(self, action: ExecuteProcess, context: LaunchContext, number: int) -> None:
        self.action = action
        self.cmd = action.command(context)
        stem = (
            perform(context, action.name)
            if action.name is not None
            else Path(shlex.split(self.cmd[0])[0]).name
        )
        self.label = f"{stem}-{number}"
        self.output = perform(context, action.output)
        if self.output not in OUTPUTS:
            raise LaunchError(
                f"output={self.output!r} is not in the subset",
                where=self.label,
                expected=", ".join(OUTPUTS),
                remedy="correct the launch file",
            )
        self.grace_s = (
            float(perform(context, action.sigterm_timeout)),
            float(perform(context, action.sigkill_timeout)),
        )
        self._cwd = None if action.cwd is None else perform(context, action.cwd)
        extra = {name: perform(context, value) for name, value in action.additional_env.items()}
        # Lines must come when they are written, and without color codes.
        quiet = {"PYTHONUNBUFFERED": "1", "RCUTILS_COLORIZED_OUTPUT": "0"}
        self._env = {**quiet, **context.environment, **extra}
        self._process: asyncio.subprocess.Process | None = None
        self._hurry = asyncio.Event()

    @property
    def pid(self) -> int:
        """Process id; 0 before the start."""
        return self._process.pid if self._process else 0

    async def start(self) -> None:
        """Starts the process.

        Raises:
            LaunchError: The program cannot be started.
        """
        pipe = asyncio.subprocess.PIPE
        options: dict[str, Any] = {
            "stdin": asyncio.subprocess.DEVNULL,
            "stdout": pipe,
            "stderr": pipe,
            "env": self._env,
            "cwd": self._cwd,
            "start_new_session": True,
            "preexec_fn": _in_child,
        }
        try:
            if self.action.shell:
                self._process = await asyncio.create_subprocess_shell(" ".join(self.cmd), **options)
            else:
                self._process = await asyncio.create_subprocess_exec(*self.cmd, **options)
        except OSError as err:
            raise LaunchError(
                f"the process {self.label} cannot be started",
                where=" ".join(self.cmd),
                found=err,
                remedy="check the path of the program and its rights",
            ) from err

    async def finish(self, write: Callable[[str], None]) -> int:
        """Hands on its lines until it ends; returns its exit code."""
        process = self._process
        if process is None or process.stdout is None or process.stderr is None:
            raise RuntimeError("finish() before start()")
        shown = self.output in {"screen", "both"}
        pumps = [
            asyncio.create_task(_pump(process.stdout, self.label, write if shown else None)),
            asyncio.create_task(_pump(process.stderr, self.label, write)),
        ]
        code = await process.wait()
        # A grandchild may keep the pipes open: do not wait for it.
        await asyncio.wait(pumps, timeout=1.0)
        for pump in pumps:
            pump.cancel()
        return code

    async def stop(self, log: Callable[[str], None]) -> None:
        """SIGINT, then SIGTERM, then SIGKILL, with a grace period after each of the first two."""
        for number, grace_s in zip((signal.SIGINT, signal.SIGTERM), self.grace_s, strict=True):
            if not self._signal(number):
                return
            if await self._ended_within(grace_s):
                return
            log(f"[{self.label}]: still running {grace_s:g} s after {number.name}")
        self._signal(signal.SIGKILL)

    def hurry(self) -> None:
        """Ends the present grace period."""
        self._hurry.set()

    async def _ended_within(self, seconds: float) -> bool:
        if self._process is None:
            return True
        self._hurry.clear()
        tasks: Sequence[asyncio.Task[object]] = [
            asyncio.create_task(self._process.wait()),
            asyncio.create_task(self._hurry.wait()),
        ]
        await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        return self._process.returncode is not None

    def _signal(self, number: signal.Signals) -> bool:
        if self._process is None or self._process.returncode is not None:
            return False
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return False
        return True


async def _pump(stream: asyncio.StreamReader, label: str, write: Callable[[str], None] | None) -> None:
    """Hands on the lines of a stream, prefixed; None throws them away."""
    rest = b""
    while chunk := await stream.read(65536):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines if write else ():
            _hand_on(line, label, write)
    if rest and write:
        _hand_on(rest, label, write)


def _hand_on(line: bytes, label: str, write: Callable[[str], None] | None) -> None:
    if write is not None:
        write(f"[{label}] {line.decode(errors='replace').rstrip()}")
