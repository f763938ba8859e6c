"""Every kind of bad episode is named, listed and left out; the good ones beside it are kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from foreign_lerobot import CAMERA

from finevla.contract import unified
from finevla.dataset.check import problems_of
from finevla.dataset.modality import Modality, Slice
from finevla.dataset.read import open_dataset
from finevla.dataset.stats import values
from finevla.errors import DatasetError
from finevla.stages.normalize.verb import Config, normalize


def nan(episode) -> None:
    episode.state[4, 2] = np.nan


def endless(episode) -> None:
    episode.action[7, 9] = np.inf


def constant(episode) -> None:
    episode.state[:] = episode.state[0]
    episode.action[:] = episode.state[0]


def frozen_action(episode) -> None:
    episode.action[:] = episode.action[0]


def opposite(episode) -> None:
    episode.action[:] = 2 * episode.state.mean(axis=0) - episode.state


def no_left_arm(episode) -> None:
    episode.state[:, :7] = 0.0
    episode.action[:, :7] = 0.0


def left_arm_of_nan(episode) -> None:
    episode.state[:, :6] = np.nan


def no_task(episode) -> None:
    episode.task = "  "


def short(episode) -> None:
    episode.state, episode.action = episode.state[:9], episode.action[:9]


def one_frame(episode) -> None:
    episode.state, episode.action = episode.state[:1], episode.action[:1]


BAD = {
    nan: ("not_finite", "state of left_joint, frame 4, value 2"),
    endless: ("not_finite", "action of right_joint, frame 7, value 2"),
    constant: ("constant", "nothing moves"),
    frozen_action: ("divergence", "the other stands still"),
    opposite: ("divergence", "at most 0.5"),
    no_left_arm: ("missing_arm", "the left arm is missing"),
    left_arm_of_nan: ("missing_arm", "NaN in all frames"),
    no_task: ("no_task", "empty or missing"),
    short: ("too_short", "9 frames, at least 10"),
    one_frame: ("one_frame", "1 frame"),
}


def reports(out: Path) -> tuple[list[dict], dict]:
    rows = [json.loads(line) for line in (out / "rejected.jsonl").read_text().splitlines()]
    return rows, json.loads((out / "filter_report.json").read_text())


@pytest.mark.parametrize("spoil", BAD, ids=lambda f: f.__name__)
@pytest.mark.parametrize("to", ["v3.0", "v2.1"])
def test_a_bad_episode_is_named_and_the_others_are_kept(
    kit, spoil: Callable, to: str, tmp_path: Path
) -> None:
    reason, said = BAD[spoil]
    episodes = [kit.moving(20, i) for i in range(3)]
    spoil(episodes[1])
    source = kit.write(tmp_path / "lab", episodes, to)
    normalize(Config(datasets=(source,), out=tmp_path / "out"))
    rows, report = reports(tmp_path / "out")
    assert [row["item"] for row in rows] == ["episode 1"]
    assert rows[0]["reason"] == reason
    assert said in rows[0]["message"]
    assert report["episodes"]["1"]["reasons"][0] == reason
    assert [report["episodes"][n]["reasons"] for n in "02"] == [[], []]
    dataset = open_dataset(tmp_path / "out")
    assert len(dataset.rows) == 2
    assert list(problems_of(dataset)) == []
    np.testing.assert_array_equal(values(dataset.table(1), "action"), episodes[2].action)


def test_an_arm_at_zero_with_an_open_gripper_is_there(kit, tmp_path: Path) -> None:
    episode = kit.moving(20)
    episode.state[:, :6] = episode.action[:, :6] = 0.0
    source = kit.write(tmp_path / "lab", [episode])
    normalize(Config(datasets=(source,), out=tmp_path / "out"))
    assert reports(tmp_path / "out")[0] == []


def test_an_episode_has_all_its_reasons(kit, tmp_path: Path) -> None:
    episodes = [kit.moving(20), kit.moving(6)]
    episodes[1].task = ""
    opposite(episodes[1])
    source = kit.write(tmp_path / "lab", episodes)
    normalize(Config(datasets=(source,), out=tmp_path / "out"))
    rows, report = reports(tmp_path / "out")
    assert report["episodes"]["1"]["reasons"] == ["too_short", "no_task", "divergence"]
    assert report["summary"]["reasons"] == {"too_short": 1, "no_task": 1, "divergence": 1}
    assert len(rows) == report["summary"]["rejected"] == 1
    assert report["episodes"]["1"]["score"] > 0.5


def rewrite(root: Path, number: int, change: Callable[[pa.Table], pa.Table]) -> None:
    """Changes the data file of an episode of a v2.1 dataset."""
    path = root / f"data/chunk-000/episode_{number:06d}.parquet"
    pq.write_table(change(pq.read_table(path)), path)


def replaced(table: pa.Table, name: str, rows: object) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, pa.array(rows))


def test_an_episode_of_another_embodiment_is_left_out(kit, tmp_path: Path) -> None:
    source = kit.write(tmp_path / "lab", [kit.moving(20, i) for i in range(4)], "v2.1")

    def narrow(table: pa.Table) -> pa.Table:
        return replaced(table, "action", [row[:7] for row in table["action"].to_pylist()])

    rewrite(source, 0, narrow)
    path = source / "meta/episodes.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for number, robot in enumerate(("cobotmagic", "cobotmagic", "franka", "cobotmagic")):
        lines[number]["robot_type"] = robot
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    normalize(Config(datasets=(source,), out=tmp_path / "out"))
    rows, _ = reports(tmp_path / "out")
    assert [(row["item"], row["reason"]) for row in rows] == [
        ("episode 0", "other_shape"),
        ("episode 2", "other_embodiment"),
    ]
    assert "7 dimensions" in rows[0]["message"]
    assert "of franka, the dataset of cobotmagic" in rows[1]["message"]


def test_times_that_are_not_the_rates_are_told_and_an_offset_is_taken_away(kit, tmp_path: Path) -> None:
    source = kit.write(tmp_path / "lab", [kit.moving(20, i) for i in range(3)], "v2.1")
    rewrite(source, 0, lambda t: replaced(t, "timestamp", np.float32(7.0) + t["timestamp"].to_numpy()))
    rewrite(source, 1, lambda t: replaced(t, "timestamp", np.float32(1.1) * t["timestamp"].to_numpy()))
    normalize(Config(datasets=(source,), out=tmp_path / "out"))
    rows, _ = reports(tmp_path / "out")
    assert [(row["item"], row["reason"]) for row in rows] == [("episode 1", "other_times")]
    dataset = open_dataset(tmp_path / "out")
    seconds = values(dataset.table(0), "timestamp")
    np.testing.assert_allclose(seconds, np.arange(20) / kit.fps, atol=1e-5)
    assert list(problems_of(dataset)) == []


@pytest.mark.parametrize("damage", ["cut", "gone", "short"])
def test_a_damaged_video_is_the_episodes_fault(kit, damage: str, tmp_path: Path) -> None:
    from foreign_lerobot import write_video

    source = kit.write(tmp_path / "lab", [kit.moving(20, i) for i in range(3)], "v2.1")
    path = source / f"videos/chunk-000/{CAMERA}/episode_000002.mp4"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:500])
    elif damage == "gone":
        path.unlink()
    else:
        path.unlink()
        write_video(path, 0, 19)
    normalize(Config(datasets=(source,), out=tmp_path / "out"))
    rows, report = reports(tmp_path / "out")
    assert [(row["item"], row["reason"]) for row in rows] == [("episode 2", "bad_video")]
    assert report["summary"]["kept"] == len(open_dataset(tmp_path / "out").rows) == 2


def test_a_data_file_that_is_cut_is_the_episodes_fault(kit, tmp_path: Path) -> None:
    source = kit.write(tmp_path / "lab", [kit.moving(20, i) for i in range(2)], "v2.1")
    path = source / "data/chunk-000/episode_000000.parquet"
    path.write_bytes(path.read_bytes()[:-40])
    normalize(Config(datasets=(source,), out=tmp_path / "out"))
    assert [(r["item"], r["reason"]) for r in reports(tmp_path / "out")[0]] == [("episode 0", "unreadable")]


QUATERNION = ["x", "y", "z", "qx", "qy", "qz", "qw"]


def poses(kit, norm: float, seed: int = 0):
    """One arm whose quaternions have this norm, and flip their sign from frame to frame."""
    episode = kit.moving(20, seed)
    t = 0.1 * np.arange(20)[:, None]
    turn = (
        np.hstack([0 * t, 0 * t, np.sin(t / 2), np.cos(t / 2)]) * np.where(np.arange(20) % 2, -1, 1)[:, None]
    )
    rows = np.hstack([0.2 * np.sin(t + np.arange(3)), norm * turn]).astype(np.float32)
    episode.state, episode.action = rows, rows.copy()
    return episode


def test_quaternions_of_norm_0_9_are_refused_and_rounded_ones_put_right(kit, tmp_path: Path) -> None:
    part = Slice("observation.state", 0, 7, rotation="quaternion")
    modality = Modality(
        state={"right_eef": part},
        action={"right_eef": Slice("action", 0, 7, rotation="quaternion")},
        video={"wrist": CAMERA},
    )
    episodes = [poses(kit, norm) for norm in (1.0, 0.9, 0.999)]
    source = kit.write(tmp_path / "lab", episodes, names=QUATERNION, robot="franka", modality=modality)
    normalize(Config(datasets=(source,), out=tmp_path / "out"))
    rows, _ = reports(tmp_path / "out")
    assert [(row["item"], row["reason"]) for row in rows] == [("episode 1", "quaternion_norm")]
    assert "found: 0.9; 20 of 20 frames" in rows[0]["message"]
    dataset = open_dataset(tmp_path / "out")
    for number in range(2):
        for key in (unified.STATE, unified.ACTION):
            turns = values(dataset.table(number), key)[:, 39:43].astype(float)
            np.testing.assert_allclose(np.linalg.norm(turns, axis=1), 1.0, atol=1e-6)
            assert (np.einsum("ij,ij->i", turns[1:], turns[:-1]) > 0.9).all()


def test_an_eef_action_without_an_eef_state_is_refused(kit, tmp_path: Path) -> None:
    modality = Modality(
        state={"right_gripper": Slice("observation.state", 0, 1)},
        action={"right_eef": Slice("action", 0, 7, rotation="quaternion")},
        video={"wrist": CAMERA},
    )
    source = kit.write(tmp_path / "lab", [poses(kit, 1.0)], names=QUATERNION, modality=modality)
    with pytest.raises(DatasetError, match="the action of right_eef has no state"):
        normalize(Config(datasets=(source,), out=tmp_path / "out"))


def test_the_automatic_threshold_drops_the_worst(kit, tmp_path: Path) -> None:
    episodes = [kit.moving(20, i) for i in range(5)]
    opposite(episodes[3])
    source = kit.write(tmp_path / "lab", episodes)
    normalize(Config(datasets=(source,), out=tmp_path / "out", threshold="auto", percentile=75.0))
    rows, report = reports(tmp_path / "out")
    scores = [report["episodes"][str(n)]["score"] for n in range(5)]
    assert report["summary"]["threshold"] == pytest.approx(np.percentile(scores, 75.0))
    assert [row["item"] for row in rows] == ["episode 3"]


def test_records_of_episodes_are_counted_anew(kit, tmp_path: Path) -> None:
    source = kit.write(tmp_path / "lab", [kit.moving(20), kit.moving(3), kit.moving(20, 2)])
    hashes = ["a" * 64, "b" * 64, "c" * 64]
    record = {
        "contract": kit.contract.document,
        "contract_hash": kit.contract.hash,
        "dataset_hash": "whole",
        "language_hash": "texts",
        "fine_grained_episodes": 3,
        "described_episodes": 1,
        "episodes": [
            {"episode_index": i, "hash": h, "level": "fine", "raw": "lift" if i == 1 else None}
            for i, h in enumerate(hashes)
        ],
    }
    (source / "meta/finevla.json").write_text(json.dumps(record))
    info = json.loads((source / "meta/info.json").read_text())
    info["splits"] = {"train": "0:2", "val": "2:3"}
    (source / "meta/info.json").write_text(json.dumps(info))
    normalize(Config(datasets=(source,), out=tmp_path / "out"))
    import hashlib

    text = f"{kit.contract.hash} {kit.fps}\n{hashes[0]}\n{hashes[2]}\n"
    kept = json.loads((tmp_path / "out/meta/finevla.json").read_text())
    assert kept["dataset_hash"] == hashlib.sha256(text.encode()).hexdigest(), (
        "as if only these were converted"
    )
    assert [(row["episode_index"], row["hash"]) for row in kept["episodes"]] == [
        (0, hashes[0]),
        (1, hashes[2]),
    ]
    assert (kept["fine_grained_episodes"], kept["described_episodes"]) == (2, 0)
    assert "language_hash" not in kept
    assert open_dataset(tmp_path / "out").info["splits"] == {"train": "0:1", "val": "1:2"}
    told = json.loads((tmp_path / "out/meta/unified.json").read_text())
    assert told["source"]["dataset_hash"] == "whole"
