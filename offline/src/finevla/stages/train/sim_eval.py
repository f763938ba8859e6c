"""Obedience in the simulator while a run goes on: the newest checkpoint, in processes of their own.

The commands are those that a user would give, `finevla export` and `finevla evaluate paired`, so a
figure on the curve is the figure of the command line, and nothing of the training process (random
numbers, threads, memory of the renderer) is touched.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finevla.errors import PolicyError
from finevla.stages.train.schedule import require

SIM_FOLDER = "sim"
_TAIL = 600
_LAUNCHER = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True, slots=True)
class Simulation:
    """Evaluations of a run in the simulator.

    Args:
        every: Updates between two evaluations; 0 for none.
        pairs: Pairs of instructions per factor.
        factors: As `finevla evaluate paired --factors` takes them.
        workers: Processes of an evaluation.

    Raises:
        PolicyError: A number is too small; the message names its flag.
    """

    every: int = 0
    pairs: int = 10
    factors: str = "all"
    workers: int = 1

    def __post_init__(self) -> None:
        """Refuses what cannot be run."""
        require({"--sim-every": self.every}, 0)
        require({"--sim-pairs": self.pairs, "--sim-workers": self.workers}, 1)

    def due(self, step: int, last: bool) -> bool:
        """Whether to evaluate after `step` updates."""
        return self.every > 0 and (last or step % self.every == 0)

    def check(self) -> None:
        """Finds out before hours of training that nothing could be evaluated.

        Raises:
            SimulationError: Nothing can render here.
            FineVLAError: There is no such factor.
        """
        if self.every == 0:
            return
        from finevla.sim.room import require_renderer
        from finevla.stages.evaluate.plan import row_names

        row_names(self.factors)
        require_renderer()

    def run(self, out: Path, step: int) -> dict[str, float]:
        """Exports the newest checkpoint of `out`, evaluates it, and keeps the result in `out/sim`.

        Returns:
            `figures` of the result.

        Raises:
            PolicyError: A command failed; its last words are in the message.
        """
        folder = out / SIM_FOLDER
        bundle, result = folder / f".step_{step:06d}", folder / f"step_{step:06d}.json"
        shutil.rmtree(bundle, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            _call(["export", str(out), "--out", str(bundle)])
            _call([
                *("evaluate", "paired", "--bundle", str(bundle), "--factors", self.factors),
                *("--n", str(self.pairs), "--workers", str(self.workers), "--json", str(result)),
            ])  # fmt: skip
        finally:
            shutil.rmtree(bundle, ignore_errors=True)
        return figures(json.loads(result.read_text()))


def figures(result: Mapping[str, Any]) -> dict[str, float]:
    """The figures of a paired evaluation that are followed over a run.

    Returns:
        `avg_id` (0 to 100), `success` (mean share over the rows), and `compliance/ROW` (share) per row.
    """
    rows: Mapping[str, Mapping[str, Any]] = result["factors"]
    found = {"success": sum(float(row["success"]) for row in rows.values()) / len(rows)}
    if result.get("avg_id") is not None:
        found["avg_id"] = float(result["avg_id"])
    return found | {f"compliance/{name}": float(row["compliance"]) for name, row in rows.items()}


def _call(arguments: Sequence[str]) -> None:
    """Runs one verb of the command line in a process of its own."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in _LAUNCHER and not name.startswith(("ACCELERATE_", "TORCHELASTIC_", "FSDP_"))
    }
    command = [sys.executable, "-m", "finevla", *arguments]
    done = subprocess.run(command, env=kept, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise PolicyError(
            "an evaluation in the simulator failed",
            where=f"finevla {arguments[0]}",
            expected="exit code 0",
            found=f"exit code {done.returncode}: {done.stderr.strip()[-_TAIL:]}",
            remedy="give the command by hand to see all of it; training goes on without these figures",
        )
