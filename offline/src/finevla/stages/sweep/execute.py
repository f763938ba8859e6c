"""Cells side by side: in processes of this machine, or as tasks of Ray, with the same function.

An executor yields each cell as it ends, with its result or its error; one cell's error is its own.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from functools import partial
from multiprocessing import active_children
from typing import Any, Protocol

from finevla.errors import SetupError
from finevla.stages.pool import worker_pool
from finevla.stages.sweep.plan import CellJob

CellFunction = Callable[[CellJob], dict[str, Any]]
"""Runs a cell and gives its document; a function of a module, so that another process can import it."""
OnWait = Callable[[], None]
"""Called about once a second while cells run."""
_LOOK_S = 1.0
_LOOPBACK = "127.0.0.1"
_ALONE = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing calls out
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # with it off, Ray takes the loopback address that it is given
}
"""Read by Ray when it is imported."""


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
    ray = _connected(address) if address else _started(workers)
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


def _started(workers: int) -> Any:
    """A Ray of this process, closed to everybody else."""
    os.environ.update(_ALONE)
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))  # else one is left in the home folder
    ray = _init(
        "a Ray of its own on this machine",
        address="local",
        num_cpus=workers,
        include_dashboard=False,
        _node_ip_address=_LOOPBACK,
    )
    found = ray.nodes()[0]["NodeManagerAddress"]
    if found != _LOOPBACK:
        ray.shutdown()
        raise _unusable(f"a Ray that listens on {_LOOPBACK} only", f"one that listens on {found}")
    return ray


def _connected(address: str) -> Any:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    return _init(address, address=address)


def _init(expected: str, **arguments: Any) -> Any:
    try:
        import ray  # late: it is slow, and reads the environment when it is imported

        ray.init(log_to_driver=False, logging_level=logging.ERROR, **arguments)
    except (ImportError, ConnectionError, RuntimeError, ValueError) as err:
        raise _unusable(expected, repr(err)) from err
    return ray


def _unusable(expected: str, found: str) -> SetupError:
    return SetupError(
        "Ray cannot be used",
        where="--executor ray",
        expected=expected,
        found=found,
        remedy="run `make setup`, check --ray-address, or use --executor local",
    )
