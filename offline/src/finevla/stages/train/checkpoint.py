"""Checkpoints of a training run: weights and optimizer as safetensors, the rest as JSON.

A checkpoint is a directory `checkpoints/step_NNNNNN`, written under another name and renamed, so
that what exists is complete. The newest two stay.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from finevla.errors import PolicyError
from finevla.policy.model import PolicyNetwork, network_weights

_WEIGHTS, _OPTIMIZER, _STATE = "weights.safetensors", "optimizer.safetensors", "state.json"
_KEPT = 2


def save_checkpoint(out: Path, network: PolicyNetwork, optimizer: torch.optim.Optimizer, step: int) -> Path:
    """Saves everything that continuing at `step` needs; returns the directory."""
    folder = out / "checkpoints"
    final, partial = folder / f"step_{step:06d}", folder / f".step_{step:06d}.partial"
    for stale in (final, partial):
        shutil.rmtree(stale, ignore_errors=True)
    partial.mkdir(parents=True)
    save_file(network_weights(network), partial / _WEIGHTS)
    save_file(_optimizer_arrays(network, optimizer), partial / _OPTIMIZER)
    (partial / _STATE).write_text(json.dumps({"step": step}))
    partial.rename(final)
    for old in sorted(folder.glob("step_*"))[:-_KEPT]:
        shutil.rmtree(old)
    return final


def newest_checkpoint(out: Path) -> Path:
    """The checkpoint with the highest step.

    Raises:
        PolicyError: There is none.
    """
    found = sorted((out / "checkpoints").glob("step_*"))
    if not found:
        raise PolicyError(
            "there is no checkpoint",
            where=out,
            expected="checkpoints/step_*",
            remedy="give the directory that `finevla train` wrote",
        )
    return found[-1]


def checkpoint_weights(checkpoint: Path) -> dict[str, NDArray[Any]]:
    """Weights by name.

    Raises:
        PolicyError: The file is missing or damaged.
    """
    return _load(checkpoint / _WEIGHTS)


def restore_checkpoint(checkpoint: Path, network: PolicyNetwork, optimizer: torch.optim.Optimizer) -> int:
    """Loads weights and optimizer in place; returns the step to continue with.

    Raises:
        PolicyError: A file is missing, damaged or of another model.
    """
    arrays = _load(checkpoint / _OPTIMIZER)
    parameters = dict(network.named_parameters())
    try:
        weights = {n: torch.from_numpy(a.copy()) for n, a in checkpoint_weights(checkpoint).items()}
        network.load_state_dict(weights)
        for name, parameter in parameters.items():
            state: dict[str, torch.Tensor] = optimizer.state[parameter]
            for field in ("step", "exp_avg", "exp_avg_sq"):
                state[field] = torch.from_numpy(np.array(arrays[f"{name}/{field}"]))
        return int(json.loads((checkpoint / _STATE).read_text())["step"])
    except (KeyError, RuntimeError, OSError, ValueError) as err:
        raise PolicyError(
            "the checkpoint does not belong to this model",
            where=checkpoint,
            found=err,
            remedy="resume with the dataset and flags of the first run, or start anew",
        ) from err


def _optimizer_arrays(network: PolicyNetwork, optimizer: torch.optim.Optimizer) -> dict[str, NDArray[Any]]:
    return {
        f"{name}/{field}": np.ascontiguousarray(value.numpy())
        for name, parameter in network.named_parameters()
        for field, value in optimizer.state[parameter].items()
    }


def _load(path: Path) -> dict[str, NDArray[Any]]:
    try:
        arrays: dict[str, NDArray[Any]] = load_file(path)
    except (OSError, SafetensorError) as err:
        raise PolicyError(
            "a checkpoint cannot be read", where=path, found=err, remedy="use another checkpoint"
        ) from err
    return arrays
