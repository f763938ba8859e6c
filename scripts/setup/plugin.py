"""The LeRobot plugin: its metadata on the path, so that LeRobot finds it; its code stays in the checkout.

LeRobot looks for installed distributions by name. The environment is shared by checkouts, so the plugin is
installed into a folder of this one; `scripts/env.sh` puts the sources before it.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from console import run, say

SOURCE = Path("offline") / "lerobot_policy_finevla"
TARGET = Path("build") / "lerobot"
STAMP = TARGET / ".finevla_stamp"


def ensure(root: Path, venv: Path) -> None:
    """Installs the plugin's metadata unless they are there already."""
    stamp = root / STAMP
    wanted = hashlib.sha256(str(venv).encode() + (root / SOURCE / "pyproject.toml").read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        say("LeRobot plugin: up to date")
        return
    say("LeRobot plugin: installing")
    shutil.rmtree(root / TARGET, ignore_errors=True)
    scratch = root / "build" / "lerobot_source"  # a build leaves its traces where the sources are
    shutil.rmtree(scratch, ignore_errors=True)
    traces = shutil.ignore_patterns("*.egg-info", "build", "__pycache__")
    shutil.copytree(root / SOURCE, scratch, ignore=traces)
    flags = ["-q", "--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    command = [str(venv / "bin" / "python"), "-m", "pip", "install", *flags, "--target", str(root / TARGET)]
    run([*command, str(scratch)], show=lambda _: None, heartbeat=lambda: "installing ...", cwd=root)
    shutil.rmtree(scratch)
    stamp.write_text(wanted)
