"""The training loop: a fixed number of updates, the same for the same seed and thread count.

Length is counted in updates, never in minutes: binding appears suddenly after some hundred of
them, and a run that is cut by the clock on a busy machine looks like a policy deaf to language.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from finevla.errors import PolicyError
from finevla.policy.model import PolicyNetwork
from finevla.stages.train.batches import BatchSource
from finevla.stages.train.checkpoint import newest_checkpoint, restore_checkpoint, save_checkpoint
from finevla.stages.train.probe import Probe

METRICS_FILE = "metrics.jsonl"


def require(settings: Mapping[str, int], least: int) -> None:
    """Checks that no setting, named by its flag, is too small.

    Raises:
        PolicyError: One of them is; the message names it.
    """
    for flag, value in settings.items():
        if value < least:
            raise PolicyError(
                "a setting of the training is too small",
                where=flag,
                expected=f"at least {least}",
                found=value,
                remedy="leave the flag out for its default, or give a larger number",
            )


@dataclass(frozen=True, slots=True)
class Schedule:
    """Lengths and rates of a run, in updates."""

    steps: int
    batch_size: int
    learning_rate: float
    warmup: int
    seed: int
    probe_every: int
    save_every: int

    def __post_init__(self) -> None:
        """Refuses a run that cannot make a single update.

        Raises:
            PolicyError: A number is too small; the message names its flag.
        """
        counts = {
            "--steps": self.steps,
            "--batch-size": self.batch_size,
            "--probe-every": self.probe_every,
            "--save-every": self.save_every,
        }
        require(counts, 1)
        require({"--warmup": self.warmup, "--seed": self.seed}, 0)
        if not 0.0 < self.learning_rate < math.inf:
            raise PolicyError(
                "the learning rate must be a positive number",
                where="--lr",
                found=self.learning_rate,
                remedy="give a number such as 1e-3",
            )

    def rate(self, step: int) -> float:
        """Learning rate of an update: a linear rise, then a cosine to zero at `steps`."""
        rise = min(1.0, (step + 1) / max(1, min(self.warmup, self.steps // 4)))
        return self.learning_rate * rise * 0.5 * (1.0 + math.cos(math.pi * step / self.steps))


@dataclass(frozen=True, slots=True)
class Measurement:
    """One line of metrics.jsonl. `loss` is the mean since the last line."""

    step: int
    loss: float
    learning_rate: float
    validation_loss: float | None
    r2: float | None


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
    ) -> None:
        """Sets up the optimizer; nothing is written yet."""
        self._network, self._source, self._frames = network, source, frames
        self._probe, self._schedule, self._out = probe, schedule, out
        self._optimizer = torch.optim.AdamW(
            network.parameters(), lr=0.0, betas=(0.9, 0.95), weight_decay=1e-4
        )

    def run(self, resume: bool, on_step: OnStep, on_measurement: OnMeasurement) -> Measurement:
        """Trains to the last step and returns its measurement.

        Raises:
            PolicyError: The loss is no longer finite, or there is nothing to resume.
        """
        first = self._resume() if resume else 0
        losses: list[float] = []
        schedule = self._schedule
        for step in range(first, schedule.steps):
            losses.append(self._update(step))
            on_step(step + 1, losses[-1])
            done = step + 1
            last = done == schedule.steps
            if last or done % schedule.save_every == 0:
                save_checkpoint(self._out, self._network, self._optimizer, done)
            if last or done % schedule.probe_every == 0:
                on_measurement(self._measure(done, losses))
                losses.clear()
        return read_metrics(self._out)[-1]

    def _update(self, step: int) -> float:
        schedule = self._schedule
        for group in self._optimizer.param_groups:
            group["lr"] = schedule.rate(step)
        batch = self._source.draw(self._frames, schedule.batch_size, schedule.seed, step)
        self._network.train()
        loss = self._network.loss(batch.inputs, batch.target, batch.valid)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise PolicyError(
                "the training loss is not finite any more",
                where=f"step {step}",
                found=value,
                remedy="resume from the last checkpoint with a lower --lr",
            )
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no type here
        torch.nn.utils.clip_grad_norm_(self._network.parameters(), 1.0)
        self._optimizer.step()
        return value

    def _measure(self, step: int, losses: list[float]) -> Measurement:
        self._network.eval()
        measured = self._probe.measure(self._network)
        line = Measurement(
            step=step,
            loss=float(np.mean(losses)),
            learning_rate=self._schedule.rate(step),
            validation_loss=measured["validation_loss"],
            r2=measured["r2"],
        )
        with (self._out / METRICS_FILE).open("a") as file:
            file.write(json.dumps({name: getattr(line, name) for name in line.__slots__}) + "\n")
        return line

    def _resume(self) -> int:
        """Restores the newest checkpoint and drops the metrics that came after it."""
        step = restore_checkpoint(newest_checkpoint(self._out), self._network, self._optimizer)
        kept = [line for line in read_metrics(self._out) if line.step <= step]
        text = "".join(json.dumps({n: getattr(m, n) for n in m.__slots__}) + "\n" for m in kept)
        (self._out / METRICS_FILE).write_text(text)
        return step


def read_metrics(out: Path) -> list[Measurement]:
    """All measurements of a run so far, in order."""
    path = out / METRICS_FILE
    if not path.is_file():
        return []
    return [Measurement(**json.loads(line)) for line in path.read_text().splitlines()]
