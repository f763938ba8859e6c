"""The same cells as tasks of a real Ray on this machine."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest
from sweep_cells import calls, document, job, work_but_fg

from finevla.stages.sweep.ledger import Ledger
from finevla.stages.sweep.plan import plan_cells
from finevla.stages.sweep.run import Executor, run_sweep

pytestmark = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")


def test_ray_runs_cells_and_isolates_one_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    support = Path(__file__).resolve().parents[2] / "support"
    paths = [str(support), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))  # where Ray's workers find the function
    ledger = Ledger(tmp_path)
    jobs = [job(tmp_path, cell) for cell in plan_cells(["oft"], ["raw", "1:1", "fg"], [0])]
    swept = run_sweep(work_but_fg, jobs, ledger, Executor("ray", 2))
    assert set(ledger.failures()) == {"oft-fg-seed0"}, ledger.failures()
    assert sorted(swept.done) == ["oft-1to1-seed0", "oft-raw-seed0"]
    assert swept.failed == ("oft-fg-seed0",)
    assert "no luck with oft-fg-seed0" in ledger.failures()["oft-fg-seed0"]["error"]
    assert ledger.results()["oft-raw-seed0"] == document(jobs[0])
    assert [calls(j) for j in jobs] == [1, 1, 0]
