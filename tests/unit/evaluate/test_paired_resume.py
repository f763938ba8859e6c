"""What was measured is kept on disk, and the same command goes on from there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("sapien", reason="sapien is not installed (requirements/sim.txt)")

from paired_cases import outcome, ran

from finevla.errors import FineVLAError
from finevla.stages.evaluate import measure
from finevla.stages.evaluate.outcome import ProbeResult, RunResult
from finevla.stages.evaluate.paired import plan_pairs
from finevla.stages.evaluate.paired_verb import Config, main
from finevla.stages.evaluate.resume import Ledger

CONFIG = {"factors": ["arm"], "n": 2, "max_frames": None}


@pytest.fixture
def pairs():
    return plan_pairs(["order"], ["stack_blocks_two"], 2, 1000)


def test_an_outcome_comes_back_as_it_was(tmp_path, pairs):
    path = tmp_path / "deep" / "a.partial.jsonl"
    goal = pairs[0].goals[0]
    probe = ProbeResult("empty", "", "refused", RunResult.refusal(goal, "empty"))
    kept = replace(outcome(pairs[0], probes=[probe]), film=b"\x00movie", film_error="")
    Ledger(path, CONFIG).add(kept)
    again = Ledger(path, CONFIG)
    assert again.outcome(pairs[0]) == kept
    assert again.outcome(pairs[0]).runs[0].observed["order"] == goal.order
    assert again.outcome(pairs[1]) is None
    again.close()
    assert not path.exists()


def test_a_line_that_was_cut_off_is_dropped_and_run_again(tmp_path, pairs):
    path = tmp_path / "a.jsonl"
    ledger = Ledger(path, CONFIG)
    for pair in pairs:
        ledger.add(outcome(pair))
    path.write_text(path.read_text()[:-40])
    again = Ledger(path, CONFIG)
    assert again.outcome(pairs[0]) is not None
    assert again.outcome(pairs[1]) is None
    again.add(outcome(pairs[1]))
    assert Ledger(path, CONFIG).outcome(pairs[1]) == outcome(pairs[1])


def test_another_configuration_is_refused_by_name(tmp_path, pairs):
    path = tmp_path / "a.jsonl"
    Ledger(path, CONFIG).add(outcome(pairs[0]))
    with pytest.raises(FineVLAError, match="another command") as caught:
        Ledger(path, CONFIG | {"n": 3})
    assert "n=2" in caught.value.expected
    assert "n=3" in caught.value.found
    assert Ledger(path, CONFIG).outcome(pairs[0]) is not None, "the refusal must not cost what was measured"


@pytest.mark.parametrize("text", ["not json\n", '["a"]\n', "{head}{}\n", "{head}[1]\n"])
def test_a_damaged_file_is_refused(tmp_path, text):
    path = tmp_path / "a.jsonl"
    Ledger(path, CONFIG)
    text = text.replace("{head}", path.read_text())
    path.write_text(text)
    with pytest.raises(FineVLAError, match="damaged"):
        Ledger(path, CONFIG)
    assert path.read_text() == text


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(FineVLAError, match="cannot be kept"):
        Ledger(tmp_path / "file" / "a.jsonl", CONFIG)


def test_an_interrupted_run_goes_on_and_gives_the_same(tmp_path, monkeypatch):
    done: list[tuple[str, int]] = []
    fail_at: list[int] = []

    def fake(runner, jobs, workers):
        for job in jobs:
            if len(done) in fail_at:
                raise KeyboardInterrupt
            done.append((job.pair.factor, job.pair.number))
            yield replace(outcome(job.pair), runs=tuple(ran(goal, goal) for goal in job.pair.goals))

    monkeypatch.setattr(measure, "outcomes_of", fake)
    whole, parts = tmp_path / "whole.json", tmp_path / "parts.json"
    assert main(Config(n=3, policy="expert", json=whole)) == 0
    done.clear()
    fail_at.append(4)
    config = Config(n=3, policy="expert", json=parts)
    with pytest.raises(KeyboardInterrupt):
        main(config)
    partial = tmp_path / "parts.json.partial.jsonl"
    assert len(partial.read_text().splitlines()) == 5
    with pytest.raises(FineVLAError, match="another command"):
        main(replace(config, n=4))
    fail_at.clear()
    assert main(config) == 0
    assert sorted(done) == [(factor, i) for factor in ("arm", "color") for i in range(3)], "none is run twice"
    assert not partial.exists()
    documents = [json.loads(path.read_text()) for path in (whole, parts)]
    for document in documents:
        for key in ("seconds", "timing"):
            document["provenance"].pop(key)
    assert documents[0] == documents[1]


ORPHAN = """
import os, time
from finevla.stages.pool import worker_pool
if __name__ == "__main__":
    pool = worker_pool(1)
    print(pool.submit(os.getpid).result(), flush=True)
    time.sleep(60)
"""


def test_workers_end_when_the_command_was_killed(tmp_path):
    script = tmp_path / "pool.py"
    script.write_text(ORPHAN)
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as parent:
        worker = int(parent.stdout.readline())
        os.kill(worker, 0)
        parent.kill()
    deadline = time.monotonic() + 20
    while alive(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(worker)


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
