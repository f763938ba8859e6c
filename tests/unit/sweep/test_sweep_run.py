"""A sweep's cells: order, isolation, resuming, and what a folder refuses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sweep_cells import SETTINGS, calls, document, job, work, work_but_fg, work_or_die

from finevla.stages.sweep.ledger import Ledger
from finevla.stages.sweep.plan import (
    MIXES,
    Cell,
    SweepError,
    digest,
    heads_of,
    mixes_of,
    plan_cells,
    seeds_of,
)
from finevla.stages.sweep.run import Executor, run_sweep

HERE = Executor("local", 1)


def jobs_in(out: Path, mixes: tuple[str, ...] = ("raw", "1:1", "fg"), **changes: object) -> list:
    return [job(out, cell, **changes) for cell in plan_cells(["oft"], mixes, [0])]


def events(out: Path) -> list[tuple[str, str]]:
    rows = [json.loads(line) for line in (out / "ledger.jsonl").read_text().splitlines()]
    return [(row["cell"], row["event"]) for row in rows]


def test_the_front_of_a_sweep_is_useful() -> None:
    cells = plan_cells(heads_of("flow, oft"), mixes_of("all"), seeds_of("0,2", 1000))
    assert [cell.name for cell in cells[:7]] == [
        "oft-raw-seed0",
        "oft-1to4-seed0",
        "oft-1to2-seed0",
        "oft-1to1-seed0",
        "oft-2to1-seed0",
        "oft-4to1-seed0",
        "oft-fg-seed0",
    ]
    assert [(cell.head, cell.seed) for cell in cells[::7]] == [
        ("oft", 0),
        ("flow", 0),
        ("oft", 2),
        ("flow", 2),
    ]
    assert len({cell.name for cell in cells}) == 2 * 7 * 2


def test_mixes_keep_the_order_of_the_paper() -> None:
    assert MIXES == ("raw", "1:4", "1:2", "1:1", "2:1", "4:1", "fg")
    assert mixes_of("fg,raw,1:1") == ["raw", "1:1", "fg"]


@pytest.mark.parametrize(
    ("call", "text"), [(heads_of, "oft,oft"), (heads_of, "mlp"), (mixes_of, "1:3"), (mixes_of, "")]
)
def test_unknown_names_are_refused(call, text: str) -> None:
    with pytest.raises(SweepError):
        call(text)


@pytest.mark.parametrize("text", ["", "0,0", "one", "-1", "99"])
def test_impossible_seeds_are_refused(text: str) -> None:
    with pytest.raises(SweepError, match="seeds"):
        seeds_of(text, 1000)


def test_every_seed_has_scenes_of_its_own_and_mixes_share_them(tmp_path: Path) -> None:
    first, second = (job(tmp_path, Cell("oft", "raw", seed)).scene_seed for seed in (0, 1))
    assert second - first >= 10_000
    assert job(tmp_path, Cell("flow", "fg", 1)).scene_seed == second


def test_cells_that_are_complete_are_left_alone(tmp_path: Path) -> None:
    ledger, jobs = Ledger(tmp_path), jobs_in(tmp_path)
    first = run_sweep(work, jobs[:1], ledger, HERE)
    assert first.done == ("oft-raw-seed0",)
    again = run_sweep(work, jobs, ledger, HERE)
    assert (again.complete, again.done) == (("oft-raw-seed0",), ("oft-1to1-seed0", "oft-fg-seed0"))
    assert [calls(j) for j in jobs] == [1, 1, 1]
    assert ledger.results()["oft-1to1-seed0"] == document(jobs[1])


@pytest.mark.parametrize("workers", [1, 2])
def test_a_cell_that_fails_is_alone_and_is_tried_again(tmp_path: Path, workers: int) -> None:
    ledger, jobs = Ledger(tmp_path), jobs_in(tmp_path)
    jobs = [jobs[2], jobs[0], jobs[1]]  # the one that fails comes first
    swept = run_sweep(work_but_fg, jobs, ledger, Executor("local", workers))
    assert swept.failed == ("oft-fg-seed0",)
    assert sorted(swept.done) == ["oft-1to1-seed0", "oft-raw-seed0"]
    failure = ledger.failures()["oft-fg-seed0"]
    assert failure["error"].startswith("no luck with oft-fg-seed0")
    assert failure["type"] == "RuntimeError"
    assert ("oft-fg-seed0", "failed") in events(tmp_path)
    assert run_sweep(work, jobs, ledger, HERE).done == ("oft-fg-seed0",)
    assert ledger.failures() == {}


def test_a_process_that_dies_fails_its_cell(tmp_path: Path) -> None:
    ledger, jobs = Ledger(tmp_path), jobs_in(tmp_path, ("fg",))
    swept = run_sweep(work_or_die, jobs, ledger, Executor("local", 2))
    assert swept.failed == ("oft-fg-seed0",)
    assert "BrokenProcessPool" in ledger.failures()["oft-fg-seed0"]["type"]


def test_another_configuration_is_refused_with_the_difference(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.begin(SETTINGS)
    ledger.begin(SETTINGS)
    changed = job(tmp_path, Cell("oft", "raw", 0), steps=99, n=7).settings
    with pytest.raises(SweepError) as caught:
        ledger.begin(changed)
    assert "steps=40, n=20" in caught.value.expected
    assert "steps=99, n=7" in caught.value.found


def test_a_result_of_another_configuration_stops_the_sweep_before_it_begins(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    run_sweep(work, jobs_in(tmp_path)[:1], ledger, HERE)
    jobs = jobs_in(tmp_path, n=99)
    with pytest.raises(SweepError, match="another configuration"):
        run_sweep(work, jobs, ledger, HERE)
    assert calls(jobs[1]) == 0


def test_heads_mixes_and_seeds_may_be_added(tmp_path: Path) -> None:
    cell = job(tmp_path, Cell("oft", "raw", 0))
    other = job(tmp_path, Cell("flow", "fg", 3))
    assert cell.settings == other.settings
    assert cell.config_hash != other.config_hash
    assert cell.config_hash == digest(cell.config)


def test_a_second_sweep_in_the_folder_is_refused(tmp_path: Path) -> None:
    with Ledger(tmp_path).alone(), pytest.raises(SweepError, match="another sweep"), Ledger(tmp_path).alone():
        pass
    with Ledger(tmp_path).alone():
        pass


def test_a_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    child = (
        "import os, pathlib, time; from finevla.stages.sweep.child import end_with_parent as f; f(); "
        f"pathlib.Path({str(mark)!r}).write_text(str(os.getpid())); time.sleep(60)"
    )
    code = (
        "import subprocess, sys; "
        f"subprocess.Popen([sys.executable, '-c', {child!r}], stdin=subprocess.PIPE).wait()"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as parent:
        pid = int(waited_for(mark))
        os.kill(parent.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(pid)


def waited_for(path: Path) -> str:
    deadline = time.monotonic() + 20
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return path.read_text()


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be reaped does not."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"
