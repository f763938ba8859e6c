"""Datasets of both formats and every way to their pictures: the same bytes, and named refusals."""

from __future__ import annotations

import json
import logging
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
from fake_episode import TEXT, fake_bag

from finevla.bag.images import decode
from finevla.bag.language import LANGUAGE_FILE, EpisodeLanguage
from finevla.contract import load_contract
from finevla.contract.images import WorkspaceCrop
from finevla.errors import DatasetError
from finevla.stages.convert.episode import read_episode
from finevla.stages.convert.verb import Config, convert
from finevla.stages.train.data import FrameCache, read_dataset
from finevla.stages.train.decode import PyavDecoder, TorchcodecDecoder, best_decoder
from finevla.stages.train.source import open_source
from finevla.stages.train.store import VideoStore, store_key

CONTRACT = load_contract()
CROP = WorkspaceCrop((320, 240), (102, 50, 218, 166), (16, 16))
IMAGES = dict.fromkeys(CONTRACT.cameras, CROP)
RAW = "pick up the cube"
RIGHT = "use the right arm to pick up the blue cube"


def ignore(done: int, total: int) -> None:
    """Progress that nobody watches."""


def read(root: Path, **options) -> FrameCache:
    return read_dataset(root, CONTRACT, IMAGES, options.pop("on_episode", ignore), **options)


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Three episodes, the last without words beyond its instruction, in both formats."""
    folder = tmp_path_factory.mktemp("data")
    for name, seconds, text in (("a", 1.5, TEXT), ("b", 0.9, RIGHT), ("c", 0.6, TEXT)):
        bag = fake_bag(folder / "bags", name, seconds=seconds, instruction=text, said=(text,))
        if name != "c":
            language = EpisodeLanguage(text, RAW, ("The arm moves.",), "The arm moves.", ())
            (bag / LANGUAGE_FILE).write_text(language.text())
    for version in ("v3.0", "v2.1"):
        convert(Config(bags=(folder / "bags",), out=folder / version, format=version))
    return {name: folder / name for name in ("bags", "v3.0", "v2.1")}


@pytest.fixture(scope="module")
def cache(datasets: dict[str, Path]) -> FrameCache:
    return read(datasets["v3.0"])


def test_both_formats_give_the_same_data(datasets: dict[str, Path], cache: FrameCache) -> None:
    other = read(datasets["v2.1"], workers=3)
    assert (cache.fine, cache.raw, cache.groups) == (other.fine, other.raw, other.groups)
    assert cache.dataset_hash == other.dataset_hash
    for name in ("pictures", "state", "action", "starts"):
        assert np.array_equal(getattr(cache, name), getattr(other, name))
    assert cache.starts.tolist() == [0, 16, 26, 33]
    assert cache.images == IMAGES


def test_pictures_are_those_that_lerobot_decodes_through_the_crop_of_the_live_node(
    datasets: dict[str, Path], cache: FrameCache
) -> None:
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    dataset = LeRobotDataset("local/finevla", root=datasets["v3.0"], return_uint8=True)
    for frame in (0, 5, 15, 16, 25, 26, 32):
        item = dataset[frame]
        for column, camera in enumerate(CONTRACT.cameras.values()):
            live = CROP(item[camera.key].permute(1, 2, 0).numpy())
            assert np.array_equal(cache.pictures[np.array([frame])][0, column], live)


def test_pictures_are_near_those_of_the_bag(datasets: dict[str, Path], cache: FrameCache) -> None:
    """H.264 is lossy; another frame or camera would be far off."""
    episode = read_episode(datasets["bags"] / "b", CONTRACT)
    for column, name in enumerate(CONTRACT.cameras):
        for k in (0, 4, episode.length - 1):
            live = CROP(decode(tuple(episode.images[name])[k])).astype(int)
            assert np.abs(cache.pictures[np.array([16 + k])][0, column] - live).mean() < 2.5


def test_decoding_on_demand_gives_the_bytes_of_memory(datasets: dict[str, Path], cache: FrameCache) -> None:
    frames = np.array([32, 0, 7, 7, 16, 3, 25])
    for version in ("v3.0", "v2.1"):
        store = read(datasets[version], cache="none")
        assert isinstance(store.pictures, VideoStore)
        assert store.pictures.shape == cache.pictures.shape
        for _ in range(2):
            assert np.array_equal(store.pictures[frames], cache.pictures[frames])


@pytest.mark.parametrize("kind", [TorchcodecDecoder, PyavDecoder])
def test_both_decoders_give_the_same_bytes(datasets: dict[str, Path], cache: FrameCache, kind) -> None:
    store = VideoStore(open_source(datasets["v3.0"], CONTRACT, IMAGES), IMAGES, kind)
    frames = np.random.default_rng(0).integers(0, 33, 40)
    assert np.array_equal(store[frames], cache.pictures[frames])
    assert np.array_equal(store[np.arange(33)], cache.pictures[np.arange(33)])


@pytest.mark.parametrize(("pixels", "gop"), [("yuv420p", 2), ("yuv420p", 30), ("yuvj420p", 5)])
def test_decoders_agree_on_videos_of_other_origin(tmp_path: Path, pixels: str, gop: int) -> None:
    """Limited range and far key frames, as LeRobot and others write them."""
    rng, path = np.random.default_rng(0), tmp_path / "x.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"g": str(gop), "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
        base = rng.integers(0, 256, (12, 16, 3)).repeat(4, axis=0).repeat(4, axis=1)
        for k in range(75):
            picture = np.roll(base, k, axis=1).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    stamps = np.array([7.4, 0.0, 3.3, 3.4, 0.1, 6.9, 3.3])
    one, other = (kind(path, 10.0).at(stamps) for kind in (TorchcodecDecoder, PyavDecoder))
    np.testing.assert_allclose(one[1], stamps, atol=1e-6)
    np.testing.assert_allclose(other[1], stamps, atol=1e-6)
    assert np.array_equal(one[0], other[0])


def test_without_torchcodec_pyav_reads_and_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", None)
    best_decoder.cache_clear()
    try:
        with caplog.at_level(logging.WARNING, "finevla.train"):
            assert best_decoder() is PyavDecoder
            assert best_decoder() is PyavDecoder
    finally:
        best_decoder.cache_clear()
    assert len(caplog.records) == 1
    assert "PyAV" in caplog.text
    monkeypatch.undo()
    assert best_decoder() is TorchcodecDecoder


# ---- pictures kept for the next run


def test_kept_pictures_are_not_decoded_again(
    datasets: dict[str, Path], cache: FrameCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "kept"
    seen: list[tuple[int, int]] = []
    first = read(datasets["v3.0"], cache_dir=kept, workers=2)
    assert np.array_equal(first.pictures[np.arange(33)], cache.pictures[np.arange(33)])
    assert [path.suffix for path in kept.iterdir()] == [".npy"]
    monkeypatch.setattr("finevla.stages.train.store.best_decoder", lambda: _Named())
    again = read(datasets["v3.0"], cache_dir=kept, on_episode=lambda *args: seen.append(args))
    assert np.array_equal(again.pictures[np.arange(33)], cache.pictures[np.arange(33)])
    assert seen == [(3, 3)]


class _Named:
    """Stands for torchcodec by its name and cannot decode."""

    name = "torchcodec"

    def __call__(self, path: Path, fps: float) -> object:
        raise AssertionError("decoded again")


def test_the_key_of_kept_pictures_changes_with_what_they_show(
    datasets: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shutil.copytree(datasets["v3.0"], tmp_path / "copy", copy_function=shutil.copy2)
    source = open_source(copy, CONTRACT, IMAGES)
    key = store_key(source, IMAGES)
    assert key == store_key(open_source(datasets["v3.0"], CONTRACT, IMAGES), IMAGES)
    other = WorkspaceCrop((320, 240), (102, 50, 218, 168), (16, 16))
    keys = {key, store_key(source, {**IMAGES, "cam_high": other}), store_key(source, {"cam_high": CROP})}
    source.videos[0].touch()
    keys.add(store_key(source, IMAGES))
    monkeypatch.setattr("finevla.stages.train.store.best_decoder", lambda: PyavDecoder)
    keys.add(store_key(source, IMAGES))
    assert len(keys) == 5


def test_damaged_kept_pictures_are_refused(datasets: dict[str, Path], tmp_path: Path) -> None:
    read(datasets["v3.0"], cache_dir=tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DatasetError, match="kept pictures are damaged"):
        read(datasets["v3.0"], cache_dir=tmp_path)
    np.save(path, np.zeros(3, np.uint8))
    with pytest.raises(DatasetError, match="shape"):
        read(datasets["v3.0"], cache_dir=tmp_path)


def test_an_interrupted_reading_leaves_nothing(datasets: dict[str, Path], tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read(datasets["v3.0"], cache_dir=tmp_path, on_episode=stop)
    assert not list(tmp_path.iterdir())


# ---- texts


def test_a_raw_text_makes_the_instruction_the_fine_one(cache: FrameCache) -> None:
    assert cache.fine == (TEXT, RIGHT, TEXT)
    assert cache.raw == (RAW, RAW, "")
    assert cache.groups == (RAW, RAW, TEXT)
    assert cache.has_text(fine=False).tolist() == [True, True, False]
    assert cache.texts_of(np.array([0, 2])) == tuple(sorted({TEXT, RAW}))


# ---- refusals


def without_video(root: Path) -> None:
    next((root / "videos").rglob("*.mp4")).unlink()


def torn_video(root: Path) -> None:
    path = next((root / "videos").rglob("*.mp4"))
    path.write_bytes(path.read_bytes()[:400])


def shorter_data(root: Path) -> None:
    path = max((root / "data").rglob("*.parquet"))
    pq.write_table(pq.read_table(path).slice(0, 4), path)


def later_frames(root: Path) -> None:
    path = max((root / "data").rglob("*.parquet"))
    table = pq.read_table(path)
    times = table["timestamp"].to_numpy() + np.float32(0.04)
    pq.write_table(table.set_column(table.column_names.index("timestamp"), "timestamp", [times]), path)


def no_data(root: Path) -> None:
    shutil.rmtree(root / "data")


def torn_record(root: Path) -> None:
    (root / "meta" / "finevla.json").write_text("{}")


@pytest.mark.parametrize("version", ["v3.0", "v2.1"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (without_video, r"video of episode \d is missing"),
        (torn_video, "cannot be opened|does not fit"),
        (shorter_data, "not complete"),
        (later_frames, "does not fit its data"),
        (no_data, "cannot be read"),
        (torn_record, "record of the converter"),
    ],
)
def test_damage_is_named(
    datasets: dict[str, Path], tmp_path: Path, version: str, damage: Callable[[Path], None], message: str
) -> None:
    copy = shutil.copytree(datasets[version], tmp_path / "copy")
    damage(copy)
    with pytest.raises(DatasetError, match=message) as caught:
        read(copy)
    assert caught.value.remedy
    with pytest.raises(DatasetError, match=message):
        _ = read(copy, cache="none").pictures[np.arange(33)]


def test_a_dataset_of_another_origin_has_the_hash_of_its_content(
    datasets: dict[str, Path], cache: FrameCache, tmp_path: Path
) -> None:
    copy = shutil.copytree(datasets["v2.1"], tmp_path / "copy")
    (copy / "meta" / "finevla.json").unlink()
    first = read(copy, cache="none").dataset_hash
    assert len(first) == 64
    assert first == read(copy).dataset_hash != cache.dataset_hash
    path = copy / "meta" / "FineGrainedInstruction.jsonl"
    path.write_text(path.read_text().replace("moves", "stays"))
    assert read(copy, cache="none").dataset_hash != first


def test_an_older_format_is_read_like_its_successor(datasets: dict[str, Path], tmp_path: Path) -> None:
    copy = shutil.copytree(datasets["v2.1"], tmp_path / "copy")
    info = json.loads((copy / "meta" / "info.json").read_text())
    (copy / "meta" / "info.json").write_text(json.dumps({**info, "codebase_version": "v2.0"}))
    older, newer = (open_source(root, CONTRACT, IMAGES) for root in (copy, datasets["v2.1"]))
    np.testing.assert_array_equal(older.action, newer.action)
    assert older.tasks == newer.tasks
