"""The main of a node: one shape for all of them."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException, MultiThreadedExecutor, SingleThreadedExecutor
from rclpy.node import Node

from finevla.contract.threads import share_interpreter
from finevla.errors import FineVLAError

REFUSED = 2
"""Exit code where parameters, contract, device or files are wrong."""


def _note_interrupts() -> threading.Event:
    """Has Ctrl-C raise `KeyboardInterrupt` as ever, and leave a trace."""
    seen = threading.Event()

    def interrupt(number: int, frame: FrameType | None) -> None:
        seen.set()
        signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, interrupt)
    return seen


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
    interrupted = _note_interrupts()
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
    except RuntimeError:
        # rclpy 9.1.2 turns a KeyboardInterrupt that comes while a message is converted into "Unable to
        # convert call argument", and says that a context is shut down in several ways.
        if not interrupted.is_set() and rclpy.ok():
            raise
    except FineVLAError as err:
        rclpy.logging.get_logger(name).fatal(str(err))
        return REFUSED
    finally:
        if node is not None and close is not None:
            close(node)
        rclpy.try_shutdown()
    return 0 if code is None else code(node)
