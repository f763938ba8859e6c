"""Normalized datasets of many small episodes, made to be alike or not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from finevla.contract import unified

FPS = 10


def poses(
    strategy: int, frames: int, seed: int, noise: float = 0.003, arm: str = "right"
) -> dict[str, np.ndarray]:
    """Slots of an episode: one hand takes one of several ways, the other rests."""
    rng = np.random.default_rng(seed)
    t = np.linspace(0.0, 1.0, frames)
    way = np.random.default_rng(1000 + strategy)
    bend = way.normal(0.0, 0.25, 3)
    line = np.outer(t, [0.2, 0.1, 0.1]) + np.outer(np.sin(np.pi * t), bend)
    angle = 0.5 * t * way.choice([-1.0, 1.0])
    moving = np.zeros((frames, 7))
    moving[:, :3] = line + rng.normal(0.0, noise, (frames, 3))
    moving[:, 5], moving[:, 6] = np.sin(angle / 2), np.cos(angle / 2)
    resting = np.tile([0.1, 0.3, 0.2, 0.0, 0.0, 0.0, 1.0], (frames, 1))
    grip = np.where(t > 0.6, 0.02, 0.08)[:, None]
    other = "left" if arm == "right" else "right"
    joints = np.outer(np.sin(3 * t), np.arange(1, 7) * 0.1) + strategy * 0.1 * np.sin(np.pi * t)[:, None]
    return {
        f"{arm}_eef": moving,
        f"{arm}_gripper": grip,
        f"{arm}_joint": joints,
        f"{other}_eef": resting,
        f"{other}_gripper": np.full((frames, 1), 0.08),
        f"{other}_joint": np.zeros((frames, 6)),
    }


def write_normalized(
    root: Path, episodes: Sequence[tuple[dict[str, np.ndarray], str]], robot: str = "cobotmagic"
) -> Path:
    """A dataset as `finevla normalize` leaves it, v2.1, with nothing but its vectors."""
    (root / "meta").mkdir(parents=True)
    tasks = list(dict.fromkeys(task for _, task in episodes))
    rows = []
    for number, (slots, task) in enumerate(episodes):
        frames = len(next(iter(slots.values())))
        vector, mask = unified.pack(slots)
        table = {
            unified.STATE: list(vector),
            unified.STATE_MASK: list(np.tile(mask, (frames, 1))),
            "episode_index": np.full(frames, number),
            "frame_index": np.arange(frames),
            "task_index": np.full(frames, tasks.index(task)),
        }
        path = root / f"data/chunk-000/episode_{number:06d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(table), path)
        rows.append({"episode_index": number, "tasks": [task], "length": frames})
    features = {
        key: {"dtype": kind, "shape": [unified.WIDTH], "names": None}
        for key, kind in ((unified.STATE, "float32"), (unified.STATE_MASK, "bool"))
    }
    info = {
        "codebase_version": "v2.1",
        "robot_type": robot,
        "total_episodes": len(rows),
        "total_frames": sum(row["length"] for row in rows),
        "fps": FPS,
        "chunks_size": 1000,
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "",
        "features": features,
    }
    lines = [{"task_index": k, "task": task} for k, task in enumerate(tasks)]
    (root / "meta/info.json").write_text(json.dumps(info))
    (root / "meta/tasks.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (root / "meta/episodes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    identity = {"dataset_hash": root.name, "robot": {"name": robot}}
    (root / "meta/unified.json").write_text(json.dumps(identity))
    return root


class Kit:
    """What tests make datasets of."""

    poses = staticmethod(poses)
    write = staticmethod(write_normalized)


@pytest.fixture
def kit() -> type[Kit]:
    return Kit


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """Two tasks in three ways each, four demonstrations of each way, of several lengths."""
    episodes = [
        (poses(way + 3 * task, 30 + 7 * copy, 100 * task + 10 * way + copy), f"task {task}")
        for task in range(2)
        for way in range(3)
        for copy in range(4)
    ]
    return write_normalized(tmp_path / "lab", episodes)
