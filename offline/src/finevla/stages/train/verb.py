"""`finevla train`: flags, progress bar and report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import rich.progress
import tyro
from rich.console import Console

from finevla.contract.images import WorkspaceCrop
from finevla.contract.robot import load_contract
from finevla.errors import ContractError
from finevla.stages.train.loop import Measurement, Schedule
from finevla.stages.train.run import Progress, TrainReport, TrainSpec, run_training


@dataclass(frozen=True)
class Config:
    """Train a policy on a dataset."""

    dataset: tyro.conf.Positional[Path]
    """LeRobot v3.0 dataset, as `finevla convert` writes it."""
    out: Path
    """New directory for checkpoints and metrics."""
    steps: int = 3000
    """Updates; binding of words needs several hundred."""
    batch_size: int = 64
    """Samples per update."""
    lr: float = 1e-3
    """Highest learning rate."""
    warmup: int = 100
    """Updates until the highest learning rate."""
    seed: int = 0
    """Fixes weights, batches, augmentation and validation episodes."""
    val_episodes: int = 40
    """Episodes kept for validation; at most a fifth of all."""
    camera: str = ""
    """Camera of the policy; empty is the pivot camera of the contract."""
    crop: tuple[int, int, int, int] = (102, 50, 218, 166)
    """Workspace in the picture: left, top, right, bottom, pixels. Leave borders and arm bases out."""
    image_size: int = 64
    """Width and height of the policy's picture, pixels."""
    rest_steps: int = 15
    """Repetitions of the last action after an episode that count as targets, so that it learns to rest."""
    probe_every: int = 250
    """Updates between two measurements."""
    save_every: int = 500
    """Updates between two checkpoints."""
    threads: int = 1
    """Threads of torch; part of what makes a run reproducible."""
    resume: bool = False
    """Continue the run in --out from its newest checkpoint, exactly."""


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
        if line.r2 is not None:
            self._probe = f", validation {line.validation_loss:.4f}, binding R2 {line.r2:.2f}"
        self._bars.console.log(f"step {line.step}: loss {line.loss:.4f}{self._probe}")


def main(config: Config) -> int:
    """Trains and prints the report."""
    spec = training_spec(config)
    with _Bars(config.steps) as bars:
        report = run_training(spec, load_contract(), bars)
    print(_report_text(config, report))
    return 0


def training_spec(config: Config) -> TrainSpec:
    """The stage's view of the flags.

    Raises:
        ContractError: The camera is not one of the robot's, or the box does not fit its picture.
        PolicyError: A number is too small.
    """
    contract = load_contract()
    camera = config.camera or contract.sync.pivot
    if camera not in contract.cameras:
        raise ContractError(
            "the robot has no such camera",
            expected=list(contract.cameras),
            found=camera,
            remedy="choose --camera out of these",
        )
    source = (contract.cameras[camera].width, contract.cameras[camera].height)
    return TrainSpec(
        dataset=config.dataset,
        out=config.out,
        images={camera: WorkspaceCrop(source, config.crop, (config.image_size, config.image_size))},
        schedule=Schedule(
            steps=config.steps,
            batch_size=config.batch_size,
            learning_rate=config.lr,
            warmup=config.warmup,
            seed=config.seed,
            probe_every=config.probe_every,
            save_every=config.save_every,
        ),
        validation_episodes=config.val_episodes,
        rest_steps=config.rest_steps,
        threads=config.threads,
        command=command_line(config),
        resume=config.resume,
    )


def command_line(config: Config) -> str:
    """The command that repeats the run, with directory names in place of paths of this machine."""
    flags = [
        f"--{name.replace('_', '-')} {' '.join(map(str, value)) if isinstance(value, tuple) else value}"
        for name, value in vars(config).items()
        if name not in {"dataset", "out", "resume"} and value != ""
    ]
    return " ".join(["finevla train", config.dataset.name, "--out", config.out.name, *flags])


def _report_text(config: Config, report: TrainReport) -> str:
    final = report.final
    r2 = "not measured (no validation episodes)" if final.r2 is None else f"{final.r2:.3f}"
    return "\n".join(
        [
            f"trained     {config.out}",
            f"data        {report.episodes} episodes, {report.frames} frames, {report.dataset_hash[:12]}",
            f"policy      {report.parameters} parameters; words: {', '.join(report.words)}",
            f"last loss   {final.loss:.4f} at step {final.step}",
            f"binding R2  {r2}",
            f"next        finevla export {config.out} --out BUNDLE",
        ]
    )
