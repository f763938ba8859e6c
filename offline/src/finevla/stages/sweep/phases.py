"""The phases of a cell, each a child process with one thread: train, export, paired, closed_loop, openloop.

A phase that is done is not repeated; one that was interrupted goes on where its own verb can: the trainer
from its newest checkpoint, exactly, and the evaluations from what they have measured. `phases.jsonl` in the
cell's folder holds one line per start and end, `PHASE.log` what the phase printed.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finevla.stages.sweep.plan import CellJob, SweepError

PHASES_FILE = "phases.jsonl"
TRAIN, EXPORT, PAIRED, CLOSED_LOOP, OPENLOOP = "train", "export", "paired", "closed_loop", "openloop"
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "LP_NUM_THREADS"), "1"
)
"""Threads of torch, numpy and of the software renderer: cells run side by side, one core each."""
_LOG_LINES = 40
_GRACE_S = 10.0


@dataclass(frozen=True, slots=True)
class Phase:
    """One command of a cell: its name, the arguments of `finevla`, and what it leaves behind."""

    name: str
    arguments: tuple[str, ...]
    makes: Path

    @property
    def command(self) -> str:
        """The command for a person."""
        return shlex.join(["finevla", *self.arguments])


def phases_of(job: CellJob) -> list[Phase]:
    """The phases of a cell, in order."""
    cell, settings, run = job.cell, job.settings, job.run
    pictures = ("--cache-dir", str(job.pictures)) if job.pictures is not None else ()
    train = [
        *("train", str(job.dataset), "--out", str(run / TRAIN)),
        *("--steps", str(settings.steps), "--seed", str(cell.seed)),
        *("--head", cell.head, "--mix", cell.mix),
        *pictures,
        *shlex.split(settings.train_flags),
    ]
    scenes = [
        *("--bundle", str(job.bundle), "--seed", str(job.scene_seed), "--workers", "1"),
        *("--replan-frames", str(settings.replan_frames)),
    ]
    paired = [
        *("evaluate", "paired", *scenes, "--factors", settings.factors, "--n", str(settings.n)),
        *("--probes", str(settings.probes), "--json", str(run / "paired.json")),
        *shlex.split(settings.paired_flags),
    ]
    closed = ["evaluate", "closed-loop", *scenes, "--episodes", str(settings.closed_loop)]
    openloop = [
        *("evaluate", "openloop", str(job.bundle), str(job.dataset)),
        *("--train-dir", str(run / TRAIN), "--json", str(run / "openloop.json"), *pictures),
    ]
    found = [
        Phase(TRAIN, tuple(train), run / TRAIN / "run.json"),
        Phase(EXPORT, ("export", str(run / TRAIN), "--out", str(job.bundle)), job.bundle / "bundle.json"),
    ]
    if settings.openloop:
        found.append(Phase(OPENLOOP, tuple(openloop), run / "openloop.json"))
    found.append(Phase(PAIRED, tuple(paired), run / "paired.json"))
    if settings.closed_loop:
        path = run / "closed_loop.json"
        found.append(Phase(CLOSED_LOOP, (*closed, "--json", str(path)), path))
    return found


def events(run: Path) -> list[dict[str, Any]]:
    """Starts and ends of the phases of a cell so far; a line that was cut off is left out."""
    path = run / PHASES_FILE
    lines = path.read_text("utf-8").splitlines(keepends=True) if path.exists() else []
    return [dict(json.loads(line)) for line in lines if line.endswith("\n")]


def seconds_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Wall-clock time of each phase, over all attempts that came to an end, s."""
    spent: dict[str, float] = {}
    for row in rows:
        if "seconds" in row:
            spent[row["phase"]] = round(spent.get(row["phase"], 0.0) + row["seconds"], 1)
    return spent


def run_phase(job: CellJob, phase: Phase) -> None:
    """Runs a phase in a child process, unless it is done.

    Raises:
        SweepError: The process ended with an error; its last words are in the message.
    """
    done = any(row["phase"] == phase.name and row["event"] == "done" for row in events(job.run))
    if done and phase.makes.exists():
        return
    arguments = [*phase.arguments, *_prepared(job, phase)]
    log = job.run / f"{phase.name}.log"
    job.run.mkdir(parents=True, exist_ok=True)
    _note(job.run, phase.name, "start", command=phase.command)
    begun, code = time.monotonic(), None
    try:
        code = _run(arguments, log)
    finally:
        event = "done" if code == 0 and phase.makes.exists() else "failed"
        _note(job.run, phase.name, event, code=code, seconds=round(time.monotonic() - begun, 1))
    if event == "failed":
        raise SweepError(
            f"the phase {phase.name} of the cell {job.cell.name} failed",
            where=log,
            expected=f"exit code 0 and {phase.makes.name}",
            found=f"exit code {code}\n{_tail(log)}",
            remedy=f"see the log; to try by hand: {phase.command}",
        )


def _prepared(job: CellJob, phase: Phase) -> list[str]:
    """Clears away what an interrupted attempt left, or asks the trainer to go on; gives further flags."""
    if phase.name == TRAIN:
        train = job.run / TRAIN
        if any((train / "checkpoints").glob("step_*")):
            return ["--resume"]
        shutil.rmtree(train, ignore_errors=True)
    elif phase.name == EXPORT:
        shutil.rmtree(job.bundle, ignore_errors=True)
        job.bundle.parent.mkdir(parents=True, exist_ok=True)
    return []


def _run(arguments: Sequence[str], log: Path) -> int:
    """Runs `finevla` with these arguments as a process that ends with this one; gives its exit code."""
    command = [sys.executable, "-m", "finevla.stages.sweep.child", *arguments]
    with log.open("ab") as file:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, **ONE_THREAD},
        )
        try:
            return process.wait()
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()
    if process.poll() is None:
        try:
            process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _note(run: Path, phase: str, event: str, **details: Any) -> None:
    row = {"time": round(time.time(), 3), "phase": phase, "event": event, **details}
    with (run / PHASES_FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _tail(log: Path) -> str:
    lines = log.read_text("utf-8", errors="replace").splitlines()
    return "\n".join(f"    {line}" for line in lines[-_LOG_LINES:])
