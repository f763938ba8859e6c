"""Checkpoints of a run whose weights are spread over processes (FSDP): gathered whole, then as usual.

A checkpoint of a sharded run and one of a plain run are the same files, so `finevla export` and
`--init` do not know the difference.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_state_dict,
    set_state_dict,
)

from finevla.stages.train.checkpoint import Snapshot, foreign_checkpoint

_PREFIX = "network."
"""Of names inside of `engine.LossModule`."""


def gathered_snapshot(
    module: nn.Module, optimizer: torch.optim.Optimizer, step: int, losses: tuple[float, ...]
) -> Snapshot:
    """Everything that continuing at `step` needs, whole, on the CPU of the first process.

    Every process must call it; the others get empty mappings.
    """
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    weights, found = get_state_dict(module, optimizer, options=options)
    document: dict[str, Any] = dict(found)
    state = {
        f"{name.removeprefix(_PREFIX)}/{field}": torch.as_tensor(value)
        for name, fields in document.get("state", {}).items()
        for field, value in fields.items()
    }
    named: dict[str, Any] = {name.removeprefix(_PREFIX): value for name, value in weights.items()}
    return Snapshot(step, named, state, None, losses)


def scatter_snapshot(snapshot: Snapshot, module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Takes a whole snapshot over into sharded weights; every process must call it.

    Raises:
        PolicyError: It is of another model.
    """
    options = StateDictOptions(full_state_dict=True)
    state: dict[str, dict[str, Tensor]] = {}
    for key, value in snapshot.optimizer.items():
        name, field = key.rsplit("/", 1)
        state.setdefault(_PREFIX + name, {})[field] = value
    try:
        _, document = get_state_dict(module, optimizer, options=options)
        wanted: dict[str, Any] = {"state": state, "param_groups": document["param_groups"]}
        weights: dict[str, Any] = {_PREFIX + name: value for name, value in snapshot.weights.items()}
        set_state_dict(module, optimizer, model_state_dict=weights, optim_state_dict=wanted, options=options)
    except (KeyError, RuntimeError, ValueError) as err:
        raise foreign_checkpoint(snapshot, err) from err
