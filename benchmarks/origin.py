"""What benchmarks share: what a figure must name to be repeated, and how a report comes out."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any


def origin(command: str, *packages: str) -> dict[str, Any]:
    """The facts of this run, for its report."""
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip() or "unknown"
    return {
        "command": command,
        "commit": commit,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        "versions": {name: version(name) for name in packages},
    }


def report_flags(description: str) -> argparse.ArgumentParser:
    """A parser with the flags that say where the report goes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--out", type=Path, help="also write the JSON here")
    return parser


def finish(report: dict[str, Any], flags: argparse.Namespace, table: Callable[[dict[str, Any]], str]) -> int:
    """Prints and writes the report; the exit code says whether its floors hold."""
    text = json.dumps(report, indent=1)
    if flags.out is not None:
        flags.out.write_text(text + "\n")
    print(text if flags.json else table(report))
    return 0 if report["holds"] else 1
