"""Checkpoints of sharded weights: the same files as those of a plain run, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from finevla.errors import PolicyError
from finevla.stages.train.checkpoint import read_snapshot, save_checkpoint, take_snapshot
from finevla.stages.train.engine import LossModule
from finevla.stages.train.optim import make_optimizer, set_rates
from finevla.stages.train.schedule import Schedule
from finevla.stages.train.sharded import gathered_snapshot, scatter_snapshot


@pytest.fixture
def one_rank(tmp_path: Path) -> Iterator[None]:
    """A process group of this process alone."""
    dist.init_process_group("gloo", store=dist.FileStore(str(tmp_path / "store"), 1), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def run(toy, schedule: Schedule, *, sharded: bool, steps: range, snapshot=None):
    module = LossModule(toy.network())
    if sharded:
        fully_shard(module, mesh=init_device_mesh("cpu", (1,)))
    optimizer = make_optimizer(module.network, schedule)
    if snapshot is not None:
        scatter_snapshot(snapshot, module, optimizer)
    for step in steps:
        set_rates(optimizer, schedule, step)
        batch = toy.source.draw(toy.frames, 4, 0, step)
        optimizer.zero_grad()
        module(batch.inputs, batch.target, batch.valid, torch.Generator().manual_seed(step), None).backward()
        optimizer.step()
    return module, optimizer


@pytest.mark.usefixtures("one_rank")
def test_sharded_weights_are_saved_whole_and_gone_on_with(
    toy, schedule: Callable[..., Schedule], tmp_path: Path
) -> None:
    rates = schedule()
    module, optimizer = run(toy, rates, sharded=False, steps=range(3))
    plain = take_snapshot(module.network, optimizer, None, 3, (1.0,))
    found = gathered_snapshot(*run(toy, rates, sharded=True, steps=range(3)), 3, (1.0,))
    for part in ("weights", "optimizer"):
        one, other = getattr(plain, part), getattr(found, part)
        assert set(one) == set(other)
        assert all(torch.allclose(one[name], other[name], atol=1e-5) for name in one), part
    read = read_snapshot(save_checkpoint(tmp_path, found))
    whole = gathered_snapshot(*run(toy, rates, sharded=True, steps=range(5)), 5, ())
    resumed = gathered_snapshot(*run(toy, rates, sharded=True, steps=range(3, 5), snapshot=read), 5, ())
    assert all(value.equal(resumed.weights[name]) for name, value in whole.weights.items())
    assert all(value.equal(resumed.optimizer[name]) for name, value in whole.optimizer.items())


@pytest.mark.usefixtures("one_rank")
def test_a_snapshot_of_another_model_is_refused(toy, schedule: Callable[..., Schedule]) -> None:
    other = toy.network("flow")
    optimizer = make_optimizer(other, schedule())
    with pytest.raises(PolicyError, match="does not belong"):
        run(
            toy,
            schedule(),
            sharded=True,
            steps=range(0),
            snapshot=take_snapshot(other, optimizer, None, 1),
        )
