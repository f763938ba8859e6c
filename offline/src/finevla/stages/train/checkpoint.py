"""Checkpoints of a training run: weights and optimizer as safetensors, the rest as JSON.

A checkpoint is a directory `checkpoints/step_NNNNNN`, written under another name and renamed, so
that what exists is complete. The newest two stay.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from finevla.contract.bundle_weights import read_tensors
from finevla.errors import BundleError, PolicyError
from finevla.stages.train.ema import Ema
from finevla.stages.train.optim import names_of

_WEIGHTS, _OPTIMIZER, _EMA, _STATE = (
    "weights.safetensors",
    "optimizer.safetensors",
    "ema.safetensors",
    "state.json",
)
_KEPT = 2


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a checkpoint holds, on the CPU.

    Args:
        step: Updates made.
        weights: The state dictionary of the network.
        optimizer: `parameter/field` to tensor.
        average: Averaged weights, with the untrained rest; None where none are kept.
        losses: Of the updates since the last measurement before `step`.
    """

    step: int
    weights: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    average: Mapping[str, Tensor] | None
    losses: tuple[float, ...] = ()


def take_snapshot(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    ema: Ema | None,
    step: int,
    losses: tuple[float, ...] = (),
) -> Snapshot:
    """Everything that continuing at `step` needs; tensors may still be those in use."""
    weights = network.state_dict()
    average = None if ema is None else {**weights, **ema.average}
    state = {
        f"{name}/{field}": value
        for parameter, name in names_of(optimizer).items()
        for field, value in optimizer.state[parameter].items()
    }
    return Snapshot(step, weights, state, average, losses)


def save_checkpoint(out: Path, snapshot: Snapshot) -> Path:
    """Writes a checkpoint, whole or not at all; returns its directory."""
    folder, step = out / "checkpoints", snapshot.step
    final, partial = folder / f"step_{step:06d}", folder / f".step_{step:06d}.partial"
    for stale in (final, partial):
        shutil.rmtree(stale, ignore_errors=True)
    partial.mkdir(parents=True)
    save_file(_plain(snapshot.weights), partial / _WEIGHTS)
    save_file(_plain(snapshot.optimizer), partial / _OPTIMIZER)
    if snapshot.average is not None:
        save_file(_plain(snapshot.average), partial / _EMA)
    (partial / _STATE).write_text(json.dumps({"step": step, "losses": snapshot.losses}))
    partial.rename(final)
    for old in sorted(folder.glob("step_*"), key=_step)[:-_KEPT]:
        shutil.rmtree(old)
    return final


def newest_checkpoint(out: Path) -> Path:
    """The checkpoint with the highest step.

    Raises:
        PolicyError: There is none.
    """
    found = sorted((out / "checkpoints").glob("step_*"), key=_step)
    if not found:
        raise PolicyError(
            "there is no checkpoint",
            where=out,
            expected="checkpoints/step_*",
            remedy="give the directory that `finevla train` wrote",
        )
    return found[-1]


def checkpoint_weights(checkpoint: Path, *, averaged: bool = True) -> dict[str, NDArray[Any]]:
    """Weights by name: the averaged ones where the checkpoint holds them and they are wanted.

    bfloat16 comes as bit patterns in uint16, as everywhere outside of torch.

    Raises:
        PolicyError: The file is missing or damaged.
    """
    file = checkpoint / (_EMA if averaged and (checkpoint / _EMA).is_file() else _WEIGHTS)
    try:
        return dict(read_tensors([file]).arrays)
    except BundleError as err:
        raise _unreadable(file, err) from err


def read_snapshot(checkpoint: Path) -> Snapshot:
    """Reads a checkpoint back.

    Raises:
        PolicyError: A file is missing or damaged.
    """
    try:
        state = json.loads((checkpoint / _STATE).read_text())
        step, losses = int(state["step"]), tuple(map(float, state["losses"]))
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise _unreadable(checkpoint / _STATE, err) from err
    average = _read(checkpoint / _EMA) if (checkpoint / _EMA).is_file() else None
    weights, optimizer = (_read(checkpoint / name) for name in (_WEIGHTS, _OPTIMIZER))
    return Snapshot(step, weights, optimizer, average, losses)


def restore_snapshot(
    snapshot: Snapshot, network: nn.Module, optimizer: torch.optim.Optimizer, ema: Ema | None
) -> None:
    """Takes a snapshot over in place.

    Raises:
        PolicyError: It is of another model, or kept no averaged weights although they are wanted.
    """
    try:
        network.load_state_dict(dict(snapshot.weights))
        names = list(names_of(optimizer).values())
        state: dict[int, dict[str, Tensor]] = {number: {} for number in range(len(names))}
        numbers = {name: number for number, name in enumerate(names)}
        for key, value in snapshot.optimizer.items():
            name, field = key.rsplit("/", 1)
            state[numbers[name]][field] = value
        document = optimizer.state_dict()
        optimizer.load_state_dict({"state": state, "param_groups": document["param_groups"]})
        if ema is not None:
            ema.restore(snapshot.average or {})
    except (KeyError, RuntimeError, ValueError) as err:
        raise foreign_checkpoint(snapshot, err) from err


def foreign_checkpoint(snapshot: Snapshot, err: Exception) -> PolicyError:
    """The error of a checkpoint that does not fit the model."""
    return PolicyError(
        "the checkpoint does not belong to this model",
        where=f"step {snapshot.step}",
        found=err,
        remedy="resume with the dataset and flags of the first run, or start anew",
    )


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("step_"))


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each tensor on the CPU with memory of its own, as the file format wants it."""
    return {name: value.detach().to("cpu").clone().contiguous() for name, value in tensors.items()}


def _read(path: Path) -> dict[str, Tensor]:
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError) as err:
        raise _unreadable(path, err) from err
    return tensors


def _unreadable(path: Path, err: Exception) -> PolicyError:
    return PolicyError("a checkpoint cannot be read", where=path, found=err, remedy="use another checkpoint")
