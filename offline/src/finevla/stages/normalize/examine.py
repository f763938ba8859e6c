"""What is wrong with one episode, and how far its actions are from its states; runs in any process."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from finevla.contract import unified
from finevla.dataset.check import TIME_TOLERANCE_S
from finevla.dataset.read import Opened, open_dataset
from finevla.dataset.stats import values
from finevla.errors import DatasetError
from finevla.stages.import_.raw import UnusableEpisodeError
from finevla.stages.normalize.filters import FEWEST, divergence, stands_still
from finevla.stages.normalize.unify import Absolute, Plan, absolute

NUMERIC = ("float", "int", "uint", "bool")


@dataclass(frozen=True, slots=True)
class Job:
    """One episode to examine.

    Attributes:
        root: The dataset.
        number: The episode.
        plan: What its columns are.
        compare: Slots in which state and action are compared.
        min_frames: Fewest frames.
        robot: Name of the robot that the dataset is of; None where nothing says so.
    """

    root: Path
    number: int
    plan: Plan
    compare: tuple[str, ...]
    min_frames: int
    robot: str | None


@dataclass(frozen=True, slots=True)
class Fault:
    """Why an episode is not taken: a code in lower_snake_case, and the words for a person."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Examined:
    """What is known of an episode.

    Attributes:
        number: Its index in the source.
        frames: Number of frames.
        tasks: Its instructions.
        score: Divergence of state and action; None where its values cannot be used.
        faults: Why it is not taken, all that apply.
        digest: SHA-256 of its columns; empty where they cannot be read.
    """

    number: int
    frames: int
    tasks: tuple[str, ...]
    score: float | None
    faults: tuple[Fault, ...]
    digest: str


@lru_cache(maxsize=2)
def opened_once(root: Path) -> Opened:
    """A dataset, its metadata read once per process."""
    return open_dataset(root)


def examine(job: Job) -> Examined:
    """Examines one episode; whatever is wrong with it comes back in words."""
    opened = opened_once(job.root)
    frames, tasks = opened.length(job.number), opened.tasks_of(job.number)
    faults = [*_outline(job, opened, frames, tasks)]
    score: float | None = None
    digest = ""
    try:
        table = opened.table(job.number)
        digest = table_digest(table, opened.features)
        faults += _times(table, opened.fps)
        found = absolute(table, job.plan)
        if frames >= FEWEST:
            score = _score(found, job.compare)
            faults += _still(found)
    except UnusableEpisodeError as err:
        faults.append(Fault(err.reason, str(err)))
    except DatasetError as err:
        faults.append(Fault("unreadable", str(err)))
    return Examined(job.number, frames, tasks, score, tuple(faults), digest)


def _outline(job: Job, opened: Opened, frames: int, tasks: tuple[str, ...]) -> Iterator[Fault]:
    """What the metadata tell: frames, task, robot, videos."""
    if frames < FEWEST:
        yield Fault("one_frame", f"the episode has {frames} frame, and a trajectory two or more")
    elif frames < job.min_frames:
        yield Fault("too_short", f"{frames} frames, at least {job.min_frames} are wanted")
    if not tasks or not all(task.strip() for task in tasks):
        yield Fault("no_task", f"the task of the episode is empty or missing: {list(tasks)}")
    robot = robot_of(opened.rows[job.number])
    if robot is not None and robot != job.robot:
        yield Fault("other_embodiment", f"the episode is of {robot}, the dataset of {job.robot}")
    try:
        for key in opened.videos:
            opened.piece(job.number, key)
    except DatasetError as err:
        yield Fault("bad_video", str(err))


def robot_of(row: Mapping[str, Any]) -> str | None:
    """The robot of an episode where its metadata name one, as datasets that were merged do."""
    told = row.get("robot_type") or row.get("embodiment")
    return None if told is None else str(told)


def seconds_of(table: pa.Table) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Times of the frames from the first one on, (T,), s."""
    told = values(table, "timestamp").ravel().astype(np.float64)
    return told - told[:1]


def _times(table: pa.Table, fps: int) -> Iterator[Fault]:
    """The first frame is at 0 s by definition; the others must follow at the rate of the dataset."""
    if "timestamp" not in table.column_names:
        yield Fault("other_times", "the column timestamp is missing")
        return
    seconds = seconds_of(table)
    wanted = np.arange(len(seconds)) / fps
    bad = np.flatnonzero(~(np.abs(seconds - wanted) <= TIME_TOLERANCE_S))
    if len(bad):
        frame = bad[0]
        yield Fault(
            "other_times",
            f"frame {frame} is {seconds[frame]:g} s after the first one, not {wanted[frame]:g} s: "
            f"the times are not those of {fps} frames per second",
        )


def _score(found: Absolute, compare: tuple[str, ...]) -> float:
    """The divergence over all slots that are compared, side by side."""
    state, action = (
        np.concatenate([parts[slot] for slot in compare], axis=1) for parts in (found.state, found.action)
    )
    return divergence(state, action)


def _still(found: Absolute) -> Iterator[Fault]:
    if stands_still([*found.state.values(), *found.action.values()]):
        slots = [slot for slot in unified.SLOTS if slot in {*found.state, *found.action}]
        yield Fault("constant", f"nothing moves from the first frame to the last: {', '.join(slots)}")


def is_numeric(feature: Mapping[str, Any]) -> bool:
    """Whether a feature is numbers, and no text or picture."""
    return str(feature["dtype"]).startswith(NUMERIC)


def table_digest(table: pa.Table, features: Mapping[str, Any]) -> str:
    """SHA-256 of the columns of an episode, whatever files they lie in."""
    sha = hashlib.sha256()
    for name in sorted(table.column_names):
        sha.update(name.encode())
        try:
            numeric = name in features and is_numeric(features[name])
            rows = values(table, name) if numeric else None
        except ValueError:  # of uneven lengths; told elsewhere
            rows = None
        if rows is not None and rows.dtype.kind in "fiub":
            sha.update(f"{rows.dtype}{rows.shape}".encode())
            sha.update(np.ascontiguousarray(rows))
        else:
            sha.update(json.dumps(table[name].to_pylist(), default=repr).encode())
    return sha.hexdigest()
