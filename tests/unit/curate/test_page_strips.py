"""Video strips: the right frames of the right episode, from files of one episode and of many."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from foreign_lerobot import CAMERA, SIZE, write_video
from PIL import Image

from finevla.dataset.encode import VideoSettings
from finevla.dataset.pack import Outline, Take, pack
from finevla.dataset.read import open_dataset
from finevla.dataset.video import Piece
from finevla.dataset.write import WRITERS
from finevla.errors import DatasetError
from finevla.stages.curate.page.strips import GAP, WIDTH, camera_of, make_strips, stills, strip

FPS, FRAMES = 15, (12, 7, 1)


def dataset(root: Path, to: str) -> Path:
    """Episodes whose pictures say, by their blue, which frame of which episode they are."""
    takes = []
    for number, frames in enumerate(FRAMES):
        video = root.parent / f"{to}_{number}.mp4"
        write_video(video, 10 * number, frames, bf="0", crf="10")
        vectors = {"action": np.zeros((frames, 1), np.float32)}
        takes.append(Take("lift", vectors, {CAMERA: video}, {CAMERA: np.ones((3, 256), np.int64)}))
    outline = Outline(None, FPS, {"action": ["x"]}, {CAMERA: SIZE[::-1]}, VideoSettings())
    root.mkdir(parents=True)
    WRITERS[to](*pack(outline, takes), root)
    return root


@pytest.mark.parametrize("to", ["v2.1", "v3.0"])
def test_strip_shows_six_frames_of_its_episode(tmp_path: Path, to: str) -> None:
    opened = open_dataset(dataset(tmp_path / to, to))
    picture = Image.open(io.BytesIO(strip(opened, CAMERA, 1)))
    assert picture.format == "JPEG"
    assert picture.size == (6 * WIDTH + 5 * GAP, 120)
    starts = [i * (WIDTH + GAP) for i in range(6)]
    blues = [np.asarray(picture)[10:110, start + 20 : start + 140, 2].mean() for start in starts]
    expected = [9 * (10 + round(at)) for at in np.linspace(0, 6, 6)]
    assert blues == pytest.approx(expected, abs=5)


def test_episode_of_one_frame_repeats_it(tmp_path: Path) -> None:
    opened = open_dataset(dataset(tmp_path / "set", "v3.0"))
    assert len(stills(opened.piece(2, CAMERA), [0] * 6, FPS)) == 6


def test_video_that_cannot_be_read_is_said_and_the_others_are_made(tmp_path: Path) -> None:
    root = dataset(tmp_path / "set", "v2.1")
    next(root.rglob("episode_000001.mp4")).write_bytes(b"no video")
    rows = [{"episode": f"set/{i:06d}", "dataset": "set", "index": i} for i in (0, 1, 2, 7)]
    made = make_strips(rows, {"set": root}, 9)
    assert list(made.images) == ["set/000000", "set/000002"]
    assert list(made.failed) == ["set/000001", "set/000007"]
    assert "the video cannot be read" in made.failed["set/000001"]
    assert base64.b64decode(made.images["set/000000"]).startswith(b"\xff\xd8")
    assert list(make_strips(rows, {"set": root}, 1).images) == ["set/000000"]


def test_video_that_is_too_short_is_not_filled_up(tmp_path: Path) -> None:
    path = tmp_path / "short.mp4"
    write_video(path, 0, 5)
    with pytest.raises(DatasetError, match="no picture of frame 9"):
        stills(Piece(path, 0.0, 10), [0, 9], FPS)


def test_camera_is_the_pivot_or_the_first() -> None:
    side, high = "observation.images.side", "observation.images.cam_high"
    assert camera_of([side, high]) == high
    assert camera_of([side, "other"]) == side
    assert camera_of([]) is None
