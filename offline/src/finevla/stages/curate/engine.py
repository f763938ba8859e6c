"""Who does the jobs: processes here, or a Ray cluster. The jobs are the same, and so is the result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from finevla.errors import SetupError
from finevla.stages.curate.plan import Job
from finevla.stages.curate.work import result_path, run_job
from finevla.stages.pool import map_jobs
from finevla.stages.report import progress

EngineName = Literal["pool", "ray"]
IN_FLIGHT = 4
"""Jobs that wait at each worker of a cluster."""


def run_jobs(folder: Path, jobs: Sequence[Job], engine: EngineName, workers: int, address: str) -> int:
    """Does all jobs that are not done yet, those that end a group after all others; returns how many.

    Args:
        folder: The run; a cluster's machines must see it under the same path.
        jobs: In the order in which they are begun.
        engine: Who does them.
        workers: Processes here, or jobs at a time on a cluster (0: as many as it has processors).
        address: Of the Ray cluster; empty: one of this machine alone.
    """
    open_ = [job for job in jobs if not result_path(folder, job).exists()]
    for last in (False, True):
        part = [job for job in open_ if (job.kind == "finish") is last]
        if not part:
            continue
        done = _ray(folder, part, workers, address) if engine == "ray" else _pool(folder, part, workers)
        for _ in done:
            pass
    return len(open_)


def _pool(folder: Path, jobs: Sequence[Job], workers: int) -> Iterator[Path]:
    return map_jobs(partial(run_job, folder), jobs, min(workers, len(jobs)), "comparing", "jobs")


def _ray(folder: Path, jobs: Sequence[Job], workers: int, address: str) -> Iterator[Any]:
    try:
        import ray
    except ImportError as err:
        raise SetupError("Ray is not installed", found=err, remedy="pip install 'finevla[curate]'") from err
    begun = not ray.is_initialized()
    if begun:
        here: dict[str, Any] = {} if address else {"num_cpus": workers or None, "include_dashboard": False}
        ray.init(address=address or "local", log_to_driver=False, **here)
    try:
        task = ray.remote(num_cpus=1, max_retries=3)(run_job)
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        most = (workers or int(resources.get("CPU", 1))) * IN_FLIGHT
        waiting: list[Any] = []
        left = list(jobs)
        with progress("jobs") as bar:
            row = bar.add_task("comparing", total=len(jobs))
            while left or waiting:
                while left and len(waiting) < most:
                    waiting.append(task.remote(folder, left.pop(0)))
                ready, waiting = ray.wait(waiting, num_returns=1)
                yield ray.get(ready[0])
                bar.advance(row)
    finally:
        if begun:
            ray.shutdown()
