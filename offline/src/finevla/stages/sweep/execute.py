"""Cells side by side: in processes of this machine, or as tasks of Ray, with the same function.

An executor yields each cell as it ends, with its result or its error; one cell's error is its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from functools import partial
from multiprocessing import active_children
from typing import Any, Protocol

from finevla.stages.pool import worker_pool
from finevla.stages.ray_cluster import ray_cluster
from finevla.stages.sweep.plan import CellJob

CellFunction = Callable[[CellJob], dict[str, Any]]
"""Runs a cell and gives its document; a function of a module, so that another process can import it."""
OnWait = Callable[[], None]
"""Called about once a second while cells run."""
_LOOK_S = 1.0


class Ended(Protocol):
    """A cell that came to its end."""

    def __call__(self) -> dict[str, Any]:
        """Its document, or the error that ended it."""


Outcome = tuple[CellJob, Ended]


def run_local(
    work: CellFunction, jobs: Sequence[CellJob], workers: int, on_wait: OnWait
) -> Iterator[Outcome]:
    """Runs cells in processes of this machine, `workers` at a time, begun in order."""
    pool = worker_pool(workers)
    waiting = {pool.submit(work, job): job for job in jobs}
    try:
        while waiting:
            done, _ = wait(waiting, timeout=_LOOK_S, return_when="FIRST_COMPLETED")
            on_wait()
            for future in sorted(done, key=lambda f: waiting[f].cell.name):
                yield waiting.pop(future), _result_of(future)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in active_children() if waiting else ():
            process.terminate()  # interrupted: their own children end with them


def _result_of(future: Future[dict[str, Any]]) -> Ended:
    return future.result


def run_ray(
    work: CellFunction, jobs: Sequence[CellJob], workers: int, on_wait: OnWait, address: str = ""
) -> Iterator[Outcome]:
    """Runs cells as tasks of Ray, one CPU each.

    Without an address a Ray of its own is started, which listens on the loopback interface only, has
    `workers` CPUs and no dashboard, and is ended afterwards. On a cluster every machine must see dataset
    and output at the same paths.

    Raises:
        SetupError: Ray is not installed, or cannot be started or reached.
    """
    ray = ray_cluster(workers, address)
    try:
        remote = ray.remote(num_cpus=1, max_retries=0)(work)
        waiting = {remote.remote(job): job for job in jobs}
        while waiting:
            done, _ = ray.wait(list(waiting), num_returns=1, timeout=_LOOK_S)
            on_wait()
            for reference in done:
                yield waiting.pop(reference), partial(_ray_result, ray, reference)
    finally:
        ray.shutdown()


def _ray_result(ray: Any, reference: Any) -> dict[str, Any]:
    """The document of a task, or the error of the cell itself where Ray has wrapped it."""
    try:
        return dict(ray.get(reference))
    except ray.exceptions.RayTaskError as err:
        raise err.cause from err
