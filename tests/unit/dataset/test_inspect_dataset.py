"""`finevla inspect DATASET`: sound datasets are called sound, and every kind of damage is named."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fake_episode import fake_bag
from foreign_lerobot import write_foreign

from finevla.contract import keys, load_contract
from finevla.dataset.check import problems_of
from finevla.dataset.read import open_dataset
from finevla.stages.convert.verb import Config as ConvertConfig
from finevla.stages.convert.verb import convert
from finevla.stages.import_.verb import Config, import_dataset
from finevla.stages.inspect.look import look
from finevla.stages.inspect.verb import Config as InspectConfig
from finevla.stages.inspect.verb import main

CONTRACT = load_contract()
CAMERA = CONTRACT.cameras["cam_high"].key
FORMATS = ("v3.0", "v2.1")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("sound")
    for name in ("a", "b"):
        fake_bag(folder / "bags", name, seconds=0.9)
    for version in FORMATS:
        convert(ConvertConfig(bags=(folder / "bags",), out=folder / version, format=version))
    return {version: folder / version for version in FORMATS}


@pytest.mark.parametrize("version", FORMATS)
def test_what_we_write_is_sound(sound: dict[str, Path], version: str) -> None:
    finding = look(sound[version], CONTRACT)
    assert finding.problems == ()
    assert finding.facts["format"] == version


def test_what_others_wrote_is_sound_too(tmp_path: Path) -> None:
    foreign = write_foreign(tmp_path / "v21", "v2.1")
    assert problems_of(open_dataset(foreign)) == []
    import_dataset(Config(format="lerobot", source=foreign, out=tmp_path / "v30"))
    assert problems_of(open_dataset(tmp_path / "v30")) == []


def column(root: Path, key: str, change: Callable[[np.ndarray], Any]) -> None:
    """Changes a column of the last data file."""
    path = max((root / "data").rglob("*.parquet"))
    table = pq.read_table(path)
    rows = np.stack(table[key].to_numpy(zero_copy_only=False)).copy()
    changed = change(rows)
    rows = rows if changed is None else changed
    flat = pa.array(rows.reshape(-1))
    array = flat if rows.ndim == 1 else pa.FixedSizeListArray.from_arrays(flat, rows.shape[1])
    pq.write_table(table.set_column(table.column_names.index(key), key, array), path)


def put(place: int | tuple[int, int], value: float) -> Callable[[np.ndarray], None]:
    def change(rows: np.ndarray) -> None:
        rows[place] = value

    return change


def info(root: Path, change: Callable[[dict], Any]) -> None:
    path = root / "meta" / "info.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def video(root: Path) -> Path:
    return next(path for path in sorted((root / "videos").rglob("*.mp4")) if CAMERA in str(path))


def without_column(root: Path) -> None:
    path = max((root / "data").rglob("*.parquet"))
    pq.write_table(pq.read_table(path).drop_columns(["timestamp"]), path)


def other_statistics(root: Path) -> None:
    path = root / "meta" / "episodes_stats.jsonl"
    if path.exists():
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        rows[1]["stats"][keys.ACTION]["mean"][0] += 0.5
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return
    path = root / "meta" / "stats.json"
    document = json.loads(path.read_text())
    document[keys.ACTION]["mean"][0] += 0.5
    path.write_text(json.dumps(document))


def swapped_video(root: Path) -> None:
    others = [path for path in sorted((root / "videos").rglob("*.mp4")) if CAMERA in str(path)]
    others[-1].write_bytes(others[-1].read_bytes()[: len(others[-1].read_bytes()) // 2])


DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a column is missing": (without_column, "column is missing|data cannot be read"),
    "a column is wider": (
        lambda r: column(r, keys.ACTION, lambda x: np.hstack([x, x[:, :1]])),
        "another shape: 1 episode|another shape: 2 episodes",
    ),
    "a timestamp is off": (
        lambda r: column(r, "timestamp", put(-1, 9.0)),
        "timestamps are not .*has 9, not",
    ),
    "a frame is counted twice": (
        lambda r: column(r, "frame_index", put(-1, 1)),
        "frame_index does not count",
    ),
    "an index is off": (lambda r: column(r, "index", put(-2, 77)), "index does not count: .*has 77"),
    "a task that does not exist": (
        lambda r: column(r, "task_index", put(-1, 9)),
        "task_index without a task",
    ),
    "a value is not finite": (
        lambda r: column(r, keys.STATE, put((-1, 3), np.nan)),
        "observation.state is not finite: 1 episode, the first is 1: frame 9, value 3 is nan",
    ),
    "other statistics": (other_statistics, "statistics of action are not those of the data"),
    "a joint jumps": (
        lambda r: column(r, keys.ACTION, put((-1, 0), 1.5)),
        "action jumps: 1 episode, the first is 1: left_joint1 by",
    ),
    "degrees": (
        lambda r: column(r, keys.STATE, lambda x: np.degrees(x).astype(np.float32)),
        "leaves the range of the robot.*are these degrees",
    ),
    "a gripper in millimetres": (
        lambda r: column(r, keys.STATE, put((-1, 6), 7.0)),
        "leaves the range of the robot.*left_gripper = 7.000",
    ),
    "half a video": (swapped_video, f"{CAMERA} (cannot be used|has another number)"),
    "no video": (lambda r: video(r).unlink(), f"{CAMERA} cannot be used.*is missing"),
    "another size": (
        lambda r: info(r, lambda d: d["features"][CAMERA].update(shape=[120, 160, 3])),
        "has another size.*240, 320",
    ),
    "no data": (lambda r: shutil.rmtree(r / "data"), "data cannot be read: 2 episodes, the first is 0"),
}


@pytest.mark.parametrize("version", FORMATS)
@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_named(sound: dict[str, Path], tmp_path: Path, version: str, case: str) -> None:
    root = tmp_path / "set"
    shutil.copytree(sound[version], root)
    damage, words = DAMAGE[case]
    damage(root)
    problems = look(root, CONTRACT).problems
    assert problems
    assert re.search(words, "\n".join(problems), re.DOTALL)


def test_the_exit_code_says_it(sound: dict[str, Path], tmp_path: Path, capsys) -> None:
    assert main(InspectConfig(path=sound["v3.0"])) == 0
    assert "matches the contract" in capsys.readouterr().out
    root = tmp_path / "set"
    shutil.copytree(sound["v3.0"], root)
    column(root, "timestamp", put(-1, 9.0))
    assert main(InspectConfig(path=root)) == 1
    assert "timestamps" in capsys.readouterr().out
