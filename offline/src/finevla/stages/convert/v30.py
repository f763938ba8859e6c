"""LeRobot v3.0: many episodes per file. Written natively, opened by `LeRobotDataset` in a test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from finevla.stages.convert.layout import (
    CHUNK,
    Dataset,
    columns,
    dataset_stats,
    episode_stats,
    info,
    table,
    write_language,
)
from finevla.stages.convert.stats import as_json
from finevla.stages.convert.video import concatenate
from finevla.stages.report import write_json

VERSION = "v3.0"
MIB = 1024**2
DATA_FILE_MIB = 100
VIDEO_FILE_MIB = 200
FILE = "chunk-{chunk_index:03d}/file-{file_index:03d}"


def _place(file: int) -> dict[str, int]:
    return {"chunk_index": file // CHUNK, "file_index": file % CHUNK}


def _groups(sizes: list[int], limit: int) -> Iterator[range]:
    """Runs of neighbouring episodes whose sizes together stay under the limit."""
    start, total = 0, 0
    for number, size in enumerate(sizes):
        if number > start and total + size > limit:
            yield range(start, number)
            start, total = number, 0
        total += size
    yield range(start, len(sizes))


def write(dataset: Dataset, folder: Path) -> None:
    """Writes the whole dataset into an empty folder."""
    rows: list[dict[str, Any]] = [
        {
            "episode_index": number,
            "tasks": [episode.task],
            "length": episode.length,
            "dataset_from_index": start,
            "dataset_to_index": start + episode.length,
        }
        for number, (episode, start) in enumerate(zip(dataset.episodes, dataset.starts, strict=True))
    ]
    _write_data(dataset, folder, rows)
    _write_videos(dataset, folder, rows)
    _write_meta(dataset, folder, rows)
    write_language(dataset, folder)


def _write_data(dataset: Dataset, folder: Path, rows: list[dict[str, Any]]) -> None:
    tables = [table(columns(dataset, number)) for number in range(len(dataset.episodes))]
    for file, group in enumerate(_groups([t.nbytes for t in tables], DATA_FILE_MIB * MIB)):
        path = folder / "data" / f"{FILE.format(**_place(file))}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        with pq.ParquetWriter(path, tables[0].schema, compression="snappy") as writer:
            for number in group:
                writer.write_table(tables[number])  # one row group per episode
                rows[number].update({f"data/{key}": value for key, value in _place(file).items()})


def _write_videos(dataset: Dataset, folder: Path, rows: list[dict[str, Any]]) -> None:
    for name, camera in dataset.cameras.items():
        parts = [(episode.videos[name], episode.length) for episode in dataset.episodes]
        sizes = [path.stat().st_size for path, _ in parts]
        for file, group in enumerate(_groups(sizes, VIDEO_FILE_MIB * MIB)):
            path = folder / "videos" / camera.key / f"{FILE.format(**_place(file))}.mp4"
            concatenate([parts[number] for number in group], path, dataset.fps)
            frames = 0
            for number in group:
                prefix = f"videos/{camera.key}"
                rows[number].update({f"{prefix}/{key}": value for key, value in _place(file).items()})
                rows[number][f"{prefix}/from_timestamp"] = frames / dataset.fps
                frames += parts[number][1]
                rows[number][f"{prefix}/to_timestamp"] = frames / dataset.fps


def _write_meta(dataset: Dataset, folder: Path, rows: list[dict[str, Any]]) -> None:
    meta = folder / "meta"
    for number, row in enumerate(rows):
        for key, entry in as_json(episode_stats(dataset, number)).items():
            row.update({f"stats/{key}/{name}": values for name, values in entry.items()})
        row.update({f"meta/episodes/{key}": value for key, value in _place(0).items()})
    path = meta / "episodes" / f"{FILE.format(**_place(0))}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path, compression="snappy")
    tasks = dataset.tasks
    frame = pa.table({"task_index": pa.array(range(len(tasks)), pa.int64()), "task": tasks}).to_pandas()
    frame.set_index("task").to_parquet(meta / "tasks.parquet")
    write_json(meta / "stats.json", as_json(dataset_stats(dataset)))
    document = {
        **info(dataset, VERSION),
        "data_files_size_in_mb": DATA_FILE_MIB,
        "video_files_size_in_mb": VIDEO_FILE_MIB,
        "data_path": f"data/{FILE}.parquet",
        "video_path": f"videos/{{video_key}}/{FILE}.mp4",
    }
    write_json(meta / "info.json", document)
