"""`finevla sim record`: demonstrations of the scripted expert as bags."""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

from finevla.bag.writer import RECORDING_DIR
from finevla.contract.robot import load_contract
from finevla.errors import FineVLAError, SimulationError
from finevla.sim.rollout import demonstrate
from finevla.sim.tasks import task_named
from finevla.sim.world import World
from finevla.stages.record.bag import write_demonstration
from finevla.stages.record.plan import Planned, plan, scenes
from finevla.stages.report import (
    REJECTED_FILE,
    REPORT_FILE,
    Rejected,
    plain,
    progress,
    write_json,
    write_jsonl,
)

CONFIG_FILE = "recording.json"
NS_PER_EPISODE = 1_000_000_000_000
"""Episode n starts at simulated time (n + 1) * 1000 s, whatever process makes it."""

log = logging.getLogger("finevla.record")


@dataclass(frozen=True)
class Config:
    """Records demonstrations of the scripted expert in the simulator as rosbag2 bags.

    Balanced over task, arm and color. An interrupted recording goes on where it stopped when the
    same command is given again.
    """

    out: Path
    """Folder of the bags."""
    task: str = "pick_lift,place_in_bowl"
    """Tasks, separated by commas."""
    episodes: int = 400
    """Number of episodes in all."""
    seed: int = 0
    """Decides scenes, sentences and disturbances."""
    noise: float = 1.0
    """Strength of the pushes that the followers get, so that the data shows recovery; 0 is none."""
    workers: int = 1
    """Processes that simulate."""
    json: bool = False
    """Print the report as JSON."""


@dataclass(frozen=True, slots=True)
class Job:
    """One episode for one process."""

    planned: Planned
    out: Path
    seed: int
    noise: float


@dataclass(frozen=True, slots=True)
class Done:
    """What came of a job: the number of frames (0 if none succeeded) and the attempts that failed."""

    name: str
    frames: int
    failed: tuple[Rejected, ...]


@lru_cache(maxsize=1)
def _world() -> World:
    return World(render=True)


def record_episode(job: Job) -> Done:
    """Tries scenes until the expert succeeds in one, and writes that one; failures are listed."""
    failed: list[Rejected] = []
    contract = load_contract()
    for spec in scenes(job.planned, job.seed):
        try:
            demo = demonstrate(_world(), job.planned.goal, spec.seed, job.noise, spec=spec, samples=True)
        except SimulationError as err:
            failed.append(Rejected(f"{job.planned.name} seed {spec.seed}", "not_simulated", str(err)))
            continue
        if not demo.success:
            failed.append(Rejected(f"{job.planned.name} seed {spec.seed}", "expert_failed", str(demo.score)))
            continue
        shutil.rmtree(job.out / RECORDING_DIR / job.planned.name, ignore_errors=True)
        start_ns = (job.planned.number + 1) * NS_PER_EPISODE
        write_demonstration(job.out, job.planned.name, demo, contract, start_ns)
        return Done(job.planned.name, len(demo.stamps_ns), tuple(failed))
    return Done(job.planned.name, 0, tuple(failed))


def _run(jobs: list[Job], workers: int) -> Iterator[Done]:
    with progress("episodes") as bar:
        task = bar.add_task("recording", total=len(jobs))
        if workers <= 1:
            for job in jobs:
                yield record_episode(job)
                bar.advance(task)
            return
        # Spawned, because a process that has rendered does not survive a fork.
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            for done in pool.map(record_episode, jobs, chunksize=1):
                yield done
                bar.advance(task)


def _claim(config: Config) -> None:
    """Notes in the folder what is recorded there, or checks that it is the same as before."""
    mine = {
        "task": config.task,
        "seed": config.seed,
        "noise": config.noise,
        "contract_hash": load_contract().hash,
    }
    path = config.out / CONFIG_FILE
    if path.exists():
        before = json.loads(path.read_text())
        if before != mine:
            raise FineVLAError(
                "another recording lies in this folder",
                where=config.out,
                expected=before,
                found=mine,
                remedy="give another --out, or the same task, seed and noise to go on",
            )
        return
    if config.out.exists() and any(config.out.iterdir()):
        raise FineVLAError(
            "the output folder holds something else", where=config.out, remedy="give another --out"
        )
    write_json(path, mine)


def record(config: Config) -> dict[str, object]:
    """Records what is missing of the planned episodes.

    Returns:
        The counts of the report.

    Raises:
        FineVLAError: The folder holds another recording, or there is no such task.
        SimulationError: An episode succeeded in none of its scenes.
    """
    tasks = [name.strip() for name in config.task.split(",") if name.strip()]
    for name in tasks:
        task_named(name)
    if not tasks or config.episodes < 1:
        raise FineVLAError("there is nothing to record", remedy="name a task and at least one episode")
    started = time.monotonic()
    _claim(config)
    planned = plan(tasks, config.episodes)
    jobs = [
        Job(p, config.out, config.seed, config.noise) for p in planned if not (config.out / p.name).exists()
    ]
    done = list(_run(jobs, config.workers))
    failed = [item for result in done for item in result.failed]
    seconds = time.monotonic() - started
    counts: dict[str, object] = {
        "out": str(config.out),
        "episodes": len(planned),
        "recorded_now": sum(result.frames > 0 for result in done),
        "frames_now": sum(result.frames for result in done),
        "failed_attempts": dict(Counter(item.reason for item in failed)),
        "goals": dict(Counter(f"{p.goal.task} {p.goal.arm} {p.goal.color}" for p in planned)),
        "seconds": round(seconds, 2),
    }
    _report(config, counts, failed)
    hopeless = [result.name for result in done if not result.frames]
    if hopeless:
        raise SimulationError(
            "the expert succeeded in no scene of an episode",
            where=", ".join(hopeless),
            remedy=f"see {config.out / REJECTED_FILE}; try less --noise",
        )
    return counts


def _report(config: Config, counts: dict[str, object], failed: list[Rejected]) -> None:
    """Writes the report; rejects of earlier runs stay listed."""
    path = config.out / REJECTED_FILE
    before = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    write_jsonl(path, [*before, *failed])
    write_json(config.out / REPORT_FILE, {"stage": "sim record", "config": plain(config), "counts": counts})


def main(config: Config) -> int:
    """Records and prints the report."""
    counts = record(config)
    if config.json:
        print(json.dumps(counts))
    else:
        for key, value in counts.items():
            print(f"{key:16} {value}")
    return 0
