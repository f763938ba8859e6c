"""Which text of an episode is raw and which is fine-grained, whatever the origin of the data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from finevla.errors import DatasetError
from finevla.stages.train.texts import read_texts


def record(*rows: tuple[str, str | None]) -> dict:
    return {
        "episodes": [{"episode_index": i, "level": level, "raw": raw} for i, (level, raw) in enumerate(rows)]
    }


def test_texts_of_every_origin(tmp_path: Path) -> None:
    tasks = {0: "lift it", 1: "lift it left", 2: "turn it"}

    def texts(rows: dict | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
        found = read_texts(tmp_path, tasks, rows)
        return found.fine, found.raw

    # Own recordings: one text per episode, whatever its level.
    assert texts(record(("raw", None), ("fine", None), ("raw", None))) == (tuple(tasks.values()), ("",) * 3)
    assert texts(None) == (tuple(tasks.values()), ("",) * 3)
    # Some told twice: the others keep what they are.
    mixed = record(("raw", None), ("fine", "lift it"), ("fine", None))
    assert texts(mixed) == (("", "lift it left", "turn it"), ("lift it", "lift it", ""))
    # FineVLA's own layout: the task is raw, the file tells the fine text of some.
    (tmp_path / "meta").mkdir()
    path = tmp_path / "meta" / "FineGrainedInstruction.jsonl"
    lines = [
        {"episode_id": 1, "FineGrainedInstruction": ["Reach.", "Lift."]},
        {"episode_id": 2, "FineGrainedInstruction": "Turn."},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert texts(None) == (("", "Reach. Lift.", "Turn."), tuple(tasks.values()))
    # Annotated own recordings of raw level.
    assert texts(record(*[("raw", None)] * 3)) == (("", "Reach. Lift.", "Turn."), tuple(tasks.values()))
    with pytest.raises(DatasetError, match="other episodes"):
        texts(record(("raw", None)))
    path.write_text('{"episode": 1}\n')
    with pytest.raises(DatasetError, match="fine-grained instructions cannot be read"):
        texts(None)
