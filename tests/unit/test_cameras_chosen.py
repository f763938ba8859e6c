"""Some of the cameras: recorded, converted and named, the one that defines the frames always among them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fake_episode import fake_bag

from finevla.contract import load_contract
from finevla.errors import BagError, ContractError
from finevla.stages.convert.verb import Config, convert

CONTRACT = load_contract()
PIVOT = CONTRACT.sync.pivot
WRISTS = tuple(c.compressed_topic for name, c in CONTRACT.cameras.items() if name != PIVOT)


def test_names_come_back_in_the_order_of_the_contract() -> None:
    assert CONTRACT.chosen_cameras("") == tuple(CONTRACT.cameras)
    last = tuple(CONTRACT.cameras)[-1]
    assert CONTRACT.chosen_cameras(f"{last}, {PIVOT}") == (PIVOT, last)


@pytest.mark.parametrize("names", ["cam_nowhere", "cam_left_wrist"])
def test_cameras_that_make_no_frames_are_refused(names: str) -> None:
    with pytest.raises(ContractError, match="cannot make frames") as caught:
        CONTRACT.chosen_cameras(names)
    assert PIVOT in caught.value.expected


@pytest.mark.parametrize("version", ["v3.0", "v2.1"])
def test_a_bag_without_wrist_cameras_converts_where_they_are_not_asked_for(tmp_path: Path, version) -> None:
    bag = fake_bag(tmp_path / "bags", without=WRISTS)
    with pytest.raises(BagError, match="lacks a camera") as caught:
        convert(Config((bag,), tmp_path / "all", format=version))
    assert "--cameras" in str(caught.value)
    counts = convert(Config((bag,), tmp_path / "one", format=version, cameras=PIVOT))
    assert counts["episodes"] == 1
    features = json.loads((tmp_path / "one" / "meta" / "info.json").read_text())["features"]
    assert [key for key in features if "images" in key] == [CONTRACT.cameras[PIVOT].key]


def test_a_camera_that_is_not_kept_leaves_no_trace(tmp_path: Path) -> None:
    bag = fake_bag(tmp_path / "bags")
    lean = fake_bag(tmp_path / "lean", without=WRISTS)
    hashes = {
        convert(Config((path,), tmp_path / f"out_{path.parent.name}", cameras=PIVOT))["dataset_hash"]
        for path in (bag, lean)
    }
    assert len(hashes) == 1
