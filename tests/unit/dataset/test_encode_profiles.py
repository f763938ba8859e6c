"""Video by profile: colors and range survive, LeRobot reads all of them, a copy is a copy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from fake_episode import fake_bag

from finevla.bag import EncodedImage
from finevla.bag.images import decode, encode_jpeg
from finevla.contract import load_contract
from finevla.dataset.encode import PROFILES, Profile, encode
from finevla.errors import FineVLAError
from finevla.stages.convert.episode import read_episode
from finevla.stages.convert.verb import Config, convert, video_settings

SIZE = (320, 240)
CONTRACT = load_contract()
ENCODED = [name for name in PROFILES if name != "stage"]


def frames_of(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def jpeg(rgb: np.ndarray) -> EncodedImage:
    return EncodedImage("jpeg", encode_jpeg(rgb))


def raw(rgb: np.ndarray) -> EncodedImage:
    return EncodedImage("rgb8", rgb.tobytes(), SIZE[1], SIZE[0], 3 * SIZE[0])


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("level", [0, 128, 255])
def test_black_and_white_survive_the_video(tmp_path: Path, profile: Profile, level: int) -> None:
    """Full range is kept and tagged: white read as limited range would be 255 * 255 / 235."""
    flat = np.full((SIZE[1], SIZE[0], 3), level, np.uint8)
    for make in (jpeg, raw) if profile in ENCODED else (jpeg,):
        encode([make(flat)] * 3, tmp_path / "x.mp4", SIZE, 10, PROFILES[profile])
        found = frames_of(tmp_path / "x.mp4")
        assert len(found) == 3
        assert np.abs(found.astype(int) - level).max() <= 2


@pytest.mark.parametrize("profile", ENCODED)
def test_raw_and_jpeg_images_give_the_same_colors(tmp_path: Path, profile: Profile) -> None:
    rgb = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    rgb[:, :100], rgb[:, 100:200], rgb[:, 200:] = (220, 30, 40), (30, 200, 60), (20, 40, 210)
    for make in (jpeg, raw):
        encode([make(rgb)] * 2, tmp_path / "x.mp4", SIZE, 10, PROFILES[profile])
        got = frames_of(tmp_path / "x.mp4")[1, 120, [50, 150, 250]].astype(int)
        assert np.abs(got - rgb[120, [50, 150, 250]]).max() <= 4


@pytest.mark.parametrize("profile", ENCODED)
def test_range_and_color_matrix_are_tagged(tmp_path: Path, profile: Profile) -> None:
    """Readers that go by the tags must not guess: full range (2), BT.601 (5)."""
    gray = jpeg(np.full((SIZE[1], SIZE[0], 3), 90, np.uint8))
    encode([gray] * 2, tmp_path / "x.mp4", SIZE, 10, PROFILES[profile])
    with av.open(str(tmp_path / "x.mp4")) as container:
        frame = next(container.decode(video=0))
    assert (frame.color_range, frame.colorspace) == (2, 5)


@pytest.mark.parametrize("profile", PROFILES)
def test_equal_images_give_equal_bytes(tmp_path: Path, profile: Profile) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (4, SIZE[1], SIZE[0], 3), dtype=np.uint8)
    for name in ("a.mp4", "b.mp4"):
        encode([jpeg(picture) for picture in noise], tmp_path / name, SIZE, 10, PROFILES[profile])
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


@pytest.mark.parametrize("profile", PROFILES)
def test_lerobot_opens_a_dataset_of_every_profile(tmp_path: Path, profile: Profile) -> None:
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    for name in ("a", "b"):
        fake_bag(tmp_path / "bags", name, seconds=0.6)
    convert(Config(bags=(tmp_path / "bags",), out=tmp_path / "set", profile=profile))
    dataset = LeRobotDataset("local/finevla", root=tmp_path / "set", return_uint8=True)
    episode = read_episode(tmp_path / "bags" / "b", CONTRACT)
    assert len(dataset) == 2 * episode.length
    for camera in CONTRACT.cameras.values():
        got = dataset[episode.length + 3][camera.key].numpy()
        wanted = decode(tuple(episode.images[camera.name])[3]).astype(int)
        error = np.abs(np.moveaxis(got, 0, -1) - wanted)
        assert error.mean() < 4, "the same picture, and no other frame"
    info = dataset.meta.features[CONTRACT.cameras["cam_high"].key]["info"]
    assert info["video.codec"] == PROFILES[profile].codec


def test_a_copy_holds_the_bytes_of_the_camera(tmp_path: Path) -> None:
    fake_bag(tmp_path, "a", seconds=0.6)
    images = read_episode(tmp_path / "a", CONTRACT).images["cam_high"]
    encode(images, tmp_path / "x.mp4", SIZE, 10, PROFILES["stage"])
    with av.open(str(tmp_path / "x.mp4")) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.pts is not None]
    assert packets == [image.data for image in images]


def test_what_cannot_be_copied_is_named(tmp_path: Path) -> None:
    flat = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    cut = replace(jpeg(flat), data=jpeg(flat).data[:-40])
    small = jpeg(flat[:100])
    for image, words in ((raw(flat), "no JPEG"), (cut, "cut short"), (small, "320x100, not 320x240")):
        with pytest.raises(ValueError, match=f"image 1 .*{words}"):
            encode([jpeg(flat), image], tmp_path / "x.mp4", SIZE, 10, PROFILES["stage"])


def test_the_flags_of_an_encoder_change_its_profile_only(tmp_path: Path) -> None:
    made = video_settings(Config(bags=(), out=tmp_path, profile="lerobot", crf=40))
    assert made == replace(PROFILES["lerobot"], crf=40)
    with pytest.raises(FineVLAError, match="nothing is encoded") as caught:
        video_settings(Config(bags=(), out=tmp_path, profile="stage", gop=2))
    assert "--gop" in str(caught.value)
