"""The main of a node: one shape for all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException, MultiThreadedExecutor, SingleThreadedExecutor
from rclpy.node import Node

from finevla.contract.threads import share_interpreter
from finevla.errors import FineVLAError

REFUSED = 2
"""Exit code where parameters, contract, device or files are wrong."""


def run_node[N: Node](
    name: str,
    make: Callable[[], N],
    args: list[str] | None = None,
    *,
    threads: int = 1,
    close: Callable[[N], Any] | None = None,
    until: Callable[[N], Any] | None = None,
    code: Callable[[N], int] | None = None,
) -> int:
    """Makes a node, spins it until SIGINT, closes it, and returns the exit code of the process.

    Args:
        name: Name under which a refusal is logged, should there be no node yet.
        make: Makes the node; may raise `FineVLAError`.
        args: Command line; that of the process when None.
        threads: Threads of the executor.
        close: Called with the node in the end, before the context goes.
        until: Gives a future whose end is the end of the node's work.
        code: Gives the exit code of an ordinary end; 0 when None.
    """
    share_interpreter()
    rclpy.init(args=args)
    node: N | None = None
    try:
        node = make()
        executor = SingleThreadedExecutor() if threads == 1 else MultiThreadedExecutor(num_threads=threads)
        executor.add_node(node)
        if until is None:
            executor.spin()
        else:
            executor.spin_until_future_complete(until(node))
    except (KeyboardInterrupt, ExternalShutdownException):
        pass  # the ordinary end
    except FineVLAError as err:
        rclpy.logging.get_logger(name).fatal(str(err))
        return REFUSED
    finally:
        if node is not None and close is not None:
            close(node)
        rclpy.try_shutdown()
    return 0 if code is None else code(node)
