"""Several processes make the same policy as one: the batch is divided, not multiplied."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from finevla.stages.train.checkpoint import checkpoint_weights, newest_checkpoint

SCRIPT = Path(__file__).parents[2] / "support" / "train_ranks.py"


def run(out: Path, head: str, *, processes: int, parts: int, port: int) -> dict[str, np.ndarray]:
    # `accelerate launch` starts several CPU processes through MPI only; torchrun starts them anywhere.
    many = ["-m", "torch.distributed.run", "--nproc_per_node", str(processes), "--master_port", str(port)]
    command = [sys.executable, *(many if processes > 1 else []), str(SCRIPT), str(out), head, str(parts)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (out / "processes").read_text() == str(processes)
    return checkpoint_weights(newest_checkpoint(out))


@pytest.mark.slow
@pytest.mark.parametrize("head", ["oft", "flow"])
def test_two_processes_are_one_process_in_two_parts(tmp_path: Path, head: str, free_port: int) -> None:
    one = run(tmp_path / "one", head, processes=1, parts=2, port=free_port)
    two = run(tmp_path / "two", head, processes=2, parts=1, port=free_port)
    # Where a gradient is almost zero, Adam turns its rounding into a step of full length.
    apart = np.concatenate([np.abs(one[name] - two[name]).ravel() for name in one])
    assert apart.mean() < 2e-6
    lines = [
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    ]
    assert [line["step"] for line in lines[0]] == [line["step"] for line in lines[1]] == [2, 4]
    for first, second in zip(*lines, strict=True):
        assert first["loss"] == pytest.approx(second["loss"], rel=1e-4)
        assert first["validation_loss"] == pytest.approx(second["validation_loss"], rel=1e-3)
