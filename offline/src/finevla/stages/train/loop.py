"""The training loop: a fixed number of updates, the same for the same seed and thread count.

Length is counted in updates, never in minutes: binding appears suddenly after some hundred of
them, and a run that is cut by the clock on a busy machine looks like a policy deaf to language.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from finevla.errors import PolicyError
from finevla.policy.model import PolicyNetwork
from finevla.stages.train.batches import Batch, BatchSource
from finevla.stages.train.board import Board, NoBoard
from finevla.stages.train.checkpoint import newest_checkpoint, read_snapshot, save_checkpoint
from finevla.stages.train.ema import Ema
from finevla.stages.train.engine import Engine, Update, make_accelerator
from finevla.stages.train.metrics import (
    METRICS_FILE,
    Measurement,
    append_metrics,
    read_metrics,
    write_metrics,
)
from finevla.stages.train.prefetch import Prefetch
from finevla.stages.train.probe import Probe
from finevla.stages.train.schedule import Schedule
from finevla.stages.train.sim_eval import Simulation

if TYPE_CHECKING:
    from accelerate import Accelerator  # type: ignore[import-untyped]

__all__ = ["METRICS_FILE", "Measurement", "Schedule", "Trainer", "read_metrics"]

BOARD_EVERY = 10
"""Updates between two points of the training curves."""

OnStep = Callable[[int, float], None]
OnMeasurement = Callable[[Measurement], None]


class Trainer:
    """Descends on a network and leaves checkpoints and metrics in `out`."""

    def __init__(
        self,
        network: PolicyNetwork,
        source: BatchSource,
        frames: NDArray[np.int64],
        probe: Probe,
        schedule: Schedule,
        out: Path,
        *,
        accelerator: Accelerator | None = None,
        open_board: Callable[[int], Board] = lambda _: NoBoard(),
        simulation: Simulation | None = None,
        prefetch: int = 0,
    ) -> None:
        """Places network and optimizer; nothing is written yet.

        Args:
            network: Fresh or pretrained.
            source: Makes the batches.
            frames: That batches are drawn from.
            probe: Measures on the way.
            schedule: How long, how fast.
            out: Directory of the run; it exists.
            accelerator: Where to compute; one process on this machine when None.
            open_board: Given the updates behind it, opens where curves go; called in one process only.
            simulation: Evaluations on the way; none when None.
            prefetch: Batches that a thread prepares ahead; 0 prepares each when it is needed.

        Raises:
            PolicyError: The batch is smaller than the number of its parts.
        """
        self._source, self._frames = source, frames
        self._probe, self._schedule, self._out = probe, schedule, out
        self._open_board, self._prefetch = open_board, prefetch
        self._simulation = simulation or Simulation()
        self._engine = Engine(network, schedule, accelerator or make_accelerator())
        self._ema = Ema(self._engine.network, schedule.ema) if schedule.ema else None

    def run(self, resume: bool, on_step: OnStep, on_measurement: OnMeasurement) -> Measurement:
        """Trains to the last step and returns its measurement.

        Raises:
            PolicyError: The loss is no longer finite, or there is nothing to resume.
        """
        first, losses = self._resume() if resume else (0, [])
        final: Measurement | None = None
        board_of_run = self._open_board(first) if self._engine.main else NoBoard()
        with closing(board_of_run) as board, closing(self._batches(first)) as batches:
            if losses and self._pausing(first):  # interrupted between the checkpoint and its measurement
                final = self._line(first, losses, board)
                on_measurement(final)
            for done, batch in enumerate(batches, first + 1):
                update = self._engine.update(batch, done - 1)
                if self._ema is not None:
                    self._ema.update(done)
                losses.append(update.loss)
                on_step(done, update.loss)
                if done % BOARD_EVERY == 0:
                    board.add(self._figures(update), done)
                if self._saving(done):
                    self._save(done, losses)
                if self._pausing(done):
                    final = self._line(done, losses, board)
                    on_measurement(final)
        return final or read_metrics(self._out)[-1]

    def _draw(self, step: int) -> Batch:
        """This process's part of the batch of a step."""
        schedule, placed = self._schedule, self._engine.accelerator
        rank, world = placed.process_index, placed.num_processes
        return self._source.draw(self._frames, schedule.batch_size, schedule.seed, step, rank, world)

    def _batches(self, first: int) -> Generator[Batch]:
        """The batches of the updates from `first` on, in order."""
        last = self._schedule.steps
        if self._prefetch == 0:
            yield from map(self._draw, range(first, last))
            return
        with Prefetch(self._draw, first, last, self._prefetch) as ready:
            yield from ready

    def _figures(self, update: Update) -> dict[str, float]:
        groups = self._engine.optimizer.param_groups
        rates = {f"rate/{group['module']}": float(group["lr"]) for group in groups}
        return {"train/loss": update.loss, "train/gradient_norm": update.gradient_norm, **rates}

    def _simulated(self, done: int) -> bool:
        return self._simulation.due(done, done == self._schedule.steps)

    def _saving(self, done: int) -> bool:
        last = done == self._schedule.steps
        return last or done % self._schedule.save_every == 0 or self._simulated(done)

    def _pausing(self, done: int) -> bool:
        last = done == self._schedule.steps
        return last or done % self._schedule.probe_every == 0 or self._simulated(done)

    def _save(self, done: int, losses: list[float]) -> None:
        snapshot = self._engine.snapshot(self._ema, done, tuple(losses))
        if self._engine.main:
            save_checkpoint(self._out, snapshot)

    def _line(self, done: int, losses: list[float], board: Board) -> Measurement:
        """Measures, writes it down, and begins the next mean of losses."""
        line = self._measure(done, losses)
        losses.clear()
        if self._engine.main:
            append_metrics(self._out, line)
            board.add(_board_figures(line), done)
        return line

    def _measure(self, step: int, losses: list[float]) -> Measurement:
        network = self._engine.network.eval()
        with self._ema.swapped_in() if self._ema is not None else nullcontext():
            measured = self._probe.measure(network)
        sim, error = self._simulate(step) if self._simulated(step) else (None, None)
        return Measurement(
            step=step,
            loss=float(np.mean(losses)),
            learning_rate=self._schedule.rate(step),
            validation_loss=measured["validation_loss"],
            r2=measured["r2"],
            sim=sim,
            sim_error=error,
        )

    def _simulate(self, step: int) -> tuple[dict[str, float] | None, str | None]:
        """Evaluates in one process while the others wait; a failure is recorded and ends nothing."""
        try:
            return (self._simulation.run(self._out, step), None) if self._engine.main else (None, None)
        except PolicyError as err:
            return None, str(err)
        finally:
            self._engine.accelerator.wait_for_everyone()

    def _resume(self) -> tuple[int, list[float]]:
        """Restores the newest checkpoint and drops the metrics that came after it.

        Returns:
            Updates made, and their losses that no line of the metrics has taken in yet.
        """
        snapshot = read_snapshot(newest_checkpoint(self._out))
        self._engine.restore(snapshot, self._ema)
        kept = [line for line in read_metrics(self._out) if line.step <= snapshot.step]
        if self._engine.main:
            write_metrics(self._out, kept)
        measured = bool(kept) and kept[-1].step == snapshot.step
        return snapshot.step, [] if measured else list(snapshot.losses)


def _board_figures(line: Measurement) -> dict[str, float]:
    named = {"validation/loss": line.validation_loss, "probe/r2": line.r2}
    found = {name: value for name, value in named.items() if value is not None}
    return found | {f"sim/{name}": value for name, value in (line.sim or {}).items()}
