"""Work in several processes: spawned, never left behind, with a progress bar."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process

from finevla.stages.report import progress


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))


def worker_pool(workers: int) -> ProcessPoolExecutor:
    """A pool of processes that end with the one that started them.

    They are spawned, because a process that has rendered hangs in its forks.
    """
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_end_with_parent)


def map_jobs[Job, Done](
    work: Callable[[Job], Done], jobs: Sequence[Job], workers: int, title: str, unit: str
) -> Iterator[Done]:
    """Works off jobs in order, in this process or in several, with a progress bar.

    Args:
        work: A function of a module, so that another process can import it.
        jobs: What it is called with.
        workers: Processes; 1 is this one.
        title: What is being done, for the bar.
        unit: What is counted.
    """
    with progress(unit) as bar:
        row = bar.add_task(title, total=len(jobs))
        if workers <= 1:
            for job in jobs:
                yield work(job)
                bar.advance(row)
            return
        with worker_pool(workers) as pool:
            for done in pool.map(work, jobs, chunksize=1):
                yield done
                bar.advance(row)


def _end_with_parent() -> None:
    """Ends this worker when the process that started it is gone.

    A pool whose parent was killed waits for work for ever: every worker holds the other end of the queue.
    """

    def wait() -> None:
        parent = parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, name="end_with_parent", daemon=True).start()
