"""The stage `sweep`: cells that are missing are run, each on its own; what is complete is left alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from finevla.stages.sweep.execute import CellFunction, run_local, run_ray
from finevla.stages.sweep.ledger import QUEUED, Ledger
from finevla.stages.sweep.plan import CellJob
from finevla.stages.sweep.watch import Watch


@dataclass(frozen=True, slots=True)
class Executor:
    """Where cells run: `local` or `ray`, how many side by side, and the address of a cluster."""

    kind: str
    workers: int
    address: str = ""


@dataclass(frozen=True, slots=True)
class Swept:
    """What came of a sweep: names of cells that were complete before, were done now, and failed."""

    complete: tuple[str, ...]
    done: tuple[str, ...]
    failed: tuple[str, ...]


def run_sweep(work: CellFunction, jobs: Sequence[CellJob], ledger: Ledger, executor: Executor) -> Swept:
    """Runs what is missing, in order, and keeps each result at once.

    A cell that failed is written down and the others go on; a cell that failed in an earlier sweep is
    tried again.

    Raises:
        SweepError: A result in the folder is of another configuration. Nothing is run.
        SetupError: Ray was asked for and cannot be used.
    """
    missing = [job for job in jobs if ledger.result(job) is None]
    complete = [job.cell.name for job in jobs if job not in missing]
    done: list[str] = []
    failed: list[str] = []
    for job in missing:
        ledger.note(QUEUED, job.cell, config_hash=job.config_hash)
    with Watch(missing, len(complete)) as watch:
        for job, ended in _ended(work, missing, executor, watch):
            try:
                result: dict[str, Any] = ended()
            except Exception as err:  # noqa: BLE001  # whatever it is, it is this cell's own
                ledger.fail(job.cell, err)
                failed.append(job.cell.name)
                watch.ended(job, str(err).splitlines()[0] if str(err) else repr(err))
            else:
                ledger.keep(job.cell, result)
                done.append(job.cell.name)
                watch.ended(job)
    return Swept(tuple(complete), tuple(done), tuple(failed))


def _ended(work: CellFunction, jobs: Sequence[CellJob], executor: Executor, watch: Watch) -> Any:
    if not jobs:
        return iter(())
    if executor.kind == "ray":
        return run_ray(work, jobs, executor.workers, watch.look, executor.address)
    return run_local(work, jobs, min(executor.workers, len(jobs)), watch.look)
