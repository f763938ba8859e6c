"""The loop: it learns, goes on exactly where it was interrupted, and writes down what it measured."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from finevla.errors import PolicyError
from finevla.stages.train.batches import Batch
from finevla.stages.train.checkpoint import checkpoint_weights, newest_checkpoint, read_snapshot
from finevla.stages.train.engine import Engine, make_accelerator
from finevla.stages.train.loop import Trainer
from finevla.stages.train.metrics import read_metrics
from finevla.stages.train.schedule import Schedule
from finevla.stages.train.sim_eval import Simulation

Make = Callable[..., Schedule]
QUIET = (lambda *_: None, lambda _: None)


def weights_of(out: Path, *, averaged: bool = False) -> dict[str, np.ndarray]:
    return checkpoint_weights(newest_checkpoint(out), averaged=averaged)


def equal(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> bool:
    return set(first) == set(second) and all(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("head", ["oft", "flow"])
def test_the_loss_falls_within_thirty_updates(toy, schedule: Make, tmp_path: Path, head: str) -> None:
    rates = schedule(steps=30, batch_size=16, learning_rate=5e-3, probe_every=30, save_every=30)
    trainer = toy.trainer(tmp_path / head, rates, head)
    network = trainer._engine.network

    def seen() -> float:
        """Loss on the training frames, with the same noise every time."""
        batch = toy.source.exact(toy.frames)
        with torch.inference_mode():
            return float(network.eval().loss(batch.inputs, batch.target, batch.valid))

    before = seen()
    trainer.run(False, *QUIET)
    assert seen() < 0.9 * before


class Crash(Exception):
    pass


def crash_at(step: int) -> Callable[[int, float], None]:
    def stop(done: int, _: float) -> None:
        if done == step:
            raise Crash

    return stop


@pytest.mark.parametrize("head", ["oft", "flow"])
def test_an_interrupted_run_is_the_uninterrupted_one(toy, schedule: Make, tmp_path: Path, head: str) -> None:
    rates = schedule(ema=0.9, steps=10, probe_every=3, save_every=4)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    toy.trainer(whole, rates, head, prefetch=2).run(False, *QUIET)
    with pytest.raises(Crash):
        toy.trainer(broken, rates, head).run(False, crash_at(6), lambda _: None)
    torch.manual_seed(1)  # another process has other random numbers
    toy.trainer(broken, rates, head).run(True, *QUIET)
    first, second = (read_snapshot(newest_checkpoint(out)) for out in (whole, broken))
    for part in ("weights", "optimizer", "average"):
        one, other = getattr(first, part), getattr(second, part)
        assert set(one) == set(other)
        assert all(one[name].equal(other[name]) for name in one), part
    assert (whole / "metrics.jsonl").read_text() == (broken / "metrics.jsonl").read_text()


def test_a_measurement_lost_in_a_crash_is_made_up_for(toy, schedule: Make, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    toy.trainer(whole, schedule(), prefetch=1).run(False, *QUIET)
    trainer = toy.trainer(broken, schedule())

    def fail(_: object) -> None:
        raise Crash

    trainer._probe.measure = fail
    with pytest.raises(Crash):
        trainer.run(False, *QUIET)
    assert newest_checkpoint(broken).name == "step_000004"
    toy.trainer(broken, schedule()).run(True, *QUIET)
    assert (whole / "metrics.jsonl").read_text() == (broken / "metrics.jsonl").read_text()


def test_averaged_weights_are_exported_and_the_last_ones_resumed(toy, schedule: Make, tmp_path: Path) -> None:
    toy.trainer(tmp_path, schedule(ema=0.9)).run(False, *QUIET)
    averaged, last = weights_of(tmp_path, averaged=True), weights_of(tmp_path)
    assert set(averaged) == set(last)
    assert not equal(averaged, last)
    assert not list(tmp_path.rglob("*.partial"))
    toy.trainer(tmp_path / "plain", schedule()).run(False, *QUIET)
    assert equal(weights_of(tmp_path / "plain", averaged=True), last)  # averaging changes no update


def test_prefetching_changes_nothing(toy, schedule: Make, tmp_path: Path) -> None:
    for depth in (0, 3):
        toy.trainer(tmp_path / str(depth), schedule(), prefetch=depth).run(False, *QUIET)
    assert equal(weights_of(tmp_path / "0"), weights_of(tmp_path / "3"))


def gradients(engine: Engine, batch: Batch, step: int) -> tuple[float, dict[str, torch.Tensor]]:
    engine.optimizer.zero_grad()
    loss = engine._descend(batch, step)
    return loss, {name: value.grad.clone() for name, value in engine.network.named_parameters()}


def test_parts_of_a_batch_add_up_to_the_batch(toy, schedule: Make) -> None:
    batch = toy.source.draw(toy.frames, 8, 0, 0)
    batch.valid[:3, 4:] = False  # the parts have unequal shares of the valid targets
    accelerator = make_accelerator()
    whole_loss, whole = gradients(Engine(toy.network(), schedule(batch_size=8), accelerator), batch, 0)
    for parts in (2, 4):
        engine = Engine(toy.network(), schedule(batch_size=8, accumulate=parts), accelerator)
        loss, found = gradients(engine, batch, 0)
        assert loss == pytest.approx(whole_loss, rel=1e-5)
        assert all(torch.allclose(whole[name], found[name], atol=1e-6) for name in whole)
    with pytest.raises(PolicyError, match="--batch-size"):
        Engine(toy.network(), schedule(batch_size=8, accumulate=3), accelerator)


def test_updates_are_those_of_plain_torch(toy, schedule: Make) -> None:
    rates = schedule(warmup=0, decay="constant", weight_decay=0.01)
    engine = Engine(toy.network(), rates, make_accelerator())
    plain = toy.network()
    optimizer = torch.optim.AdamW(plain.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.01)
    for step in range(5):
        batch = toy.source.draw(toy.frames, 4, 0, step)
        loss = plain.loss(batch.inputs, batch.target, batch.valid)
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(plain.parameters(), 1.0)
        optimizer.step()
        update = engine.update(batch, step)
        assert update.loss == pytest.approx(float(loss.detach()), rel=1e-4)
        assert update.gradient_norm == pytest.approx(float(norm), rel=1e-3)
    # Where a gradient is almost zero, Adam turns its rounding into a step of full length.
    apart = [(a - b).abs() for a, b in zip(plain.parameters(), engine.network.parameters(), strict=True)]
    assert torch.cat([gap.flatten() for gap in apart]).mean() < 1e-5


def test_a_loss_that_is_not_finite_stops_before_the_update(toy, schedule: Make) -> None:
    engine = Engine(toy.network(), schedule(), make_accelerator())
    batch = toy.source.draw(toy.frames, 4, 0, 0)
    before = [value.detach().clone() for value in engine.network.parameters()]
    with pytest.raises(PolicyError, match="not finite"):
        engine.update(batch._replace(target=batch.target * float("nan")), 0)
    assert all(a.equal(b) for a, b in zip(before, engine.network.parameters(), strict=True))


class FakeSimulation(Simulation):
    def run(self, out: Path, step: int) -> dict[str, float]:
        assert newest_checkpoint(out).name == f"step_{step:06d}"
        if step == 6:
            raise PolicyError("an evaluation in the simulator failed", found="exit code 2")
        return {"avg_id": 50.0, "success": 0.25}


def test_figures_of_the_simulator_stand_in_the_metrics(toy, schedule: Make, tmp_path: Path) -> None:
    seen: list[dict[str, float]] = []

    class Board:
        def add(self, figures, step: int) -> None:
            seen.append({"step": step, **figures})

        def close(self) -> None:
            seen.append({"closed": 1.0})

    trainer: Trainer = toy.trainer(
        tmp_path, schedule(), simulation=FakeSimulation(every=3), open_board=lambda _: Board()
    )
    trainer.run(False, *QUIET)
    lines = {line.step: line for line in read_metrics(tmp_path)}
    assert sorted(lines) == [3, 4, 6, 8]
    assert lines[3].sim == {"avg_id": 50.0, "success": 0.25}
    assert lines[4].sim is None
    assert "exit code 2" in (lines[6].sim_error or "")
    assert "sim" not in json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[1])
    assert {"sim/avg_id", "probe/r2", "validation/loss"} <= set().union(*seen)
    assert seen[-1] == {"closed": 1.0}


@pytest.fixture
def fresh_state():
    """Accelerate keeps one state per process; here it may differ from that of the other tests."""
    state = importlib.import_module("accelerate.state").AcceleratorState
    state._reset_state(reset_partial_state=True)
    yield
    state._reset_state(reset_partial_state=True)


@pytest.mark.usefixtures("fresh_state")
def test_bfloat16_is_for_the_computation_only(toy, schedule: Make, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    accelerator = make_accelerator("bf16")
    toy.trainer(whole, schedule(), accelerator=accelerator).run(False, *QUIET)
    with pytest.raises(Crash):
        toy.trainer(broken, schedule(), accelerator=accelerator).run(False, crash_at(6), lambda _: None)
    toy.trainer(broken, schedule(), accelerator=accelerator).run(True, *QUIET)
    assert equal(weights_of(whole), weights_of(broken))
    assert all(value.dtype == np.float32 for value in weights_of(whole).values())
    with pytest.raises(PolicyError, match="--precision"):
        make_accelerator("no")
