"""What is seen of a run: the probe, the board, the evaluation in the simulator."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from finevla.errors import PolicyError, SetupError
from finevla.stages.train import sim_eval
from finevla.stages.train.board import TensorBoard, Wandb, open_board
from finevla.stages.train.probe import Probe, determination
from finevla.stages.train.schedule import Schedule
from finevla.stages.train.sim_eval import Simulation, figures


def test_knowing_task_and_arm_is_worth_nothing(toy) -> None:
    probe = Probe(toy.cache, toy.source, np.arange(12), toy.chain, toy.contract)
    target = toy.source.exact(probe._early).target.numpy()
    guess, groups = target.copy(), np.unique(probe._groups)
    for group in groups:
        rows = probe._groups == group
        guess[rows] = target[rows].mean(0)
    assert len(groups) == 4  # two tasks, two arms
    wanted = probe._joint(target)
    assert determination(wanted, wanted, probe._groups, probe._owner) == pytest.approx(1.0)
    known = determination(wanted, probe._joint(guess), probe._groups, probe._owner)
    assert known == pytest.approx(1 - (3 - 1) / 3)  # three episodes each: the mean had seen them


def test_a_group_of_one_episode_counts_nothing() -> None:
    wanted, groups, episodes = np.array([0.0, 1.0, 9.0]), np.array([0, 0, 1]), np.array([4, 5, 6])
    assert determination(wanted, np.array([0.0, 1.0, 0.0]), groups, episodes) == pytest.approx(1.0)
    assert determination(wanted[2:], wanted[2:], groups[2:], episodes[2:]) is None


def test_the_probe_asks_in_fine_grained_words_whatever_the_mix(toy) -> None:
    asked: list[np.ndarray] = []
    network = toy.network().eval()
    act = network.act
    network.act = lambda inputs, *rest: asked.append(inputs.words.numpy()) or act(inputs, *rest)
    probe = toy.probe()
    probe.measure(network)
    fine = [toy.codec.encode(toy.cache.fine[episode]) for episode in probe._owner]
    assert np.array_equal(np.concatenate(asked), np.stack(fine))


def test_without_validation_there_is_nothing_to_measure(toy) -> None:
    probe = Probe(toy.cache, toy.source, np.zeros(0, np.int64), toy.chain, toy.contract)
    assert probe.measure(toy.network()) == {"validation_loss": None, "r2": None}


def test_curves_go_to_tensorboard(toy, schedule: Callable[..., Schedule], tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    rates = schedule(steps=20, probe_every=10, save_every=20)
    trainer = toy.trainer(
        tmp_path, rates, open_board=lambda first: open_board("tensorboard", tmp_path, first, {})
    )
    trainer.run(False, lambda *_: None, lambda _: None)
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    tags = set(events.Tags()["scalars"])
    assert {"train/loss", "train/gradient_norm", "rate/base", "rate/head", "validation/loss"} <= tags
    assert [point.step for point in events.Scalars("train/loss")] == [10, 20]
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    shown = [point.value for point in events.Scalars("validation/loss")]
    assert shown == pytest.approx([line["validation_loss"] for line in lines])


def test_a_missing_logger_names_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(SetupError, match="--logger none"):
        TensorBoard(tmp_path, 0)
    with pytest.raises(SetupError, match="pip install wandb"):
        Wandb(tmp_path, {})


def test_wandb_stays_offline_unless_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Fake:
        logged: list = []

        def init(self, **settings):
            self.settings = settings
            return self

        def log(self, figures, step: int) -> None:
            self.logged.append((step, figures))

        def finish(self) -> None:
            self.finished = True

    fake = Fake()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    board = open_board("wandb", tmp_path, 0, {"mix": "1:1"})
    board.add({"loss": 1.0}, 3)
    board.close()
    assert fake.settings["mode"] == "offline"
    assert fake.settings["config"] == {"mix": "1:1"}
    assert fake.logged == [(3, {"loss": 1.0})]
    assert fake.finished


RESULT = {
    "avg_id": 62.5,
    "factors": {
        "arm": {"compliance": 1.0, "success": 0.5},
        "color": {"compliance": 0.25, "success": 0.0},
    },
}


def test_figures_of_a_paired_evaluation() -> None:
    assert figures(RESULT) == {
        "avg_id": 62.5,
        "success": 0.25,
        "compliance/arm": 1.0,
        "compliance/color": 0.25,
    }


def test_an_evaluation_is_what_the_command_line_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], env: dict[str, str], **_: object) -> subprocess.CompletedProcess[str]:
        commands.append(command[3:])
        assert "RANK" not in env
        assert not [name for name in env if name.startswith("ACCELERATE_")]
        if "export" in command:
            Path(command[-1]).mkdir()
        else:
            Path(command[-1]).write_text(json.dumps(RESULT))
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    monkeypatch.setattr(sim_eval.subprocess, "run", run)
    found = Simulation(every=5, pairs=3, factors="arm,color").run(tmp_path, 5)
    assert found["avg_id"] == 62.5
    assert commands[0][:2] == ["export", str(tmp_path)]
    assert commands[1][:2] == ["evaluate", "paired"]
    assert commands[1][commands[1].index("--n") + 1] == "3"
    assert [path.name for path in (tmp_path / "sim").iterdir()] == ["step_000005.json"]


def test_a_failed_evaluation_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = subprocess.CompletedProcess([], 2, "", "error: no Vulkan device can render")
    monkeypatch.setattr(sim_eval.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(PolicyError, match="no Vulkan device"):
        Simulation(every=5).run(tmp_path, 5)
    assert not list((tmp_path / "sim").iterdir())


def test_evaluations_are_due_every_so_often_and_at_the_end() -> None:
    every = Simulation(every=3)
    assert [step for step in range(1, 9) if every.due(step, step == 8)] == [3, 6, 8]
    assert not Simulation().due(8, True)
