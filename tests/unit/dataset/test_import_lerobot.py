"""`finevla import lerobot`: both directions without a loss, opened by LeRobot itself, damage refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from foreign_lerobot import CAMERA, FPS, LENGTHS, TASKS, TASKS_OF, columns, write_foreign, write_video

from finevla.dataset.join import concatenate
from finevla.dataset.read import open_dataset
from finevla.dataset.video import probe
from finevla.errors import DatasetError
from finevla.stages.import_.difference import compare
from finevla.stages.import_.verb import Config, import_dataset, main


def brought(source: Path, out: Path, to: str) -> Path:
    _, findings = import_dataset(Config(format="lerobot", source=source, out=out, to=to))
    assert {f.what: f.verdict for f in findings if f.verdict not in {"same", "added"}} == {}
    return out


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_foreign(tmp_path_factory.mktemp("lab") / "v21", "v2.1")


@pytest.fixture(scope="module")
def v30(foreign: Path) -> Path:
    return brought(foreign, foreign.parent / "v30", "v3.0")


def frames_of(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def video(root: Path, episode: int) -> Path:
    return root / f"videos/chunk-000/{CAMERA}/episode_{episode:06d}.mp4"


def test_lerobot_opens_it_and_shows_the_same_frames(foreign: Path, v30: Path) -> None:
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    dataset = LeRobotDataset("local/other", root=v30, return_uint8=True)
    assert (dataset.num_episodes, dataset.num_frames, dataset.fps) == (len(LENGTHS), sum(LENGTHS), FPS)
    index = 0
    for episode, length in enumerate(LENGTHS):
        pictures, table = frames_of(video(foreign, episode)), columns(episode)
        for frame in range(length):
            item = dataset[index]
            assert item["episode_index"] == episode
            wanted = np.asarray(table["action"][frame].as_py(), dtype=np.float32)
            np.testing.assert_array_equal(item["action"].numpy(), wanted)
            assert item["task"] == TASKS[table["task_index"][frame].as_py()]
            got = np.moveaxis(item[CAMERA].numpy(), 0, -1)
            assert np.abs(got.astype(int) - pictures[frame]).max() <= 2, "decoders differ by rounding only"
            index += 1


def test_there_and_back_nothing_is_lost(foreign: Path, v30: Path, tmp_path: Path) -> None:
    back = brought(v30, tmp_path / "back", "v2.1")
    assert all(f.verdict in {"same", "added"} for f in compare(open_dataset(foreign), open_dataset(back)))
    for episode in range(len(LENGTHS)):
        table = pq.read_table(back / f"data/chunk-000/episode_{episode:06d}.parquet")
        assert table.equals(pa.table(columns(episode))), "columns that LeRobot does not know, too"
        np.testing.assert_array_equal(frames_of(video(back, episode)), frames_of(video(foreign, episode)))
    told, kept = (json.loads((root / "meta/info.json").read_text()) for root in (foreign, back))
    assert told == kept, "the whole info.json, another lab's field and a split included"
    for name in ("tasks.jsonl", "episodes.jsonl", "episodes_stats.jsonl", "modality.json"):
        lines = [
            [json.loads(x) for x in (root / "meta" / name).read_text().splitlines()]
            for root in (foreign, back)
        ]
        assert lines[0] == lines[1], name
    again = brought(back, tmp_path / "again", "v3.0")
    for name in ("meta/stats.json", "meta/info.json", f"videos/{CAMERA}/chunk-000/file-000.mp4"):
        assert (again / name).read_bytes() == (v30 / name).read_bytes(), name


def test_the_older_format_gets_statistics_of_its_episodes(tmp_path: Path) -> None:
    old = write_foreign(tmp_path / "v20", "v2.0")
    new = open_dataset(brought(old, tmp_path / "v21", "v2.1"))
    for episode, length in enumerate(LENGTHS):
        stats = new.stats(episode)
        rows = np.array([row.as_py() for row in columns(episode)["action"]], dtype=np.float64)
        np.testing.assert_allclose(stats["action"]["mean"], rows.mean(axis=0), rtol=1e-6)
        assert stats["action"]["count"] == [length]
        first = frames_of(video(old, episode))[::10] / 255.0
        np.testing.assert_allclose(stats[CAMERA]["mean"].ravel(), first.mean(axis=(0, 1, 2)), atol=1e-6)
    assert new.tasks_of(1) == tuple(TASKS[t] for t in TASKS_OF[1])


def test_a_value_that_is_not_a_number_is_the_same_there(tmp_path: Path) -> None:
    root = write_foreign(tmp_path / "v21", "v2.1")
    table = pq.read_table(data(root))
    rewards = table["next.reward"].to_numpy().copy()
    rewards[2] = np.nan
    place = table.column_names.index("next.reward")
    pq.write_table(table.set_column(place, "next.reward", pa.array(rewards)), data(root))
    brought(root, tmp_path / "v30", "v3.0")


def test_what_lerobot_wrote_itself_can_go_back_to_the_older_format(tmp_path: Path) -> None:
    """AV1 as LeRobot encodes it; every episode begins with a key frame inside a file of several."""
    from foreign_lerobot import picture
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    features = {
        "observation.state": {"dtype": "float32", "shape": (2,), "names": ["a", "b"]},
        "action": {"dtype": "float32", "shape": (2,), "names": ["a", "b"]},
        CAMERA: {"dtype": "video", "shape": (48, 64, 3), "names": ["height", "width", "channels"]},
    }
    root = tmp_path / "lerobot"
    made = LeRobotDataset.create("local/x", fps=FPS, features=features, root=root)
    for episode, length in enumerate((6, 9)):
        for i in range(length):
            vector = np.array([episode, i], dtype=np.float32)
            frame = {"observation.state": vector, "action": vector, CAMERA: picture(10 * episode + i)}
            made.add_frame({**frame, "task": f"task {episode}"})
        made.save_episode()
    made.finalize()
    back = brought(root, tmp_path / "v21", "v2.1")
    both = frames_of(next((root / "videos").rglob("*.mp4")))
    np.testing.assert_array_equal(frames_of(video(back, 0)), both[:6])
    np.testing.assert_array_equal(frames_of(video(back, 1)), both[6:])


def test_videos_of_two_encodings_do_not_share_a_file(tmp_path: Path) -> None:
    root = write_foreign(tmp_path / "v21", "v2.1")
    write_video(video(root, 1), 20, LENGTHS[1], profile="baseline", bf="0")
    out = brought(root, tmp_path / "v30", "v3.0")
    assert len(list((out / "videos").rglob("*.mp4"))) == 3, "baseline between two others"


@pytest.mark.parametrize("to", ["v3.0", "v2.1"])
def test_the_source_keeps_its_videos(tmp_path: Path, to: str) -> None:
    """Each is as we would write it and alone in its file: only its owner keeps it from being moved."""
    foreign = write_foreign(tmp_path / "v21", "v2.1")
    for episode, length in enumerate(LENGTHS):
        profile = "baseline" if episode % 2 else "main"
        write_video(tmp_path / "made.mp4", 10 * episode, length, profile=profile, bf="0")
        concatenate([probe(tmp_path / "made.mp4")], video(foreign, episode), FPS)
    before = {path: path.read_bytes() for path in sorted(foreign.rglob("*")) if path.is_file()}
    brought(foreign, tmp_path / "out", to)
    assert {path: path.read_bytes() for path in sorted(foreign.rglob("*")) if path.is_file()} == before


def test_the_report_names_what_changed(foreign: Path, v30: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(v30, other)
    info = json.loads((other / "meta/info.json").read_text())
    (other / "meta/info.json").write_text(json.dumps({**info, "robot_type": "third_arm"}))
    (other / "meta/modality.json").unlink()
    data = other / "data/chunk-000/file-000.parquet"
    table = pq.read_table(data)
    rewards = table["next.reward"].to_numpy().copy()
    rewards[LENGTHS[0]] += 1e-9
    place = table.column_names.index("next.reward")
    pq.write_table(table.set_column(place, "next.reward", pa.array(rewards)), data)
    found = {f.what: f for f in compare(open_dataset(foreign), open_dataset(other))}
    assert found["robot"].verdict == "changed"
    assert found["meta/modality.json"].verdict == "lost"
    assert found["columns, every value"].detail == "in 1 episodes, the first is 1"
    assert found[f"{CAMERA}, every encoded picture"].verdict == "same"


def test_the_command_prints_the_comparison(
    foreign: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    before = {path: path.read_bytes() for path in foreign.rglob("*") if path.is_file()}
    assert main(Config(format="lerobot", source=foreign, out=tmp_path / "a")) == 0
    assert "every encoded picture" in capsys.readouterr().out
    assert main(Config(format="lerobot", source=foreign, out=tmp_path / "b", json=True, workers=2)) == 0
    assert json.loads(capsys.readouterr().out)["frames"] == sum(LENGTHS)
    assert {path: path.read_bytes() for path in foreign.rglob("*") if path.is_file()} == before
    assert not (tmp_path / "a" / "scratch").exists()


Damage = Callable[[Path], object]


def rows(root: Path, name: str, change: Callable[[list], list]) -> None:
    path = root / "meta" / name
    path.write_text("".join(json.dumps(line) + "\n" for line in change(lines(path))))


def info(root: Path, **changes: object) -> None:
    path = root / "meta/info.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def data(root: Path, episode: int = 1) -> Path:
    return root / f"data/chunk-000/episode_{episode:06d}.parquet"


def doubled(told: list) -> list:
    return [{**row, "episode_index": 2 * row["episode_index"]} for row in told]


DAMAGED: dict[str, tuple[Damage, str]] = {
    "no dataset at all": (lambda r: shutil.rmtree(r), "not a LeRobot dataset"),
    "info.json is no JSON": (lambda r: (r / "meta/info.json").write_text("{"), "not a LeRobot dataset"),
    "a format of tomorrow": (lambda r: info(r, codebase_version="v9.0"), "unknown format"),
    "half a frame per second": (lambda r: info(r, fps=14.5), "metadata of the dataset are incomplete"),
    "no rate": (lambda r: info(r, fps=None), "metadata of the dataset are incomplete"),
    "no tasks": (lambda r: (r / "meta/tasks.jsonl").unlink(), "metadata of the dataset are incomplete"),
    "a task without number": (lambda r: rows(r, "tasks.jsonl", lambda x: x[1:]), "incomplete"),
    "an episode fewer": (lambda r: rows(r, "episodes.jsonl", lambda x: x[:-1]), "contradict"),
    "another length": (
        lambda r: rows(r, "episodes.jsonl", lambda x: [{**y, "length": y["length"] + 1} for y in x]),
        "contradict",
    ),
    "a hole in the numbers": (
        lambda r: rows(
            r, "episodes.jsonl", lambda x: [{**y, "episode_index": 2 * i} for i, y in enumerate(x)]
        ),
        "contradict",
    ),
    "a data file is missing": (lambda r: data(r).unlink(), "data of episode 1 cannot be read"),
    "a data file is cut": (lambda r: data(r).write_bytes(data(r).read_bytes()[:200]), "cannot be read"),
    "the data of another episode": (
        lambda r: shutil.copy(data(r, 0), data(r, 1)),
        "not what the metadata say",
    ),
    "a video is missing": (lambda r: video(r, 1).unlink(), "video of episode 1 is missing"),
    "a video is cut": (lambda r: video(r, 1).write_bytes(video(r, 1).read_bytes()[:300]), "cannot be read"),
    "a picture too few": (lambda r: write_video(video(r, 1), 0, LENGTHS[1] - 1), "not as many pictures"),
}


@pytest.mark.parametrize("to", ["v3.0", "v2.1"])
@pytest.mark.parametrize("case", DAMAGED)
def test_damage_is_refused_and_leaves_nothing(tmp_path: Path, foreign: Path, case: str, to: str) -> None:
    root, out = tmp_path / "damaged", tmp_path / "out"
    shutil.copytree(foreign, root)
    damage, words = DAMAGED[case]
    damage(root)
    with pytest.raises(DatasetError, match=words) as caught:
        import_dataset(Config(format="lerobot", source=root, out=out, to=to))
    assert caught.value.remedy
    assert caught.value.where
    assert list(tmp_path.glob("*out*")) == []


def test_an_episode_that_begins_between_key_frames_is_not_cut_out(v30: Path, tmp_path: Path) -> None:
    root = tmp_path / "damaged"
    shutil.copytree(v30, root)
    (file,) = (root / "videos").rglob("*.mp4")
    file.unlink()
    write_video(file, 0, sum(LENGTHS), g="250", sc_threshold="0")
    with pytest.raises(DatasetError, match="cannot be cut out") as caught:
        import_dataset(Config(format="lerobot", source=root, out=tmp_path / "out", to="v2.1"))
    assert "key frame" in caught.value.remedy
