"""How the threads of a node share the interpreter."""

from __future__ import annotations

import sys

SWITCH_INTERVAL_S = 0.0005
"""A tenth of a tick of the 200 Hz loops."""


def share_interpreter() -> None:
    """Lets threads take turns often enough for 200 Hz; call it first in the main of a node.

    A thread that wants the interpreter waits for the one that has it up to the switch interval, 5 ms by
    default: a whole tick. With CAN, executor and loop threads in one process such waits add up to
    feedback that seems half a second old although the processor is idle.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_S)
