"""LeRobot v2.1: one data file and one video per camera for every episode."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from finevla.stages.convert.layout import CHUNK, Dataset, columns, episode_stats, info, table, write_language
from finevla.stages.convert.stats import as_json
from finevla.stages.report import write_json, write_jsonl

VERSION = "v2.1"
DATA_PATH = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
VIDEO_PATH = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"


def write(dataset: Dataset, folder: Path) -> None:
    """Writes the whole dataset into an empty folder; the videos are moved there."""
    meta = folder / "meta"
    for number, episode in enumerate(dataset.episodes):
        place = {"episode_chunk": number // CHUNK, "episode_index": number}
        data = folder / DATA_PATH.format(**place)
        data.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table(columns(dataset, number)), data, compression="snappy")
        for name, camera in dataset.cameras.items():
            video = folder / VIDEO_PATH.format(**place, video_key=camera.key)
            video.parent.mkdir(parents=True, exist_ok=True)
            episode.videos[name].replace(video)
    total = len(dataset.episodes)
    document = {
        **info(dataset, VERSION),
        "total_videos": total * len(dataset.cameras),
        "total_chunks": (total - 1) // CHUNK + 1,
        "data_path": DATA_PATH,
        "video_path": VIDEO_PATH,
    }
    write_json(meta / "info.json", document)
    write_jsonl(
        meta / "tasks.jsonl", [{"task_index": i, "task": task} for i, task in enumerate(dataset.tasks)]
    )
    write_jsonl(
        meta / "episodes.jsonl",
        [
            {"episode_index": i, "tasks": [episode.task], "length": episode.length}
            for i, episode in enumerate(dataset.episodes)
        ],
    )
    write_jsonl(
        meta / "episodes_stats.jsonl",
        [{"episode_index": i, "stats": as_json(episode_stats(dataset, i))} for i in range(total)],
    )
    write_language(dataset, folder)
