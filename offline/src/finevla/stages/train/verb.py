"""`finevla train`: progress bar and report."""

from __future__ import annotations

from contextlib import nullcontext
from types import TracebackType
from typing import Self

import rich.progress
from rich.console import Console

from finevla.contract.robot import load_contract
from finevla.stages.train.engine import make_accelerator
from finevla.stages.train.flags import Config, command_line, training_spec
from finevla.stages.train.metrics import Measurement
from finevla.stages.train.run import Progress, TrainReport, run_training

__all__ = ["Config", "command_line", "main", "training_spec"]

_SHOWN = 12
"""Words of the policy that the report names."""


class _Bars(Progress):
    """Progress bars on stderr."""

    def __init__(self, steps: int) -> None:
        self._bars = rich.progress.Progress(
            rich.progress.TextColumn("{task.description}"),
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TimeRemainingColumn(),
            rich.progress.TextColumn("{task.fields[note]}"),
            console=Console(stderr=True),
        )
        self._reading = self._bars.add_task("read episodes", total=None, note="")
        self._training = self._bars.add_task("train", total=steps, note="")
        self._probe = ""

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def episode(self, done: int, total: int) -> None:
        self._bars.update(self._reading, completed=done, total=total)

    def step(self, done: int, loss: float) -> None:
        self._bars.update(self._training, completed=done, note=f"loss {loss:.4f}{self._probe}")

    def measured(self, line: Measurement) -> None:
        if line.validation_loss is not None:
            self._probe = f", validation {line.validation_loss:.4f}, binding R2 {_r2(line)}"
        sim = "".join(f", {name} {line.sim[name]:.3g}" for name in ("avg_id", "success") if line.sim)
        self._bars.console.log(f"step {line.step}: loss {line.loss:.4f}{self._probe}{sim}")
        if line.sim_error:
            self._bars.console.log(line.sim_error)


def main(config: Config) -> int:
    """Trains and prints the report; with several processes, the first one does."""
    spec = training_spec(config)
    accelerator = make_accelerator(spec.precision, spec.device)
    shown = _Bars(spec.schedule.steps) if accelerator.is_main_process else nullcontext(Progress())
    with shown as progress:
        report = run_training(spec, load_contract(), progress, accelerator)
    if accelerator.is_main_process:
        print(_report_text(config, report))
    accelerator.end_training()
    return 0


def _r2(line: Measurement) -> str:
    return "not measured" if line.r2 is None else f"{line.r2:.2f}"


def _words(report: TrainReport) -> str:
    """The first of the words that the policy understands, and how many more."""
    if not report.words:
        return "any sentence"
    more = len(report.words) - _SHOWN
    return ", ".join(report.words[:_SHOWN]) + (f" and {more} more words" if more > 0 else "")


def _report_text(config: Config, report: TrainReport) -> str:
    final = report.final
    return "\n".join(
        [
            f"trained     {config.out}",
            f"data        {report.episodes} episodes, {report.frames} frames, {report.dataset_hash[:12]}",
            f"mix         {config.mix}, manifest {report.manifest_hash[:12]}",
            f"policy      {report.parameters} parameters; understands {_words(report)}",
            f"last loss   {final.loss:.4f} at step {final.step}",
            f"binding R2  {_r2(final)}",
            f"next        finevla export {config.out} --out BUNDLE",
        ]
    )
