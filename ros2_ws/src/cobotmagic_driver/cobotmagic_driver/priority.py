"""Real-time priority for the driver, where the user may have it (`ulimit -r`)."""

from __future__ import annotations

import logging
import os
from pathlib import Path

OTHERS_BELOW = 5
"""How much lower the other threads of the process stand."""

log = logging.getLogger(__name__)


def claim(priority: int) -> bool:
    """Puts the calling thread before all ordinary ones, and the other threads of the process just below it.

    The others too: a thread that holds the interpreter and is displaced by another process would keep the
    first one waiting all the same.

    Args:
        priority: SCHED_FIFO priority, 1 to 99; 0 leaves everything as it is.

    Returns:
        Whether it was granted.
    """
    if priority == 0:
        return False
    try:
        for task in Path("/proc/self/task").iterdir():
            os.sched_setscheduler(
                int(task.name), os.SCHED_FIFO, os.sched_param(max(priority - OTHERS_BELOW, 1))
            )
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except (OSError, AttributeError) as err:
        log.warning("the loop runs without real-time priority: %s (allow it: ulimit -r)", err)
        return False
    return True
