"""The optimizer of a run, with a learning rate per part of the network."""

from __future__ import annotations

import itertools

import torch
from torch import nn

from finevla.stages.train.muon import MUON_RATE, Muon, Together
from finevla.stages.train.schedule import MODULES, Module, Schedule

BETAS = (0.9, 0.95)
_VLM, _HEAD = "backbone.model.", "head."
_LAST = "head.out"


def module_of(name: str) -> Module:
    """The part of the network that a parameter belongs to, by its name in `PolicyNetwork`."""
    if name.startswith(_VLM):
        return "vlm"
    return "head" if name.startswith(_HEAD) else "base"


def _matrices(network: nn.Module) -> set[str]:
    """Weights of the linear layers that Muon trains: not the pretrained model's, not the last layer."""
    return {
        f"{name}.weight"
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear) and module_of(name) != "vlm" and name != _LAST
    }


def make_optimizer(network: nn.Module, schedule: Schedule) -> torch.optim.Optimizer:
    """The optimizer of a run; `set_rates` gives it its rates before each update.

    Each group carries `module`, the part of the network that it holds, and the `names` of its
    parameters, and `muon`. Parts without trainable parameters have no group.
    """
    trained = [(name, value) for name, value in network.named_parameters() if value.requires_grad]
    matrices = _matrices(network) if schedule.optimizer == "muon" else set()
    groups = []
    for module, muon in itertools.product(MODULES, (False, True)):
        held = {k: v for k, v in trained if module_of(k) == module and (k in matrices) == muon}
        if held:
            groups.append({"params": [*held.values()], "names": [*held], "module": module, "muon": muon})
    # One kernel over all tensors: a loop over them costs a tenth of a small network's update.
    fused = all(value.is_floating_point() for _, value in trained)
    adamw = torch.optim.AdamW(
        [group for group in groups if not group["muon"]],
        lr=schedule.learning_rate,
        betas=BETAS,
        eps=1e-8,
        weight_decay=schedule.weight_decay,
        fused=fused,
    )
    if not matrices:
        return adamw
    turned = Muon(
        [group for group in groups if group["muon"]],
        lr=MUON_RATE * schedule.learning_rate,
        weight_decay=schedule.weight_decay,
    )
    return Together((adamw, turned))


def set_rates(optimizer: torch.optim.Optimizer, schedule: Schedule, step: int) -> None:
    """Sets the learning rates of update `step`, from 0."""
    for group in optimizer.param_groups:
        group["lr"] = schedule.rate(step, group["module"]) * (MUON_RATE if group["muon"] else 1.0)


def names_of(optimizer: torch.optim.Optimizer) -> dict[torch.Tensor, str]:
    """The name of each parameter of an optimizer of `make_optimizer`, in its order."""
    return {
        parameter: name
        for group in optimizer.param_groups
        for parameter, name in zip(group["params"], group["names"], strict=True)
    }
