"""One update, on one process or many: accelerate places the network, this splits the batch.

Every process draws its own rows of the batch of a step, out of the same random stream. Each slice
counts by its share of the valid targets, so that the sum over slices is the loss of the whole batch:
how many processes and parts there are changes the order of float additions only. What a head draws
itself (noise, dropout) is drawn per slice, from seed, step and number of the slice: there, processes
times parts is what must stay the same.
"""

from __future__ import annotations

import importlib
import logging
import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor, nn

from finevla.errors import PolicyError, SetupError
from finevla.policy.grounding import Grounding
from finevla.policy.inputs import Inputs
from finevla.policy.model import PolicyNetwork
from finevla.stages.train.batches import Batch
from finevla.stages.train.checkpoint import Snapshot, restore_snapshot, take_snapshot
from finevla.stages.train.ema import Ema
from finevla.stages.train.optim import make_optimizer, set_rates
from finevla.stages.train.schedule import Schedule

if TYPE_CHECKING:
    from accelerate import Accelerator  # type: ignore[import-untyped]

Precision = Literal["no", "bf16"]
Device = Literal["auto", "cpu"]
log = logging.getLogger(__name__)
_PATIENCE = timedelta(hours=6)
"""How long processes wait for the first one, which also evaluates in the simulator."""
_NOISE, _DROPOUT = 4, 5
"""Names of random streams; 1 to 3 are the split, the batches and the language."""


def make_accelerator(precision: Precision = "no", device: Device = "auto") -> Accelerator:
    """What places network and batches: this machine's CPU or GPU, or what `accelerate launch` set up.

    Raises:
        SetupError: accelerate is not installed.
        PolicyError: The launch configuration is one that the trainer cannot checkpoint exactly.
    """
    try:
        accelerate = importlib.import_module("accelerate")
        kinds = importlib.import_module("accelerate.utils").DistributedType
    except ImportError as err:
        raise SetupError(
            "accelerate is not installed",
            expected="the packages of requirements/learn.txt",
            found=err,
            remedy="run `make setup`, or `pip install accelerate`",
        ) from err
    waiting = accelerate.InitProcessGroupKwargs(timeout=_PATIENCE)
    on_cpu = device == "cpu" or not torch.accelerator.is_available()  # else ranks of a CPU miss each other
    try:
        accelerator: Accelerator = accelerate.Accelerator(
            cpu=on_cpu, mixed_precision=precision, kwargs_handlers=[waiting]
        )
    except ValueError as err:  # a process has one state of accelerate, and a GPU may lack a format
        raise PolicyError(
            "accelerate cannot compute like this here",
            where="--precision, --device",
            expected="one precision and device per process, which the device has",
            found=err,
            remedy="leave --precision out, or train in a process of its own",
        ) from err
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if accelerator.num_processes != started:
        raise PolicyError(
            "the processes of this run do not find each other",
            where="WORLD_SIZE",
            expected=f"{started} processes",
            found=accelerator.num_processes,
            remedy="start them with `accelerate launch --multi_gpu` or `torchrun`",
        )
    usable = {kinds.NO, kinds.MULTI_CPU, kinds.MULTI_GPU, kinds.FSDP}
    if accelerator.distributed_type not in usable:
        raise PolicyError(
            "the trainer does not know how to save this kind of distributed run",
            where="accelerate launch",
            expected=sorted(kind.value for kind in usable),
            found=accelerator.distributed_type.value,
            remedy="launch with --multi_gpu or --use_fsdp",
        )
    if precision == "bf16" and accelerator.device.type == "cpu":
        warn_of_slow_bfloat16(torch.backends.cpu.get_cpu_capability())
    return accelerator


def warn_of_slow_bfloat16(capability: str) -> None:
    """Says so where a processor computes bfloat16 without instructions for it.

    Args:
        capability: As `torch.backends.cpu.get_cpu_capability` gives it.
    """
    if capability in {"AVX2", "DEFAULT", "NO AVX"}:
        log.warning(
            "this processor (%s) has no instructions for bfloat16: training will take many times as long "
            "as in float32; leave --precision out",
            capability,
        )


def check_placement(schedule: Schedule, *, sharded: bool, slices: int) -> None:
    """Refuses what cannot be trained where the network is placed.

    Args:
        schedule: How to train.
        sharded: Whether each process holds a part of every weight (FSDP).
        slices: Parts that a batch is divided into: processes times accumulation.

    Raises:
        PolicyError: The batch cannot be divided, or sharded weights are to be averaged or trained by Muon.
    """
    misfits: tuple[tuple[str, str, object, object], ...] = (
        ("averaged weights cannot be kept of sharded ones", "--ema", 0.0, schedule.ema),
        (
            "Muon needs whole matrices, and sharded weights are none",
            "--optimizer",
            "adamw",
            schedule.optimizer,
        ),
    )
    for what, flag, usable, found in misfits:
        if sharded and found != usable:
            raise PolicyError(
                what,
                where=flag,
                expected=f"{usable} with FSDP",
                found=found,
                remedy=f"leave {flag} out, or launch without FSDP",
            )
    if schedule.batch_size % slices:
        raise PolicyError(
            "the batch cannot be divided into equal parts",
            where="--batch-size",
            expected=f"a multiple of processes x --accumulate = {slices}",
            found=schedule.batch_size,
            remedy="give another batch size, or another number of processes or parts",
        )


class LossModule(nn.Module):
    """The loss as `forward`: the only call through which accelerate sees a network."""

    def __init__(self, network: PolicyNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(
        self,
        inputs: Inputs,
        target: Tensor,
        valid: Tensor,
        generator: torch.Generator,
        grounding: Grounding | None,
    ) -> Tensor:
        """Training loss, a scalar."""
        return self.network.loss(inputs, target, valid, generator, grounding)


@dataclass(frozen=True, slots=True)
class Update:
    """What an update was: the loss of the whole batch before it, and the norm of its gradient."""

    loss: float
    gradient_norm: float


class Engine:
    """Network and optimizer, placed; makes updates."""

    def __init__(self, network: PolicyNetwork, schedule: Schedule, accelerator: Accelerator) -> None:
        """Places network and optimizer.

        Raises:
            PolicyError: The batch cannot be divided into slices, or sharded weights are to be averaged
                or trained by Muon.
        """
        self.accelerator, self._schedule = accelerator, schedule
        self.slices = accelerator.num_processes * schedule.accumulate
        check_placement(schedule, sharded=self._sharded, slices=self.slices)
        module = LossModule(network)
        optimizer = make_optimizer(network, schedule)
        self.module, self.optimizer = accelerator.prepare(module, optimizer)

    @property
    def network(self) -> PolicyNetwork:
        """The network itself, without what accelerate put around it."""
        unwrapped: LossModule = self.accelerator.unwrap_model(self.module)
        return unwrapped.network

    @property
    def main(self) -> bool:
        """Whether this process writes files and shows progress."""
        return bool(self.accelerator.is_main_process)

    def update(self, batch: Batch, step: int) -> Update:
        """Makes update `step`, from 0, on this process's part of its batch.

        Raises:
            PolicyError: The loss is no longer finite; the network is left as it was.
        """
        set_rates(self.optimizer, self._schedule, step)
        self.module.train()
        self.optimizer.zero_grad()
        total = self._descend(batch, step)
        if not np.isfinite(total):
            raise PolicyError(
                "the training loss is not finite any more",
                where=f"step {step}",
                found=total,
                remedy="resume from the last checkpoint with a lower --lr",
            )
        norm = self.accelerator.clip_grad_norm_(self.module.parameters(), self._schedule.clip)
        self.optimizer.step()
        return Update(total, float(norm))

    def snapshot(self, ema: Ema | None, step: int, losses: tuple[float, ...]) -> Snapshot:
        """What a checkpoint after `step` updates holds; every process must call it."""
        if self._sharded:
            from finevla.stages.train.sharded import gathered_snapshot  # seconds to import

            return gathered_snapshot(self.module, self.optimizer.optimizer, step, losses)
        return take_snapshot(self.network, self.optimizer, ema, step, losses)

    def restore(self, snapshot: Snapshot, ema: Ema | None) -> None:
        """Goes on from a checkpoint; every process must call it.

        Raises:
            PolicyError: It is of another model.
        """
        if not self._sharded:
            restore_snapshot(snapshot, self.network, self.optimizer, ema)
            return
        from finevla.stages.train.sharded import scatter_snapshot

        scatter_snapshot(snapshot, self.module, self.optimizer.optimizer)

    @property
    def _sharded(self) -> bool:
        return str(self.accelerator.distributed_type.value) == "FSDP"

    def _descend(self, batch: Batch, step: int) -> float:
        """Adds up the gradients of this process's slices; returns the loss of the whole batch."""
        accelerator, parts = self.accelerator, self._schedule.accumulate
        size = len(batch.target) // parts
        valid, total = self._valid(batch), torch.zeros((), device=accelerator.device)
        for part in range(parts):
            rows = slice(part * size, (part + 1) * size)
            with self._synchronized(part == parts - 1):
                loss = self._loss(batch, rows, step, accelerator.process_index * parts + part)
                if self.slices > 1:
                    loss = loss * (batch.valid[rows].sum().to(valid) / valid)
                # Gradients are averaged over processes, but slices already count by their share.
                accelerator.backward(loss * accelerator.num_processes if self._many else loss)
            total += loss.detach()
        return float(accelerator.reduce(total, reduction="sum") if self._many else total)

    @property
    def _many(self) -> bool:
        return bool(self.accelerator.num_processes > 1)

    def _valid(self, batch: Batch) -> Tensor:
        """Valid targets of the whole batch."""
        count: Tensor = batch.valid.sum().to(self.accelerator.device, torch.float32)
        return self.accelerator.reduce(count, reduction="sum") if self._many else count

    def _synchronized(self, yes: bool) -> AbstractContextManager[object]:
        """Gradients are exchanged once per update, with the last slice."""
        context: AbstractContextManager[object] = (
            nullcontext() if yes or self.slices == 1 else self.accelerator.no_sync(self.module)
        )
        return context

    def _loss(self, batch: Batch, rows: slice, step: int, number: int) -> Tensor:
        """Loss of a slice; `number` counts the slices of all processes."""
        device, seed = self.accelerator.device, self._schedule.seed
        noise = torch.Generator().manual_seed(_seed(seed, _NOISE, step, number))
        torch.manual_seed(_seed(seed, _DROPOUT, step, number))
        inputs = Inputs(*(part[rows] for part in batch.inputs)).to(device)
        target, valid = batch.target[rows].to(device), batch.valid[rows].to(device)
        weight = self._schedule.grounding
        place = None if batch.place is None else batch.place[rows].to(device)
        grounding = None if place is None or not weight else Grounding(place, weight)
        loss: Tensor = self.module(inputs, target, valid, noise, grounding)
        return loss.float()


def _seed(seed: int, stream: int, step: int, number: int) -> int:
    """One number out of four; `torch.manual_seed` takes no more."""
    state = np.random.SeedSequence([seed, stream, step, number]).generate_state(1, np.uint64)
    return int(state[0]) >> 1
