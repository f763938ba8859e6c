"""The phases of a cell: commands, what is repeated, what fails; with a child in place of `finevla`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from sweep_cells import job

from finevla.stages.sweep import phases
from finevla.stages.sweep.cell import portable
from finevla.stages.sweep.manifest import ManifestError, check_siblings, manifest_of
from finevla.stages.sweep.phases import Phase, events, phases_of, run_phase, seconds_of
from finevla.stages.sweep.plan import Cell, CellJob, SweepError
from finevla.stages.sweep.watch import phase_words


@pytest.fixture
def cell_job(tmp_path: Path) -> CellJob:
    return job(tmp_path, Cell("flow", "1:4", 2), openloop=True, closed_loop=3)


Ran = list[list[str]]


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> tuple[Ran, Callable[..., None]]:
    """Arguments of the children that were run, and how to say what a child does."""
    seen: Ran = []
    does: dict[str, Callable[[list[str]], int]] = {"it": lambda _: 0}

    def run(arguments: list[str], log: Path) -> int:
        seen.append(list(arguments))
        log.write_text("first words\nlast words\n")
        return does["it"](list(arguments))

    monkeypatch.setattr(phases, "_run", run)
    return seen, lambda it: does.update(it=it)


def flag(arguments: tuple[str, ...] | list[str], name: str) -> str:
    return arguments[list(arguments).index(name) + 1]


def test_a_cell_is_trained_exported_and_evaluated_in_scenes_of_its_seed(cell_job: CellJob) -> None:
    found = {phase.name: phase for phase in phases_of(cell_job)}
    assert list(found) == ["train", "export", "openloop", "paired", "closed_loop"]
    train = found["train"].arguments
    assert (flag(train, "--head"), flag(train, "--mix"), flag(train, "--seed")) == ("flow", "1:4", "2")
    assert flag(train, "--steps") == "40"
    assert "--cache-dir" not in train
    assert flag(found["paired"].arguments, "--seed") == str(1000 + 2 * 10_000)
    assert flag(found["closed_loop"].arguments, "--episodes") == "3"
    assert flag(found["openloop"].arguments, "--train-dir") == str(cell_job.run / "train")


def test_flags_are_those_of_the_verbs(cell_job: CellJob) -> None:
    import importlib
    from dataclasses import fields, replace

    from finevla.cli import VERBS

    for phase in phases_of(replace(cell_job, pictures=Path("p"))):
        words = tuple(word for word in phase.arguments[:2])
        verb = words if words in VERBS else words[:1]
        known = {
            f"--{f.name.replace('_', '-')}" for f in fields(importlib.import_module(VERBS[verb][0]).Config)
        }
        assert {word for word in phase.arguments if word.startswith("--")} <= known


def made(phase: Phase) -> int:
    phase.makes.parent.mkdir(parents=True, exist_ok=True)
    phase.makes.write_text("{}")
    return 0


def test_a_phase_that_is_done_is_not_repeated(cell_job: CellJob, ran) -> None:
    phase = phases_of(cell_job)[3]
    seen, does = ran
    does(lambda _: made(phase))
    run_phase(cell_job, phase)
    run_phase(cell_job, phase)
    assert seen == [list(phase.arguments)]
    phase.makes.unlink()
    run_phase(cell_job, phase)
    assert len(seen) == 2
    assert [row["event"] for row in events(cell_job.run)] == ["start", "done", "start", "done"]


def test_a_half_trained_cell_goes_on_exactly(cell_job: CellJob, ran) -> None:
    phase = phases_of(cell_job)[0]
    seen, does = ran
    checkpoint = cell_job.run / "train" / "checkpoints" / "step_000020"
    checkpoint.mkdir(parents=True)
    does(lambda _: made(phase))
    run_phase(cell_job, phase)
    assert seen == [[*phase.arguments, "--resume"]]
    assert checkpoint.exists()


def test_a_training_without_checkpoint_begins_again(cell_job: CellJob, ran) -> None:
    phase = phases_of(cell_job)[0]
    seen, does = ran
    (cell_job.run / "train").mkdir(parents=True)
    (cell_job.run / "train" / "metrics.jsonl").write_text("")
    does(lambda _: 1 if (cell_job.run / "train").exists() else made(phase))
    run_phase(cell_job, phase)
    assert seen == [list(phase.arguments)]


def test_a_phase_that_fails_says_why(cell_job: CellJob, ran) -> None:
    phase = phases_of(cell_job)[3]
    ran[1](lambda _: 2)
    with pytest.raises(SweepError, match="the phase paired of the cell flow-1to4-seed2 failed") as caught:
        run_phase(cell_job, phase)
    assert "exit code 2" in caught.value.found
    assert "last words" in caught.value.found
    assert caught.value.remedy.endswith(phase.command)
    assert events(cell_job.run)[-1]["event"] == "failed"


def test_a_phase_that_leaves_nothing_fails(cell_job: CellJob, ran) -> None:
    with pytest.raises(SweepError, match="failed"):
        run_phase(cell_job, phases_of(cell_job)[3])


def test_a_real_child_is_finevla(cell_job: CellJob) -> None:
    phase = Phase("paired", ("no-such-verb",), cell_job.run / "never.json")
    with pytest.raises(SweepError) as caught:
        run_phase(cell_job, phase)
    assert "exit code 2" in caught.value.found
    assert "finevla has no verb 'no-such-verb'" in caught.value.found


def test_seconds_add_up_over_attempts() -> None:
    rows = [
        {"phase": "train", "event": "start"},
        {"phase": "train", "event": "failed", "seconds": 2.0},
        {"phase": "train", "event": "done", "seconds": 3.5},
    ]
    assert seconds_of(rows) == {"train": 5.5}


def test_progress_tells_the_step_of_a_training(cell_job: CellJob) -> None:
    assert phase_words(cell_job) == ""
    train = cell_job.run / "train"
    train.mkdir(parents=True)
    row = {"time": 0.0, "phase": "train", "event": "start"}
    (cell_job.run / "phases.jsonl").write_text(json.dumps(row) + "\n" + '{"cut')
    assert phase_words(cell_job) == "train 0/40"
    (train / "metrics.jsonl").write_text('{"step": 20}\n{"step": 3')
    assert phase_words(cell_job) == "train 20/40"


def trained(cell_job: CellJob, **run: str) -> None:
    path = cell_job.run / "train" / "run.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(run))


def test_a_cell_that_saw_other_frames_stops_before_its_evaluation(tmp_path: Path) -> None:
    first, second, other_seed = (
        job(tmp_path, Cell("oft", m, s)) for m, s in (("raw", 0), ("fg", 0), ("fg", 1))
    )
    trained(first, manifest_hash="a")
    trained(other_seed, manifest_hash="b")
    check_siblings(first)
    trained(second, manifest_hash="c")
    with pytest.raises(ManifestError, match="seed 0"):
        check_siblings(second)


def test_a_run_without_manifest_is_refused(tmp_path: Path) -> None:
    cell_job = job(tmp_path, Cell("oft", "raw", 0))
    assert manifest_of(cell_job.run) == ""
    trained(cell_job)
    with pytest.raises(ManifestError, match="does not tell which frames"):
        manifest_of(cell_job.run)


def test_figures_name_what_lies_beside_the_sweep_and_not_this_machine(cell_job: CellJob) -> None:
    for phase in phases_of(cell_job):
        words = portable(phase.command, cell_job.out)
        assert words.startswith("finevla ")
        assert str(cell_job.out.resolve().parent) not in words
    assert portable("finevla train /elsewhere/data --out /lab/sweep/runs/x", Path("/lab/sweep")) == (
        "finevla train /elsewhere/data --out sweep/runs/x"
    )
