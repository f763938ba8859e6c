"""The film of a demonstration: camera frames in time, captioned and written as an H.264 MP4.

Frames arrive as JPEG bytes of shape (height, width, 3) RGB images and stay encoded until they are
drawn, so that a film of some minutes costs some tens of megabytes of memory.
"""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from finevla.contract.frame import NS_PER_S
from finevla.stages.media import encode_mp4

FPS = 10
MAIN_SIZE = (480, 360)
SIDE_SIZE = (240, 180)
STRIP_HEIGHT = 64
CANVAS_SIZE = (MAIN_SIZE[0] + SIDE_SIZE[0], MAIN_SIZE[1] + STRIP_HEIGHT)
INK, DIM, PAPER = (235, 238, 242), (160, 168, 178), (22, 26, 32)
GOOD, BAD = (96, 211, 128), (255, 128, 112)


@dataclass(slots=True)
class Reel:
    """Frames of one trial: per camera the stamps (ns, ascending) and the JPEG of each frame."""

    cameras: tuple[str, ...]
    stamps: dict[str, list[int]] = field(default_factory=dict)
    jpegs: dict[str, list[bytes]] = field(default_factory=dict)

    def add(self, camera: str, stamp_ns: int, jpeg: bytes, min_gap_ns: int = NS_PER_S // FPS // 2) -> bool:
        """Keeps a frame, unless it lies too close behind the last one; True if kept."""
        stamps = self.stamps.setdefault(camera, [])
        if stamps and stamp_ns - stamps[-1] < min_gap_ns:
            return False
        stamps.append(stamp_ns)
        self.jpegs.setdefault(camera, []).append(jpeg)
        return True

    def at(self, camera: str, stamp_ns: int) -> bytes | None:
        """The frame shown at a time: the newest at or before it, else the first; None without any."""
        stamps = self.stamps.get(camera)
        if not stamps:
            return None
        return self.jpegs[camera][max(bisect_right(stamps, stamp_ns) - 1, 0)]

    def span_ns(self) -> tuple[int, int]:
        """First and last stamp of the first camera, (0, 0) without frames."""
        stamps = self.stamps.get(self.cameras[0])
        return (stamps[0], stamps[-1]) if stamps else (0, 0)


@dataclass(frozen=True, slots=True)
class Scene:
    """One trial on film: its frames, the sentence, the verdict and whether that was good."""

    reel: Reel
    title: str
    caption: str
    verdict: str
    good: bool


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font, so that no font has to be installed."""
    return ImageFont.load_default(size)


def _picture(jpeg: bytes | None, size: tuple[int, int]) -> Image.Image:
    if jpeg is None:
        return Image.new("RGB", size, (48, 52, 58))
    return Image.open(io.BytesIO(jpeg)).convert("RGB").resize(size, Image.Resampling.BILINEAR)


def compose(scene: Scene, stamp_ns: int, *, show_verdict: bool) -> Image.Image:
    """Draws one frame of the film: main camera, up to two side cameras, caption strip."""
    canvas = Image.new("RGB", CANVAS_SIZE, PAPER)
    draw = ImageDraw.Draw(canvas)
    main, *sides = scene.reel.cameras
    canvas.paste(_picture(scene.reel.at(main, stamp_ns), MAIN_SIZE), (0, 0))
    for i, camera in enumerate(sides[:2]):
        left, top = MAIN_SIZE[0], i * SIDE_SIZE[1]
        canvas.paste(_picture(scene.reel.at(camera, stamp_ns), SIDE_SIZE), (left, top))
        draw.rectangle(
            (left, top, left + 12 + round(draw.textlength(camera, font=font(12))), top + 18), fill=PAPER
        )
        draw.text((left + 6, top + 2), camera, font=font(12), fill=INK)
    seconds = (stamp_ns - scene.reel.span_ns()[0]) / NS_PER_S
    draw.text((10, MAIN_SIZE[1] + 8), scene.caption, font=font(19), fill=INK)
    draw.text((10, MAIN_SIZE[1] + 37), scene.title, font=font(14), fill=DIM)
    draw.text((CANVAS_SIZE[0] - 58, MAIN_SIZE[1] + 37), f"{seconds:5.1f} s", font=font(14), fill=DIM)
    if show_verdict:
        ink = GOOD if scene.good else BAD
        left = 10 + round(draw.textlength(scene.title, font=font(14))) + 16
        draw.text((left, MAIN_SIZE[1] + 37), scene.verdict, font=font(14), fill=ink)
    return canvas


def frames(scenes: Sequence[Scene], hold_s: float = 1.5) -> Iterator[Image.Image]:
    """All frames of the film at `FPS`: each trial in real time, then its verdict for `hold_s`."""
    for scene in scenes:
        first, last = scene.reel.span_ns()
        if last == 0:
            continue
        step = NS_PER_S // FPS
        for stamp in range(first, last + 1, step):
            yield compose(scene, stamp, show_verdict=False)
        ending = compose(scene, last, show_verdict=True)
        for _ in range(round(hold_s * FPS)):
            yield ending


def write_mp4(path: Path, pictures: Iterator[Image.Image]) -> int:
    """Writes pictures of `CANVAS_SIZE` as H.264 in an MP4 that browsers play.

    Returns:
        The number of frames; with none, no file is written.
    """
    return encode_mp4(str(path), pictures, FPS)


def stills(reel: Reel, count: int = 4, size: tuple[int, int] = (240, 180)) -> list[bytes]:
    """Evenly spaced pictures of the main camera as JPEG, first and last included; fewer without frames."""
    first, last = reel.span_ns()
    if last == 0:
        return []
    pictures = []
    for i in range(count):
        stamp = first + (last - first) * i // max(count - 1, 1)
        out = io.BytesIO()
        _picture(reel.at(reel.cameras[0], stamp), size).save(out, "JPEG", quality=82)
        pictures.append(out.getvalue())
    return pictures
