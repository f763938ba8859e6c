"""AdamW with a learning rate per part of the network."""

from __future__ import annotations

import torch
from torch import nn

from finevla.stages.train.schedule import MODULES, Module, Schedule

BETAS = (0.9, 0.95)
_VLM, _HEAD = "backbone.model.", "head."


def module_of(name: str) -> Module:
    """The part of the network that a parameter belongs to, by its name in `PolicyNetwork`."""
    if name.startswith(_VLM):
        return "vlm"
    return "head" if name.startswith(_HEAD) else "base"


def make_optimizer(network: nn.Module, schedule: Schedule) -> torch.optim.AdamW:
    """The optimizer of a run; `set_rates` gives it its rates before each update.

    Each group carries `module`, the part of the network that it holds, and the `names` of its
    parameters. Parts without trainable parameters have no group.
    """
    trained = [(name, value) for name, value in network.named_parameters() if value.requires_grad]
    groups = [
        {
            "params": [value for name, value in trained if module_of(name) == module],
            "names": [name for name, _ in trained if module_of(name) == module],
            "module": module,
        }
        for module in MODULES
    ]
    # One kernel over all tensors: a loop over them costs a tenth of a small network's update.
    fused = all(value.is_floating_point() for _, value in trained)
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=schedule.learning_rate,
        betas=BETAS,
        eps=1e-8,
        weight_decay=schedule.weight_decay,
        fused=fused,
    )


def set_rates(optimizer: torch.optim.Optimizer, schedule: Schedule, step: int) -> None:
    """Sets the learning rates of update `step`, from 0."""
    for group in optimizer.param_groups:
        group["lr"] = schedule.rate(step, group["module"])


def names_of(optimizer: torch.optim.Optimizer) -> dict[torch.Tensor, str]:
    """The name of each parameter of an optimizer of `make_optimizer`, in its order."""
    return {
        parameter: name
        for group in optimizer.param_groups
        for parameter, name in zip(group["params"], group["names"], strict=True)
    }
