"""`make setup`: packages, environment, kernels, ROS 2 workspace, LeRobot plugin; each only if missing."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import debian
import environment
import kernel
import plugin
import workspace
from console import SetupError, say

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Sets everything up and returns an exit code."""
    try:
        if platform.machine() != "x86_64":
            raise SetupError(f"{platform.machine()} is not supported: SAPIEN's wheels are for x86_64")
        debian.ensure()
        venv = environment.ensure(ROOT)
        kernel.ensure(ROOT)
        workspace.ensure(ROOT, venv)
        plugin.ensure(ROOT, venv)
    except (SetupError, subprocess.CalledProcessError) as err:
        print(f"error: {err}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted: `make setup` goes on with the first unfinished step", file=sys.stderr)
        return 130
    say("ready: `. scripts/env.sh` enters the environment, `finevla doctor` checks it")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
