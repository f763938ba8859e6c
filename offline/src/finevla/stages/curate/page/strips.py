"""Video strips: a few small pictures of an episode side by side, in one JPEG."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from finevla.contract import load_contract
from finevla.dataset.read import Opened, open_dataset
from finevla.dataset.video import Piece, reading, unreadable
from finevla.errors import DatasetError

FRAMES, WIDTH, GAP, QUALITY = 6, 160, 2, 60


@dataclass
class Strips:
    """The strips of a page.

    Attributes:
        limit: How many there may be.
        images: Episode -> JPEG as base64.
        failed: Episode -> why its video could not be read.
        without: Dataset -> why none of its episodes has a strip.
        asked: Episodes that were tried or left out for their dataset.
    """

    limit: int
    images: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    without: dict[str, str] = field(default_factory=dict)
    asked: int = 0


def make_strips(
    wanted: Iterable[Mapping[str, Any]], datasets: Mapping[str, Path], limit: int, *, frames: int = FRAMES
) -> Strips:
    """Reads pictures of episodes until there are `limit` strips.

    Args:
        wanted: Lines of `episodes.jsonl`, the most important first.
        datasets: Folders of the datasets, by name.
        limit: How many strips to make.
        frames: Pictures in a strip.
    """
    made = Strips(limit)
    opened: dict[str, tuple[Opened, str]] = {}
    for row in wanted:
        if len(made.images) >= limit:
            break
        name, episode = str(row["dataset"]), str(row["episode"])
        made.asked += 1
        if name not in opened and name not in made.without:
            _open(name, datasets, opened, made)
        if name in made.without:
            continue
        try:
            jpeg = strip(*opened[name], int(row["index"]), frames)
            made.images[episode] = base64.b64encode(jpeg).decode()
        except DatasetError as err:
            made.failed[episode] = f"{err.what}: {err.found}"
    return made


def _open(
    name: str, datasets: Mapping[str, Path], opened: dict[str, tuple[Opened, str]], made: Strips
) -> None:
    """Opens a dataset, or says why there is nothing to see of it."""
    if name not in datasets:
        made.without[name] = "the folder of the dataset was not given"
        return
    try:
        dataset = open_dataset(Path(datasets[name]))
    except DatasetError as err:
        made.without[name] = f"the dataset cannot be opened: {err.what}"
        return
    key = camera_of(dataset.videos)
    if key is None:
        made.without[name] = "no video"
    else:
        opened[name] = (dataset, key)


def camera_of(videos: Sequence[str]) -> str | None:
    """The camera of which strips are made: the contract's pivot, otherwise the first."""
    contract = load_contract()
    pivot = contract.cameras[contract.sync.pivot].key
    return pivot if pivot in videos else next(iter(videos), None)


def strip(dataset: Opened, key: str, number: int, frames: int = FRAMES) -> bytes:
    """A JPEG of an episode's pictures from its first to its last frame, evenly spaced in time.

    Raises:
        DatasetError: There is no such episode, or its video is missing, damaged or too short.
    """
    if not 0 <= number < len(dataset.rows):
        raise DatasetError(
            "there is no such episode",
            where=dataset.root,
            expected=f"0 to {len(dataset.rows) - 1}",
            found=number,
        )
    piece = dataset.piece(number, key)
    at = [round(float(number)) for number in np.linspace(0, piece.frames - 1, frames)]
    small = stills(piece, at, dataset.fps)
    height = small[0].height
    sheet = Image.new("RGB", (frames * (WIDTH + GAP) - GAP, height), (255, 255, 255))
    for place, picture in enumerate(small):
        sheet.paste(picture, (place * (WIDTH + GAP), 0))
    out = io.BytesIO()
    sheet.save(out, "JPEG", quality=QUALITY, optimize=True)
    return out.getvalue()


def stills(piece: Piece, at: Sequence[int], fps: int) -> list[Image.Image]:
    """Small pictures of some frames of an episode, ascending; decodes from the key frame before each.

    Raises:
        DatasetError: The video cannot be read, or lacks one of the frames.
    """
    found: list[Image.Image] = []
    with reading(piece.path) as (container, stream):
        begin = float((stream.start_time or 0) * stream.time_base)
        for number in at:
            if found and number == at[len(found) - 1]:
                found.append(found[-1])
                continue
            frame = _frame(container, stream, begin + piece.start_s + number / fps, 0.5 / fps)
            if frame is None:
                raise unreadable(piece.path, f"no picture of frame {number}")
            height = max(1, round(frame.height * WIDTH / frame.width))
            found.append(frame.reformat(width=WIDTH, height=height, format="rgb24").to_image())
    return found


def _frame(container: Any, stream: Any, time_s: float, slack_s: float) -> Any:
    """The picture that is shown at a time, or None where there is none within a frame of it."""
    container.seek(int(time_s / stream.time_base), stream=stream)
    for frame in container.decode(stream):
        if frame.time is not None and frame.time > time_s - slack_s:
            return frame if frame.time < time_s + 2 * slack_s else None
    return None
