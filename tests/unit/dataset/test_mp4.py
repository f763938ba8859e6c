"""Files whose index is made by us equal those of libavformat, byte for byte; others are known as such."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from fake_episode import picture

from finevla.bag import EncodedImage
from finevla.bag.images import encode_jpeg
from finevla.dataset import join, mp4, video
from finevla.dataset.encode import PROFILES, Known, VideoSettings, encode
from finevla.errors import DatasetError

SIZE = (64, 48)
IMAGES = [EncodedImage("jpeg", encode_jpeg(picture(k, k % 3, SIZE))) for k in range(23)]
SETTINGS = {
    "copied": PROFILES["stage"],
    "fast": PROFILES["fast"],
    "all key frames": VideoSettings(gop=1),
    "one key frame": VideoSettings(gop=250),
    "AV1": VideoSettings("av1", "12", 30, 2),
}
PARTS = [(0, 20), (20, 22), (22, 23), (3, 23)]


def clips(folder: Path, settings: VideoSettings, fps: int) -> list[video.Clip]:
    made = []
    for number, (begin, end) in enumerate(PARTS):
        path = folder / f"{number}.mp4"
        encode(IMAGES[begin:end], path, SIZE, fps, settings)
        made.append(video.probe(path))
    return made


@pytest.mark.parametrize("fps", [10, 30])
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_files_put_together_are_those_that_libavformat_makes(
    tmp_path: Path, settings: VideoSettings, fps: int
) -> None:
    made = clips(tmp_path, settings, fps)
    for chosen in ([0], [2], [0, 1], [1, 0, 2], [3, 3, 2, 0]):
        ours, theirs = tmp_path / "ours.mp4", tmp_path / "theirs.mp4"
        join._join([mp4.samples_of(made[n].path) for n in chosen], ours, fps)
        join._remux([made[n] for n in chosen], theirs, fps)
        assert ours.read_bytes() == theirs.read_bytes(), chosen


@pytest.mark.parametrize("images", [IMAGES, IMAGES[:1]], ids=["some", "one"])
def test_a_copy_made_in_one_go_is_the_one_that_libavformat_makes(
    tmp_path: Path, images: list[EncodedImage]
) -> None:
    lengths = np.array([len(image.data) for image in images])
    plain, known, copied, again = (tmp_path / f"{name}.mp4" for name in ("plain", "known", "copied", "again"))
    encode(images, plain, SIZE, 30, PROFILES["stage"])
    encode(images, known, SIZE, 30, PROFILES["stage"], Known(lengths, copied=False))
    assert known.read_bytes() == plain.read_bytes()
    join._remux([video.probe(plain)], again, 30)
    encode(images, copied, SIZE, 30, PROFILES["stage"], Known(lengths, copied=True))
    assert copied.read_bytes() == again.read_bytes()


def test_images_that_are_not_those_that_were_announced_are_refused(tmp_path: Path) -> None:
    lengths = np.array([len(image.data) for image in IMAGES])
    lengths[5] += 1
    with pytest.raises(ValueError, match="image 5"):
        encode(IMAGES, tmp_path / "x.mp4", SIZE, 30, PROFILES["stage"], Known(lengths, copied=True))


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_a_file_that_nobody_needs_is_taken_as_it_would_be_copied(
    tmp_path: Path, settings: VideoSettings
) -> None:
    clip, _, _, other = clips(tmp_path, settings, 10)
    join.concatenate([other], tmp_path / "copied.mp4", 10)
    join.take(other, tmp_path / "new" / "taken.mp4", 10)
    assert (tmp_path / "new" / "taken.mp4").read_bytes() == (tmp_path / "copied.mp4").read_bytes()
    assert clip.path.exists()


def test_the_sizes_are_those_of_the_packets(tmp_path: Path) -> None:
    for settings in SETTINGS.values():
        (clip, *_) = clips(tmp_path, settings, 10)
        with av.open(str(clip.path)) as container:
            packets = [packet for packet in container.demux() if packet.size]
        samples = mp4.samples_of(clip.path)
        assert samples.sizes.tolist() == [packet.size for packet in packets]
        assert samples.keys.tolist() == [k for k, packet in enumerate(packets) if packet.is_keyframe]
        assert samples.begin == packets[0].pos


def others(path: Path, options: dict[str, str], codec: dict[str, str], step: int = 1) -> Path:
    """A file as other programs make them."""
    with av.open(str(path), "w", format="mp4", options=options) as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height = SIZE
        stream.pix_fmt, stream.options = "yuv420p", codec
        for number in range(20):
            frame = av.VideoFrame.from_ndarray(picture(number, 0, SIZE), "rgb24")
            frame.pts, frame.time_base = number * (step if number > 10 else 1), Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("options", "codec", "step"),
    [
        ({}, {"bf": "2", "preset": "medium"}, 1),
        ({"movflags": "frag_keyframe+empty_moov"}, {"bf": "0"}, 1),
        ({}, {"bf": "0"}, 2),
    ],
    ids=["pictures out of order", "fragments", "another pace in the middle"],
)
def test_files_of_another_kind_are_known_and_go_the_long_way(
    tmp_path: Path, options: dict[str, str], codec: dict[str, str], step: int
) -> None:
    path = others(tmp_path / "other.mp4", options, codec, step)
    with pytest.raises(mp4.UnusualError):
        mp4.samples_of(path)
    clip = video.probe(path)
    assert clip.frames == 20
    join.concatenate([clip], tmp_path / "a.mp4", 10)
    join._remux([clip], tmp_path / "b.mp4", 10)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_a_file_cut_off_after_it_was_looked_at_is_a_named_error(tmp_path: Path) -> None:
    (clip, *_) = clips(tmp_path, PROFILES["fast"], 10)
    whole = clip.path.read_bytes()
    for size in (0, 40, len(whole) // 2, len(whole) - 1):
        clip.path.write_bytes(whole[:size])
        with pytest.raises(DatasetError):
            join.concatenate([clip], tmp_path / "joined.mp4", 10)
    clip.path.unlink()
    with pytest.raises(DatasetError):
        join.concatenate([clip], tmp_path / "joined.mp4", 10)


@pytest.mark.parametrize("each", [10_000, 2_000_000], ids=["small", "more than 4 GiB"])
def test_the_index_finds_its_pictures_also_in_a_large_file(tmp_path: Path, each: int) -> None:
    """The file is sparse: only its index is written."""
    _, _, clip, _ = clips(tmp_path, PROFILES["stage"], 30)
    template = clip.path.read_bytes()
    sizes = np.full(3000, each) + np.arange(3000) % 7
    front = mp4.front_of(template, sizes, np.arange(3000), mp4.Rates(1000, 1000))
    path = tmp_path / "large.mp4"
    with path.open("wb") as file:
        file.write(front)
        file.truncate(len(front) + int(sizes.sum()))
    found = mp4.samples_of(path)
    assert (found.begin, found.sizes.tolist()) == (len(front), sizes.tolist())
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.frames == 3000
        container.seek(2990 * found.duration, stream=stream)
        packet = next(container.demux(stream))
        number = packet.pts // found.duration
        assert number == 2990
        assert packet.pos == len(front) + int(sizes[:number].sum())
        assert packet.size == sizes[number]
