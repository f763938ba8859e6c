"""`python -m finevla.stages.sweep.child ARGUMENTS`: the command `finevla`, which ends with its parent.

The parent holds the other end of this process's standard input. When the parent is gone, however that
came about, the pipe closes and this process ends: nobody else would, and a second sweep in the same folder
would meet it.
"""

from __future__ import annotations

import os
import runpy
import sys
import threading


def end_with_parent() -> None:
    """Ends this process when its standard input closes."""

    def wait() -> None:
        while os.read(0, 1):
            pass
        os._exit(1)

    threading.Thread(target=wait, name="end_with_parent", daemon=True).start()


if __name__ == "__main__":
    end_with_parent()
    sys.argv[0] = "finevla"
    runpy.run_module("finevla", run_name="__main__")
