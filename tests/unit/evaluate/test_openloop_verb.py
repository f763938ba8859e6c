"""`finevla evaluate openloop`: which episodes are held out, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from finevla.errors import FineVLAError
from finevla.stages.evaluate.openloop_verb import Config, _chosen

CACHE = SimpleNamespace(episodes=10, dataset_hash="d")
HERE = Path("nowhere")


def config(**changes) -> Config:
    return Config(HERE, HERE, **changes)


def run_in(folder: Path, **document) -> Path:
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps(document))
    return folder


def test_episodes_are_all_or_those_named() -> None:
    assert _chosen(config(episodes="all"), {}, CACHE) == list(range(10))
    assert _chosen(config(episodes="3, 1"), {}, CACHE) == [3, 1]


@pytest.mark.parametrize("text", ["10", "one", "", "1,-2"])
def test_episodes_that_are_not_there_are_refused(text: str) -> None:
    with pytest.raises(FineVLAError) as caught:
        _chosen(config(episodes=text), {}, CACHE)
    assert caught.value.where == "--episodes"


def test_the_training_run_names_what_it_held_out(tmp_path: Path) -> None:
    run = run_in(tmp_path / "run", dataset_hash="d", validation=[2, 5], manifest_hash="m")
    assert _chosen(config(train_dir=run), {"manifest_hash": "m"}, CACHE) == [2, 5]
    with pytest.raises(FineVLAError, match="not the one that the bundle was made of"):
        _chosen(config(train_dir=run), {"manifest_hash": "other"}, CACHE)


def test_a_bundle_may_name_them_itself() -> None:
    provenance = {"dataset_hash": "d", "validation": [1]}
    assert _chosen(config(), provenance, CACHE) == [1]
    with pytest.raises(FineVLAError, match="does not tell which episodes") as caught:
        _chosen(config(), {"dataset_hash": "d"}, CACHE)
    assert "--train-dir" in caught.value.remedy


def test_episodes_of_another_dataset_were_not_held_out(tmp_path: Path) -> None:
    run = run_in(tmp_path / "run", dataset_hash="other", validation=[2], manifest_hash="m")
    with pytest.raises(FineVLAError, match="trained on another dataset"):
        _chosen(config(train_dir=run), {"manifest_hash": "m"}, CACHE)


def test_a_run_that_held_nothing_out_is_told(tmp_path: Path) -> None:
    run = run_in(tmp_path / "run", dataset_hash="d", validation=[], manifest_hash="m")
    with pytest.raises(FineVLAError) as caught:
        _chosen(config(train_dir=run), {"manifest_hash": "m"}, CACHE)
    assert "--val-episodes was 0" in caught.value.found
