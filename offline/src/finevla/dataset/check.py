"""Whether a LeRobot dataset is what it says: columns, times, indices, statistics, videos.

Nothing is decoded. What is wrong in many episodes is one problem, with the first of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from finevla.dataset.read import Opened
from finevla.dataset.stats import Stats, aggregate, of_table, values
from finevla.dataset.video import Survey, survey
from finevla.errors import DatasetError

TIME_TOLERANCE_S = 1e-4
"""LeRobot looks for a picture within so much of the time of its frame."""
_CLOSE = 1e-4
_TEXTS = {"string", "image", "video", "language"}

Problem = tuple[str, str]
"""A kind of problem, and where exactly in the episode."""


class Tally:
    """Problems by kind: in how many episodes, and the first one in full."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, int, str]] = {}

    def add(self, episode: int, problems: Iterable[Problem]) -> None:
        """Counts the problems of an episode, each kind once."""
        for kind, detail in dict(problems).items():
            count, first, told = self._found.get(kind, (0, episode, detail))
            self._found[kind] = (count + 1, first, told)

    def lines(self) -> list[str]:
        """One line per kind."""
        return [
            f"{kind}: {count} episode{'s' * (count > 1)}, the first is {first}: {told}"
            for kind, (count, first, told) in self._found.items()
        ]


def problems_of(
    opened: Opened,
    more: Callable[[pa.Table], Iterable[Problem]] = lambda _: (),
    advance: Callable[[], object] = lambda: None,
) -> list[str]:
    """Everything that is wrong with a dataset, in words; empty where it is sound.

    Args:
        opened: The dataset.
        more: Further checks of the columns of an episode, such as those that know the robot.
        advance: Called after every episode.
    """
    tally, videos, start = Tally(), _Videos(opened), 0
    stats: list[Mapping[str, Stats]] = []
    for number in range(len(opened.rows)):
        problems, found = _data(opened, number, start, more)
        tally.add(number, problems)
        tally.add(number, videos.problems(number))
        stats += [found] if found else []
        start += opened.length(number)
        advance()
    lines = tally.lines()
    if len(stats) == len(opened.rows) and opened.whole_stats:
        whole = _compared(aggregate(stats), opened.whole_stats)
        lines += [f"{kind} of the dataset: {detail}" for kind, detail in whole]
    return lines


def _data(
    opened: Opened, number: int, start: int, more: Callable[[pa.Table], Iterable[Problem]]
) -> tuple[list[Problem], dict[str, Stats]]:
    """What is wrong with the columns of an episode, and their statistics, if they can be read at all."""
    try:
        table = opened.table(number)
    except DatasetError as err:
        return [("data cannot be read", f"{err.what}, {err.found}")], {}
    if absent := list(_columns(table, opened.features)):
        return absent, {}
    stats = of_table(table, opened.features)
    problems = [
        *_indices(opened, number, table, start),
        *_numbers(table, opened.features),
        *_compared(stats, opened.stats(number)),
        *more(table),
    ]
    return problems, stats


def _columns(table: pa.Table, features: Mapping[str, Any]) -> Iterator[Problem]:
    for key, feature in features.items():
        if feature["dtype"] == "video":
            continue
        if key not in table.column_names:
            yield "column is missing", key
        elif table[key].null_count:
            yield "column has gaps", f"{key}, {table[key].null_count} of {len(table)}"
        elif feature["dtype"] not in _TEXTS:
            wanted, found = list(feature["shape"]), list(values(table, key).shape[1:]) or [1]
            if wanted != found:
                yield "column has another shape", f"{key} is {found}, not {wanted}"


def _indices(opened: Opened, number: int, table: pa.Table, start: int) -> Iterator[Problem]:
    frame = np.arange(len(table))
    for key, wanted in (("frame_index", frame), ("index", start + frame)):
        yield from _first_other(f"{key} does not count", values(table, key), wanted, 0.0)
    seconds = values(table, "timestamp").ravel()
    yield from _first_other(
        "timestamps are not the frame rate's", seconds, frame / opened.fps, TIME_TOLERANCE_S
    )
    tasks = values(table, "task_index").ravel()
    if tasks.min() < 0 or tasks.max() >= len(opened.tasks):
        yield "task_index without a task", f"{tasks.max()} of {len(opened.tasks)}"
        return
    said = sorted({opened.tasks[task] for task in tasks})
    if said != sorted(set(opened.tasks_of(number))):
        yield "data and metadata name other instructions", f"{said} and {list(opened.tasks_of(number))}"


def _first_other(kind: str, found: NDArray[Any], wanted: NDArray[Any], tolerance: float) -> Iterator[Problem]:
    wrong = np.flatnonzero(np.abs(found.ravel().astype(np.float64) - wanted) > tolerance)
    if len(wrong):
        yield kind, f"frame {wrong[0]} has {found.ravel()[wrong[0]]:g}, not {wanted[wrong[0]]:g}"


def _numbers(table: pa.Table, features: Mapping[str, Any]) -> Iterator[Problem]:
    for key, feature in features.items():
        if str(feature["dtype"]).startswith("float"):
            rows = values(table, key).reshape(len(table), -1)
            bad = np.argwhere(~np.isfinite(rows))
            if len(bad):
                frame, place = bad[0]
                yield f"{key} is not finite", f"frame {frame}, value {place} is {rows[frame, place]}"


def _compared(computed: Mapping[str, Stats], told: Mapping[str, Stats]) -> Iterator[Problem]:
    """Minimum, maximum, mean and deviation as they are told, against those of the data."""
    for key, stats in computed.items():
        for name in ("min", "max", "mean", "std"):
            if name not in told.get(key, {}):
                continue
            found, wanted = np.ravel(told[key][name]), np.ravel(stats[name])
            scale = np.maximum(np.abs(np.ravel(stats["max"]) - np.ravel(stats["min"])), 1e-6)
            if found.shape != wanted.shape or (np.abs(found - wanted) > _CLOSE * scale).any():
                yield f"statistics of {key} are not those of the data", f"{name} {found}, computed {wanted}"
                break


class _Videos:
    """Checks videos; the survey of a file serves all neighbouring episodes in it."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        self._last: dict[str, tuple[Path, Survey]] = {}

    def problems(self, number: int) -> Iterator[Problem]:
        """What is wrong with the videos of an episode."""
        opened = self._opened
        for key in opened.videos:
            try:
                piece = opened.piece(number, key)
                seen = self._survey(key, piece.path)
            except DatasetError as err:
                yield f"{key} cannot be used", f"{err.what}; {err.expected}; found {err.found}"
                continue
            found, begins = seen.of(piece, opened.fps)
            if opened.version != "v3.0":
                found = len(seen.times_s)
            size, wanted = [seen.height, seen.width], list(map(int, opened.features[key]["shape"][:2]))
            if found != piece.frames:
                yield f"{key} has another number of pictures", f"{found} for {piece.frames} frames"
            elif not begins:
                yield f"{key} begins without a key frame", f"at {piece.start_s:g} s of {piece.path.name}"
            elif size != wanted:
                yield f"{key} has another size", f"{size}, not {wanted} (height, width)"

    def _survey(self, key: str, path: Path) -> Survey:
        if key not in self._last or self._last[key][0] != path:
            self._last[key] = (path, survey(path))
        return self._last[key][1]
