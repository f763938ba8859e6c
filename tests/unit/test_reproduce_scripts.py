"""The study of mixes, with a `finevla` that only writes down what it was asked for."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CELLS = sorted((ROOT / "docs" / "results" / "sweep" / "cells").glob("*.json"))
STUB = """
finevla() {
    printf '%q ' "$@" >> "$CALLS"; echo >> "$CALLS"
    [[ $1 != sweep ]] || touch "$WORK"/sweep/{table.md,summary.json,curve.svg,curve.png,cells/new.json}
}
export -f finevla
exec bash scripts/reproduce_sweep.sh
"""
"""The exported function stands before the program of that name."""


@pytest.fixture
def calls(tmp_path: Path) -> list[list[str]]:
    """What the script asks of finevla, word by word, in order."""
    results, log = tmp_path / "results", tmp_path / "calls"
    (results / "cells").mkdir(parents=True)
    (results / "cells" / "old.json").write_text("{}")
    environment = {
        **{name: value for name, value in os.environ.items() if name != "TRAIN_FLAGS"},
        "WORK": str(tmp_path / "work"),
        "RESULTS": str(results),
        "CALLS": str(log),
    }
    done = subprocess.run(
        ["bash", "-c", STUB], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "work" / "sweep" / "cells" / "old.json").exists(), (
        "cells that are there are not made again"
    )
    assert {path.name for path in (results / "cells").iterdir()} == {"old.json", "new.json"}
    return [shlex.split(line) for line in log.read_text().splitlines()]


def test_it_records_converts_and_sweeps_both_heads(calls: list[list[str]]) -> None:
    assert [call[0] for call in calls] == ["sim", "convert", "sweep", "sweep"]
    assert [call[call.index("--heads") + 1] for call in calls[2:]] == ["oft", "flow"]
    assert calls[0][calls[0].index("--episodes") + 1] == "1200"


def test_phrases_of_two_words_stay_whole(calls: list[list[str]]) -> None:
    flags = next(word for word in calls[2] if word.startswith("--train-flags=")).partition("=")[2]
    words = shlex.split(flags)
    start = words.index("--mirror-without")
    assert words[start + 1 : start + 3] == ["left bowl", "right bowl"]
    assert words[start + 3].startswith("--")


@pytest.mark.parametrize("cell", CELLS, ids=lambda path: path.stem)
def test_the_cells_in_the_results_are_of_these_settings(calls: list[list[str]], cell: Path) -> None:
    """Otherwise the sweep would refuse to go on from them."""
    config = json.loads(cell.read_text())["config"]
    sweep = calls[2]
    assert f"--train-flags={config['train_flags']}" in sweep
    for flag, key in (("--steps", "steps"), ("--n", "n"), ("--probes", "probes"), ("--factors", "factors")):
        assert sweep[sweep.index(flag) + 1] == str(config[key])
