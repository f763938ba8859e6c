"""Kept episodes as a writer takes them: their columns with four more, their videos as they are encoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from finevla.contract import unified
from finevla.dataset.arrow import numbers
from finevla.dataset.model import Header, Recording, table_of
from finevla.dataset.read import OWN_INFO, Opened
from finevla.dataset.stats import Stats, aggregate, of_rows, of_table, values
from finevla.errors import DatasetError
from finevla.stages.import_.lerobot import Cut, Videos, cut
from finevla.stages.normalize.examine import Fault, is_numeric, opened_once, seconds_of
from finevla.stages.normalize.unify import Plan, Unified, absolute, unify
from finevla.stages.report import progress

FEATURES: Mapping[str, Any] = {
    **{
        key: {"dtype": "float32", "shape": [unified.WIDTH], "names": unified.place_names()}
        for key in (unified.STATE, unified.ACTION)
    },
    **{
        key: {"dtype": "bool", "shape": [unified.WIDTH], "names": unified.place_names()}
        for key in (unified.STATE_MASK, unified.ACTION_MASK)
    },
}
"""What the dataset has beyond its source."""
_BLOCK = 8
"""Dimensions whose statistics are made at once, to need little memory."""


@dataclass(frozen=True, slots=True)
class Job:
    """One episode to keep. `scratch` receives its videos; they are moved when the writer does so."""

    root: Path
    number: int
    plan: Plan
    scratch: Path


@dataclass(frozen=True, slots=True)
class Made:
    """A kept episode: its index in the source, its vectors, its videos."""

    number: int
    vectors: Unified
    videos: Videos


def make(job: Job) -> Made | Fault:
    """Unifies an episode and takes its videos out of the source; a damaged video is the episode's fault."""
    opened = opened_once(job.root)
    vectors = unify(absolute(opened.table(job.number), job.plan), job.plan)
    try:
        videos = cut(
            Cut(
                {key: opened.piece(job.number, key) for key in opened.videos},
                job.scratch / f"{job.number:06d}",
                opened.fps,
                "split" if opened.version == "v3.0" else "copy",
                measured=opened.version == "v2.0",
            )
        )
    except DatasetError as err:
        return Fault("bad_video", str(err))
    return Made(job.number, vectors, videos)


def table_with(opened: Opened, made: Made, number: int, start: int) -> pa.Table:
    """The columns of an episode under its new index, with the unified vectors.

    Args:
        opened: The source.
        made: The episode.
        number: Its new index.
        start: New index of its first frame.
    """
    # What `datasets` wrote about the columns is no longer true of them.
    table = opened.table(made.number).replace_schema_metadata(None)
    frames = np.arange(len(table))
    fresh: dict[str, NDArray[Any]] = {"episode_index": np.full(len(table), number), "index": start + frames}
    if values(table, "timestamp").ravel()[0] != 0.0:
        fresh["timestamp"] = seconds_of(table)
    for name, rows in fresh.items():
        place = table.column_names.index(name)
        if pa.types.is_primitive(table.schema.field(name).type):
            table = table.set_column(place, name, numbers(rows).cast(table.schema.field(name).type))
        else:
            table = table.set_column(place, name, numbers(rows.astype(values(table, name).dtype)))
    found = made.vectors
    added = table_of(
        {
            unified.STATE: found.state,
            unified.ACTION: found.action,
            unified.STATE_MASK: np.tile(found.state_mask, (len(table), 1)),
            unified.ACTION_MASK: np.tile(found.action_mask, (len(table), 1)),
        }
    )
    for name in added.column_names:
        table = table.append_column(name, added[name])
    return table


def build(opened: Opened, episodes: Sequence[Made], robot: str | None) -> tuple[Header, list[Recording]]:
    """Header and episodes of the dataset, with statistics of everything that it holds.

    The numbers of all kept episodes are in memory meanwhile, some 700 bytes for a frame.

    Args:
        opened: The source.
        episodes: Those that are kept, in order.
        robot: Name of the robot.
    """
    features = {**opened.features, **FEATURES}
    numeric = {key: feature for key, feature in features.items() if is_numeric(feature)}
    rows: dict[str, list[NDArray[Any]]] = {key: [] for key in numeric}
    recordings: list[Recording] = []
    start = 0
    with progress("episodes") as bar:
        row = bar.add_task("statistics", total=len(episodes))
        for number, made in enumerate(episodes):
            read = partial(table_with, opened, made, number, start)
            table = read()
            start += len(table)
            for key, parts in rows.items():
                parts.append(values(table, key).reshape(len(table), -1))
            recordings.append(
                Recording(
                    tasks=opened.tasks_of(made.number),
                    length=len(table),
                    table=read,
                    videos=made.videos.files,
                    stats={**_told(opened, made), **of_table(table, numeric)},
                    spare=True,
                )
            )
            bar.advance(row)
    header = Header(
        robot_type=robot,
        fps=opened.fps,
        features=features,
        tasks=opened.tasks,
        stats={**_pictures(opened, episodes), **{key: _whole(parts) for key, parts in rows.items()}},
        more={key: value for key, value in opened.info.items() if key not in OWN_INFO},
    )
    return replace(header, more=_with_splits(header.more, [made.number for made in episodes])), recordings


def _told(opened: Opened, made: Made) -> dict[str, Stats]:
    """Statistics of an episode that are not made anew: those of its pictures."""
    told = {**opened.stats(made.number), **made.videos.stats}
    return {
        key: entry for key, entry in told.items() if not is_numeric(opened.features.get(key, {"dtype": ""}))
    }


def _pictures(opened: Opened, episodes: Sequence[Made]) -> dict[str, Stats]:
    """Statistics of pictures over the dataset: as told where all episodes are kept, else put together."""
    told = {
        key: entry
        for key, entry in opened.whole_stats.items()
        if key in opened.features and not is_numeric(opened.features[key])
    }
    if told and len(episodes) == len(opened.rows):
        return told
    return aggregate([_told(opened, made) for made in episodes])


def _whole(parts: Sequence[NDArray[Any]]) -> Stats:
    """Statistics of all rows of a column, parts (T, d), some dimensions at a time."""
    width = parts[0].shape[1]
    blocks = [
        of_rows(np.concatenate([part[:, first : first + _BLOCK] for part in parts]))
        for first in range(0, width, _BLOCK)
    ]
    joined = {
        name: np.concatenate([block[name] for block in blocks]) for name in blocks[0] if name != "count"
    }
    return {**joined, "count": blocks[0]["count"]}


def _with_splits(more: Mapping[str, Any], kept: Sequence[int]) -> dict[str, Any]:
    """Ranges of episodes, counted anew; splits that are no ranges are left out, not copied wrong."""
    splits: dict[str, str] = {}
    for name, told in dict(more.get("splits") or {}).items():
        first, _, last = str(told).partition(":")
        if not first.isdigit() or not last.isdigit():
            break
        ends = [sum(number < int(end) for number in kept) for end in (first, last)]
        splits[name] = f"{ends[0]}:{ends[1]}"
    else:
        return {**more, "splits": splits} if splits else dict(more)
    return {key: value for key, value in more.items() if key != "splits"}
