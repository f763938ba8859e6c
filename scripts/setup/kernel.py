"""The DTW kernels: one C++ file, compiled with the compiler that the ROS workspace needs anyway."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from console import SetupError, say

FOLDER = Path("offline") / "src" / "finevla" / "stages" / "curate" / "dtw"
SOURCES = "*.cc", "*.inc", "flags.txt"


def ensure(root: Path) -> None:
    """Compiles the library unless it is there and of these sources."""
    folder = root / FOLDER
    digest = hashlib.sha256()
    for path in sorted(path for pattern in SOURCES for path in folder.glob(pattern)):
        digest.update(path.read_bytes())
    library, stamp = folder / "_lanes.so", folder / "_lanes.stamp"
    if library.exists() and stamp.exists() and stamp.read_text() == digest.hexdigest():
        say("DTW kernels: up to date")
        return
    compiler = os.environ.get("CXX") or next((c for c in ("c++", "g++", "clang++") if shutil.which(c)), "")
    if not compiler:
        raise SetupError("no C++ compiler found\n  remedy: sudo apt-get install g++, or set CXX")
    partial = folder / f"_lanes.{os.getpid()}.part"
    flags = [*(folder / "flags.txt").read_text().split(), "-fPIC", "-shared"]
    subprocess.run([*compiler.split(), *flags, str(folder / "lanes.cc"), "-o", str(partial)], check=True)
    partial.replace(library)
    stamp.write_text(digest.hexdigest())
    say("DTW kernels: compiled")
