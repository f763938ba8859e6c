"""Outputs are whole or absent."""

import json
from pathlib import Path

import pytest

from finevla.errors import FineVLAError
from finevla.stages.report import Rejected, atomic_directory, write_report


def test_the_output_appears_with_success_only(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    with atomic_directory(out) as folder:
        (folder / "file").write_text("x")
        assert not out.exists()
    assert (out / "file").read_text() == "x"
    assert [p.name for p in out.parent.iterdir()] == ["out"]


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_directory(tmp_path / "out") as folder:
        (folder / "absent" / "file").write_text("x")
    assert not list(tmp_path.iterdir())


def test_what_is_there_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("keep")
    with pytest.raises(FineVLAError, match="exists already"), atomic_directory(tmp_path / "out"):
        pass
    assert (tmp_path / "out" / "mine").read_text() == "keep"


def test_an_empty_folder_may_be_the_output(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with atomic_directory(tmp_path / "out") as folder:
        (folder / "file").write_text("x")
    assert (tmp_path / "out" / "file").exists()


def test_the_report_counts_what_was_rejected(tmp_path: Path) -> None:
    write_report(tmp_path, "stage", {"path": tmp_path}, {"n": 3}, 1.23456, [Rejected("a", "why", "words")])
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["counts"] == {"n": 3, "rejected": 1}
    assert report["config"] == {"path": str(tmp_path)}
    assert json.loads((tmp_path / "rejected.jsonl").read_text())["reason"] == "why"
