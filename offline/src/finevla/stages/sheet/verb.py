"""`finevla sim sheet`: one picture of every task, clean and hard, from start to end."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from finevla.errors import FineVLAError, SimulationError
from finevla.sim.rollout import Image as Picture
from finevla.sim.rollout import demonstrate
from finevla.sim.room import overhead_camera
from finevla.sim.tasks import sample_goal, sample_scene, task_list
from finevla.sim.world import World
from finevla.stages.report import progress

CAPTIONS = ("start", "half-way", "end")
_HEAD_PX, _GAP_PX, _FONT_PX = 36, 4, 14
_PAPER, _INK, _BAD = (250, 250, 250), (20, 20, 20), (180, 20, 20)


@dataclass(frozen=True)
class Config:
    """Draws a contact sheet: a row per task, the expert at its start, half-way and end, clean and hard.

    Each row is headed by the instruction. Exit code 1 means that the expert failed; the row says where.
    """

    out: Path = Path("tasks.png")
    """Where to write the picture (PNG)."""
    task: str = "all"
    """Tasks, separated by commas, or all; a row each."""
    seed: int = 0
    """Seed of the scenes."""


@dataclass(frozen=True, slots=True)
class Strip:
    """Three pictures of one episode: its title, and whether the expert did what was asked."""

    title: str
    pictures: tuple[Picture, ...]
    done: bool


def main(config: Config) -> int:
    """Draws and writes the sheet."""
    begun = time.monotonic()
    if config.out.suffix.lower() != ".png" or config.out.is_dir():
        raise FineVLAError(
            "the contact sheet is a PNG",
            where="--out",
            expected="a file that ends in .png",
            found=config.out,
            remedy="give one with --out",
        )
    rows = list(strips(task_list(config.task), config.seed))
    try:
        config.out.parent.mkdir(parents=True, exist_ok=True)
        sheet(rows).save(config.out)
    except OSError as err:
        raise FineVLAError(
            "the contact sheet cannot be written",
            where=config.out,
            found=repr(err),
            remedy="give --out in a folder that can be written",
        ) from err
    failed = [strip.title for row in rows for strip in row if not strip.done]
    print(f"{config.out}: {len(rows)} tasks, clean and hard, in {time.monotonic() - begun:.0f} s")
    print("\n".join(f"failed: {title}" for title in failed), end="\n" if failed else "")
    return 1 if failed else 0


def strips(tasks: Sequence[str], seed: int) -> Iterator[tuple[Strip, Strip]]:
    """For each task its clean and its hard episode.

    Raises:
        SimulationError: Nothing can render here.
    """
    world = World(render=True)
    with progress("episodes") as bar:
        row = bar.add_task("drawing", total=2 * len(tasks))
        for task in tasks:
            pair = []
            for hard in (False, True):
                pair.append(_strip(world, task, seed, hard=hard))
                bar.advance(row)
            yield pair[0], pair[1]


def _strip(world: World, task: str, seed: int, *, hard: bool) -> Strip:
    spec = sample_scene(task, seed, hard=hard)
    goal, camera = sample_goal(spec), overhead_camera(world.contract)
    try:
        demo = demonstrate(world, goal, seed, spec=spec, template=0, cameras=(camera,))
    except SimulationError as err:
        blank = world.images((camera,))[camera]
        return Strip(f"{task}: {err.what}", (blank,) * len(CAPTIONS), done=False)
    frames = demo.images[camera]
    chosen = tuple(frames[k] for k in (0, len(frames) // 2, -1))
    title = f"{task}, {'hard' if hard else 'clean'}: {demo.text}"
    return Strip(title if demo.success else f"FAILED {title}", chosen, demo.success)


def sheet(rows: Sequence[tuple[Strip, ...]]) -> Image.Image:
    """All strips on one sheet: a row per task, strips side by side, each under its title."""
    height, width = rows[0][0].pictures[0].shape[:2]
    strip_width = len(CAPTIONS) * (width + _GAP_PX) + _GAP_PX
    line = _HEAD_PX + height + _GAP_PX
    paper = Image.new("RGB", (strip_width * len(rows[0]), line * len(rows)), _PAPER)
    draw, font = ImageDraw.Draw(paper), ImageFont.load_default(_FONT_PX)
    for y, row in enumerate(rows):
        for x, strip in enumerate(row):
            left, top = x * strip_width, y * line
            words = _fitting(strip.title, strip_width - 4 * _GAP_PX, font)
            draw.text((left + 2 * _GAP_PX, top + 2), words, _INK if strip.done else _BAD, font=font)
            for k, picture in enumerate(strip.pictures):
                at = (left + _GAP_PX + k * (width + _GAP_PX), top + _HEAD_PX)
                paper.paste(Image.fromarray(np.asarray(picture)), at)
                draw.text((at[0] + 1, at[1] - 16), CAPTIONS[k], _INK, font=font)
    return paper


def _fitting(text: str, width_px: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """The text, cut with dots where it is too wide."""
    if font.getlength(text) <= width_px:
        return text
    kept = bisect_right(
        range(len(text)), float(width_px), key=lambda n: float(font.getlength(text[:n] + "..."))
    )
    return text[: max(kept - 1, 0)] + "..."
