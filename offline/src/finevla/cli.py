"""The command `finevla`: a table of verbs, each a module with a `Config` and a `main(config)`.

A verb's module is imported only when the verb is called, so that `finevla --help` answers at once and
a robot without torch can still run `finevla launch`. Exit codes: 0 done, 1 the verb says no, 2 refused
(a `FineVLAError`, or arguments that are not right), 130 interrupted.
"""

from __future__ import annotations

import errno
import importlib
import logging
import os
import sys
from collections.abc import Mapping, Sequence

from finevla import __version__
from finevla.errors import FineVLAError

VERBS: Mapping[tuple[str, ...], tuple[str, str]] = {
    ("doctor",): (
        "finevla.stages.doctor.verb",
        "say what of the installation works and how to repair the rest",
    ),
    ("demo",): (
        "finevla.stages.demo.verb",
        "give the simulated robot instructions and report what it did",
    ),
    ("launch",): (
        "finevla.launcher.verb",
        "run a ROS 2 launch file, with ROS's launch packages or without",
    ),
    ("sim", "record"): (
        "finevla.stages.record.verb",
        "record simulated demonstrations as rosbag2 bags",
    ),
    ("sim", "check"): (
        "finevla.stages.check.verb",
        "check that the texts of simulated episodes are true of them",
    ),
    ("sim", "sheet"): ("finevla.stages.sheet.verb", "draw a contact sheet of the tasks"),
    ("convert",): ("finevla.stages.convert.verb", "convert bags to a LeRobot dataset"),
    ("import",): (
        "finevla.stages.import_.verb",
        "make a LeRobot dataset of one that others recorded",
    ),
    ("normalize",): (
        "finevla.stages.normalize.verb",
        "add the unified vector to LeRobot datasets and leave bad episodes out",
    ),
    ("curate",): (
        "finevla.stages.curate.verb",
        "find the ways in which each task is done, and keep one episode of each",
    ),
    ("inspect",): ("finevla.stages.inspect.verb", "show what a bag, a dataset or a bundle holds"),
    ("train",): ("finevla.stages.train.verb", "train a policy on a dataset"),
    ("sweep",): (
        "finevla.stages.sweep.verb",
        "train and evaluate one policy per FG:Raw mix, head and seed, and draw the curve",
    ),
    ("export",): ("finevla.stages.export.verb", "make a verified bundle of a trained policy"),
    ("evaluate", "paired"): (
        "finevla.stages.evaluate.paired_verb",
        "measure whether a policy obeys: pairs of instructions that differ in one word",
    ),
    ("evaluate", "closed-loop"): (
        "finevla.stages.evaluate.closed_loop_verb",
        "measure success over tasks, clean and randomised",
    ),
    ("evaluate", "openloop"): (
        "finevla.stages.evaluate.openloop_verb",
        "errors on held-out episodes of a dataset, and what the words change in them",
    ),
    ("evaluate", "graph"): (
        "finevla.stages.evaluate.graph_verb",
        "the same through the running ROS 2 graph: cameras, policy, driver and CAN",
    ),
}
"""Words of a verb -> (module, what it does). The order is the order of `finevla --help`."""

DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES}
REFUSED = 2
INTERRUPTED = 130


def help_text(group: Sequence[str] = ()) -> str:
    """The list of verbs, or of those that begin with the words of `group`."""
    rows = [
        (" ".join(words), text) for words, (_, text) in VERBS.items() if words[: len(group)] == tuple(group)
    ]
    width = max(len(words) for words, _ in rows)
    lines = [
        "usage: finevla VERB [flags]        finevla VERB --help shows the flags of a verb",
        "",
        *(f"  {words:<{width}}  {text}" for words, text in rows),
        "",
        "  --version  print the version; --help  print this text",
    ]
    return "\n".join(lines)


def split_verb(arguments: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    """Splits the command line into the words of a verb and its flags.

    Raises:
        FineVLAError: No verb has these words.
    """
    for length in (2, 1):
        words = tuple(arguments[:length])
        if words in VERBS:
            return words, list(arguments[length:])
    raise FineVLAError(
        f"finevla has no verb {' '.join(a for a in arguments[:2] if not a.startswith('-'))!r}",
        expected=", ".join(" ".join(words) for words in VERBS),
        remedy="finevla --help lists the verbs",
    )


def call(words: tuple[str, ...], flags: Sequence[str]) -> int:
    """Parses the flags of one verb and runs it; returns its exit code."""
    import tyro

    module = importlib.import_module(VERBS[words][0])
    config = tyro.cli(
        module.Config,
        prog=f"finevla {' '.join(words)}",
        args=list(flags),
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    code: int = module.main(config)
    return code


def _is_help(arguments: Sequence[str]) -> bool:
    return not arguments or arguments[0] in {"-h", "--help", "help"}


def _is_group(arguments: Sequence[str]) -> bool:
    return len(arguments) in {1, 2} and any(
        len(words) > 1 and words[0] == arguments[0] and _is_help(arguments[1:]) for words in VERBS
    )


def _disk_error(err: OSError) -> FineVLAError:
    return FineVLAError(
        "the output cannot be written",
        where=err.filename or "",
        expected="a disk with room, and leave to write there",
        found=os.strerror(err.errno or 0),
        remedy="make room, or give another --out; nothing half-written was left",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code. Reports go to stdout, everything else to stderr."""
    arguments = sys.argv[1:] if arguments is None else arguments
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    if _is_help(arguments):
        print(help_text())
        return 0
    if arguments[0] == "--version":
        print(f"finevla {__version__}")
        return 0
    if _is_group(arguments):
        print(help_text(arguments[:1]))
        return 0
    try:
        return call(*split_verb(arguments))
    except FineVLAError as err:
        print(f"error: {err}", file=sys.stderr)
        return REFUSED
    except OSError as err:
        if err.errno not in DISK_ERRORS:
            raise
        print(f"error: {_disk_error(err)}", file=sys.stderr)
        return REFUSED
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
