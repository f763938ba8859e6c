"""A dataset of another lab's robot in LeRobot's v2 layouts, written without the code under test.

Layout: lerobot 0.3.3, `datasets/utils.py` (v2.1) and its `v21/convert_dataset_v20_to_v21.py`, which says what
v2.0 lacks. One arm of seven values, 15 frames per second, one camera with B-frames, an
episode with two instructions, columns of other types, files that LeRobot does not know.
"""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

FPS = 15
LENGTHS = (7, 12, 5)
TASKS = ("pick up the can", "move the sponge", "then press")
TASKS_OF = ((0,), (1, 2), (0,))
CAMERA = "observation.images.wrist_cam"
SIZE = (64, 48)
NAMES = [f"j{i}" for i in range(6)] + ["grip"]
MODALITY = {"state": {"arm": {"start": 0, "end": 6}}}


def picture(number: int) -> np.ndarray:
    """Something that differs from frame to frame."""
    rows, columns = np.mgrid[0 : SIZE[1], 0 : SIZE[0]]
    return np.stack([(rows * 5 + number * 17) % 256, (columns * 3) % 256, rows * 0 + number * 9], -1).astype(
        np.uint8
    )


def write_video(path: Path, first: int, frames: int, **options: str) -> None:
    """An MP4 of `frames` pictures."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=FPS, options={"g": "4", "bf": "2", "threads": "1", **options})
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(first + number), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def columns(episode: int) -> dict[str, pa.Array]:
    """The columns of an episode's data file."""
    n, start = LENGTHS[episode], sum(LENGTHS[:episode])
    rng = np.random.default_rng(episode)
    frame = np.arange(n)

    def vector() -> pa.Array:
        flat = pa.array(rng.normal(size=n * 7).astype(np.float32))
        return pa.FixedSizeListArray.from_arrays(flat, 7)

    task = [TASKS_OF[episode][-1 if i > n // 2 else 0] for i in range(n)]
    return {
        "observation.state": vector(),
        "action": vector(),
        "next.done": pa.array(frame == n - 1),
        "next.reward": pa.array(rng.normal(size=n)),
        "note": pa.array([f"frame {i}" for i in range(n)]),
        "timestamp": pa.array((frame / FPS).astype(np.float32)),
        "frame_index": pa.array(frame),
        "episode_index": pa.array(np.full(n, episode)),
        "index": pa.array(start + frame),
        "task_index": pa.array(task),
    }


def features() -> dict:
    """`features` of info.json."""
    vector = {"dtype": "float32", "shape": [7], "names": NAMES}
    video = {"video.fps": FPS, "video.codec": "h264", "video.pix_fmt": "yuv420p", "has_audio": False}
    scalars = {"next.done": "bool", "next.reward": "float64", "note": "string", "timestamp": "float32"}
    scalars |= dict.fromkeys(("frame_index", "episode_index", "index", "task_index"), "int64")
    return {
        "observation.state": vector,
        "action": vector,
        CAMERA: {
            "dtype": "video",
            "shape": [SIZE[1], SIZE[0], 3],
            "names": ["height", "width", "channels"],
            "info": video,
        },
        **{key: {"dtype": dtype, "shape": [1], "names": None} for key, dtype in scalars.items()},
    }


def stats_of(tables: list[dict[str, pa.Array]]) -> dict:
    """Statistics as lerobot 0.3.3 writes them: five numbers per feature, pictures in [0, 1]."""
    found = {}
    for key, feature in features().items():
        if feature["dtype"] in {"video", "string"}:
            continue
        width = feature["shape"][0]
        parts = [t[key].flatten() if width > 1 else t[key] for t in tables]
        rows = np.concatenate(
            [p.to_numpy(zero_copy_only=False).reshape(-1, width).astype(float) for p in parts]
        )
        found[key] = {name: getattr(rows, name)(axis=0).tolist() for name in ("min", "max", "mean", "std")}
        found[key]["count"] = [len(rows)]
    one = [[[0.25]], [[0.5]], [[0.75]]]
    found[CAMERA] = {**dict.fromkeys(("min", "max", "mean", "std"), one), "count": [len(tables)]}
    return found


def write_foreign(root: Path, version: str) -> Path:
    """Writes the dataset as v2.0 or v2.1; returns its folder."""
    meta = root / "meta"
    meta.mkdir(parents=True)
    tables = [columns(episode) for episode in range(len(LENGTHS))]
    for episode, table in enumerate(tables):
        data = root / f"data/chunk-000/episode_{episode:06d}.parquet"
        data.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(table), data)
        write_video(
            root / f"videos/chunk-000/{CAMERA}/episode_{episode:06d}.mp4", 20 * episode, LENGTHS[episode]
        )
    info = {
        "codebase_version": version,
        "robot_type": "other_arm",
        "total_episodes": len(LENGTHS),
        "total_frames": sum(LENGTHS),
        "total_tasks": len(TASKS),
        "total_videos": len(LENGTHS),
        "total_chunks": 1,
        "chunks_size": 1000,
        "fps": FPS,
        "splits": {"train": "0:2", "val": "2:3"},
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
        "features": features(),
        "lab": "of the neighbours",
    }
    (meta / "info.json").write_text(json.dumps(info))
    _lines(meta / "tasks.jsonl", [{"task_index": i, "task": task} for i, task in enumerate(TASKS)])
    rows = [
        {"episode_index": i, "tasks": [TASKS[t] for t in TASKS_OF[i]], "length": n}
        for i, n in enumerate(LENGTHS)
    ]
    _lines(meta / "episodes.jsonl", rows)
    if version == "v2.1":
        stats = [{"episode_index": i, "stats": stats_of([table])} for i, table in enumerate(tables)]
        _lines(meta / "episodes_stats.jsonl", stats)
    else:
        (meta / "stats.json").write_text(json.dumps(stats_of(tables)))
    (meta / "modality.json").write_text(json.dumps(MODALITY))
    return root


def _lines(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
