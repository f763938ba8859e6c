"""Writes LeRobot v3.0: many episodes per file. Opened by `LeRobotDataset` itself in a test."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from finevla.dataset.arrow import column, indexed, of_rows
from finevla.dataset.join import concatenate, take
from finevla.dataset.model import CHUNK, Header, Recording
from finevla.dataset.stats import as_json
from finevla.dataset.video import Clip, checked, probe
from finevla.files import write_json

VERSION = "v3.0"
MIB = 1024**2
DATA_FILE_MIB = 100
VIDEO_FILE_MIB = 200
FILE = "chunk-{chunk_index:03d}/file-{file_index:03d}"

Row = dict[str, Any]


def write(header: Header, episodes: Sequence[Recording], folder: Path) -> None:
    """Writes the whole dataset into a folder."""
    rows: list[Row] = []
    start = 0
    for number, episode in enumerate(episodes):
        rows.append(
            {
                "episode_index": number,
                "tasks": list(episode.tasks),
                "length": episode.length,
                "dataset_from_index": start,
                "dataset_to_index": start + episode.length,
            }
        )
        start += episode.length
    _write_data(episodes, folder, rows)
    for key in header.videos:
        _write_videos(key, header.fps, episodes, folder, rows)
    _write_meta(header, episodes, folder, rows)


def _place(file: int) -> dict[str, int]:
    return {"chunk_index": file // CHUNK, "file_index": file % CHUNK}


class _Files:
    """Data files, one after the other, each up to the size that LeRobot gives them."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._number, self._size = folder, -1, 0
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()

    def add(self, table: pa.Table) -> dict[str, int]:
        """Writes an episode as one row group; returns the place of its file."""
        if self._writer is None or self._size + table.nbytes > DATA_FILE_MIB * MIB:
            if self._writer is not None:
                self._writer.close()
            self._number, self._size = self._number + 1, 0
            path = self._folder / "data" / f"{FILE.format(**_place(self._number))}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(path, table.schema, compression="snappy")
        self._writer.write_table(table)
        self._size += table.nbytes
        return _place(self._number)


def _write_data(episodes: Sequence[Recording], folder: Path, rows: list[Row]) -> None:
    with _Files(folder) as files:
        for row, episode in zip(rows, episodes, strict=True):
            row.update({f"data/{name}": value for name, value in files.add(episode.table()).items()})


def _groups(clips: Sequence[Clip]) -> Iterator[range]:
    """Runs of neighbouring episodes that may share a file: of one encoding, and small enough together."""
    start, total = 0, 0
    for number, clip in enumerate(clips):
        other = clip.encoding != clips[start].encoding
        if number > start and (other or total + clip.size > VIDEO_FILE_MIB * MIB):
            yield range(start, number)
            start, total = number, 0
        total += clip.size
    yield range(start, len(clips))


def _write_videos(key: str, fps: int, episodes: Sequence[Recording], folder: Path, rows: list[Row]) -> None:
    clips = [checked(probe(episode.videos[key]), episode.length) for episode in episodes]
    prefix = f"videos/{key}"
    for file, group in enumerate(_groups(clips)):
        path = folder / "videos" / key / f"{FILE.format(**_place(file))}.mp4"
        if len(group) == 1 and episodes[group.start].spare:
            take(clips[group.start], path, fps)
        else:
            concatenate([clips[number] for number in group], path, fps)
        frames = 0
        for number in group:
            rows[number].update({f"{prefix}/{name}": value for name, value in _place(file).items()})
            rows[number][f"{prefix}/from_timestamp"] = frames / fps
            frames += clips[number].frames
            rows[number][f"{prefix}/to_timestamp"] = frames / fps


def _write_meta(header: Header, episodes: Sequence[Recording], folder: Path, rows: list[Row]) -> None:
    meta = folder / "meta"
    for row, episode in zip(rows, episodes, strict=True):
        for key, entry in as_json(episode.stats).items():
            row.update({f"stats/{key}/{name}": values for name, values in entry.items()})
        row.update({f"meta/episodes/{name}": value for name, value in _place(0).items()})
    path = meta / "episodes" / f"{FILE.format(**_place(0))}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(of_rows(rows), path, compression="snappy")
    tasks = {"task_index": column(range(len(header.tasks))), "task": column(header.tasks)}
    pq.write_table(indexed(tasks, "task"), meta / "tasks.parquet")
    write_json(meta / "stats.json", as_json(header.stats))
    document = {
        **header.info(VERSION, [episode.length for episode in episodes]),
        "data_files_size_in_mb": DATA_FILE_MIB,
        "video_files_size_in_mb": VIDEO_FILE_MIB,
        "data_path": f"data/{FILE}.parquet",
        "video_path": f"videos/{{video_key}}/{FILE}.mp4" if header.videos else None,
    }
    write_json(meta / "info.json", document)
