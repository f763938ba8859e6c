"""`finevla evaluate closed-loop`: how often is the task done as asked?"""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.table import Table

from finevla.contract import REPLAN_FRAMES, load_contract
from finevla.files import write_json, write_jsonl
from finevla.sim.tasks import task_list
from finevla.stages.evaluate.closed_loop import DIFFICULTIES, Job, plan_jobs, run_job, summarize
from finevla.stages.evaluate.flags import wrong_flag
from finevla.stages.evaluate.partial import Partial, partial_path
from finevla.stages.evaluate.plan import EVALUATION_SEEDS
from finevla.stages.evaluate.seating import checkpoint_of, seat_of
from finevla.stages.pool import map_jobs


@dataclass(frozen=True)
class Config:
    """Measures success in the simulator over tasks, in the clean and the randomised (hard) version.

    The result does not depend on the number of workers. With --json, a run that was interrupted goes on
    where it stopped when the same command is given again. Exit code 1 means that a floor was missed.
    """

    policy: str = "bundle"
    """What acts: bundle, expert (the scripted one), or the folder of a bundle."""
    bundle: Path | None = None
    """Bundle to measure; the one that ships with the library when not given."""
    task: str = "all"
    """Tasks, separated by commas, or all."""
    difficulty: str = "clean,hard"
    """Versions of the scenes: clean, hard, or both."""
    episodes: int = 100
    """Episodes for each task and version."""
    seed: int = 1000
    """Seed of the first scene. For a policy, seeds whose scene is unstable or too hard for the expert are
    replaced, and listed in the JSON."""
    replan_frames: int = REPLAN_FRAMES
    """Frames that are executed of each chunk."""
    max_frames: int | None = None
    """Frames after which a run is ended; the task's own limit when not given."""
    workers: int = 2
    """Processes, each with a simulator of its own."""
    floor_clean: float | None = None
    """Success in percent that every task must reach in the clean version."""
    floor_hard: float | None = None
    """Success in percent that every task must reach in the hard version."""
    json: Annotated[Path | None, tyro.conf.arg(name="json")] = None
    """Where to write the result as JSON."""
    log: Path | None = None
    """Where to write one JSON line per inference: the episode, and the instruction that it was given."""


def main(config: Config) -> int:
    """Runs all episodes and prints the table; says no where a floor is missed."""
    begun = time.monotonic()
    tasks, difficulties = checked(config)
    seat = seat_of(config.policy, config.bundle)
    if seat.kind not in {"expert", "bundle"}:
        raise wrong_flag(
            "closed-loop", "--policy", "bundle, expert, or the folder of a bundle", config.policy
        )
    jobs = plan_jobs(
        seat,
        tasks,
        difficulties,
        config.episodes,
        config.seed,
        replan_frames=config.replan_frames,
        max_frames=config.max_frames,
        logged=config.log is not None,
    )
    identity = _identity(config, tasks, difficulties, checkpoint_of(seat))
    partial = Partial(partial_path(config.json), identity)
    rows = _episodes(jobs, partial, config.workers)
    result = summarize(rows)
    result["misses"] = misses(result, {"clean": config.floor_clean, "hard": config.floor_hard})
    result["episodes"] = [{key: value for key, value in row.items() if key != "steps"} for row in rows]
    result["provenance"] = {**identity, **_machine(), "seconds": round(time.monotonic() - begun, 1)}
    if config.log is not None:
        write_jsonl(config.log, step_rows(rows))
    if config.json is not None:
        write_json(config.json, result)
    partial.close()
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else 120).print(table(result))
    print(closing_words(result))
    return 1 if result["misses"] else 0


def checked(config: Config) -> tuple[list[str], list[str]]:
    """The tasks and versions that a configuration names.

    Raises:
        FineVLAError: A flag is not right; it is named.
    """
    tasks = task_list(config.task)
    difficulties = [name.strip() for name in config.difficulty.split(",") if name.strip()]
    last, cut = config.seed + config.episodes - 1, config.max_frames
    floors = [floor for floor in (config.floor_clean, config.floor_hard) if floor is not None]
    problems: list[tuple[bool, str, object, object]] = [
        (not 0 < len(tasks) == len(set(tasks)), "--task", "tasks, each once, or all", config.task),
        (
            not set(difficulties) <= set(DIFFICULTIES) or not 0 < len(difficulties) == len(set(difficulties)),
            "--difficulty",
            ",".join(DIFFICULTIES),
            config.difficulty,
        ),
        (config.episodes < 1, "--episodes", "1 or more", config.episodes),
        (config.workers < 1, "--workers", "1 or more", config.workers),
        (config.replan_frames < 1, "--replan-frames", "1 or more", config.replan_frames),
        (cut is not None and cut < 1, "--max-frames", "1 or more", cut),
        (
            config.seed < 0 or last >= EVALUATION_SEEDS,
            "--seed",
            f"scenes 0 to {EVALUATION_SEEDS - 1}",
            f"{config.seed} to {last}",
        ),
        (any(not 0 <= f <= 100 for f in floors), "--floor-clean, --floor-hard", "0 to 100", floors),
        (config.json is not None and config.json.is_dir(), "--json", "a file", config.json),
        (config.log is not None and config.log.is_dir(), "--log", "a file", config.log),
    ]
    for wrong, where, expected, found in problems:
        if wrong:
            raise wrong_flag("closed-loop", where, expected, found)
    return tasks, difficulties


def _episodes(jobs: list[Job], partial: Partial, workers: int) -> list[dict[str, Any]]:
    """Rows of all episodes, in the order of the jobs; what is there already is not run again."""
    by_key = {row["key"]: row for row in partial.rows}
    todo = [job for job in jobs if job.key not in by_key]
    for episode in map_jobs(run_job, todo, min(workers, max(len(todo), 1)), "evaluating", "episodes"):
        by_key[episode.key] = partial.add(asdict(episode))
    return [by_key[job.key] for job in jobs]


def _identity(config: Config, tasks: list[str], difficulties: list[str], checkpoint: str) -> dict[str, Any]:
    """Everything that decides the result."""
    return {
        "command": "finevla evaluate closed-loop",
        "checkpoint_id": checkpoint,
        "contract_hash": load_contract().hash,
        "tasks": tasks,
        "difficulties": difficulties,
        "episodes": config.episodes,
        "seed": config.seed,
        "replan_frames": config.replan_frames,
        "max_frames": config.max_frames,
        "logged": config.log is not None,
        "versions": {name: metadata.version(name) for name in ("numpy", "sapien")},
    }


def _machine() -> dict[str, str]:
    return {"python": platform.python_version(), "machine": platform.machine()}


def misses(result: Mapping[str, Any], floors: Mapping[str, float | None]) -> list[str]:
    """In words, each task and version that is below its floor (percent); a version without one passes."""
    return [
        f"{task} {kind}: {100 * cell['success']:.1f} % of {cell['n']} is below {floor:g} %"
        for task, cells in result["tasks"].items()
        for kind, cell in cells.items()
        if (floor := floors.get(kind)) is not None and 100 * cell["success"] < floor
    ]


def step_rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per inference: which episode it was of, when, and the instruction that it got."""
    return [
        {"episode": row["key"], "seed": row["seed"], "step": number, **step}
        for row in rows
        for number, step in enumerate(row["steps"])
    ]


def table(result: Mapping[str, Any]) -> Table:
    """Success of each task, clean and hard."""
    kinds = list(result["all"])
    found = Table(title=f"success of {result['provenance']['checkpoint_id']}, 95 % intervals (Wilson)")
    found.add_column("task", no_wrap=True)
    for kind in kinds:
        found.add_column(kind, justify="right", no_wrap=True)
        found.add_column("n", justify="right")
    for name in ("refused", "frames", "s/episode"):
        found.add_column(name, justify="right")
    rows = [*result["tasks"].items(), ("all tasks", result["all"])]
    for name, cells in rows:
        if name == "all tasks":
            found.add_section()
        shares = [text for kind in kinds for text in (_share(cells[kind]), str(cells[kind]["n"]))]
        n = sum(cell["n"] for cell in cells.values())
        means = [sum(cell[key] * cell["n"] for cell in cells.values()) / n for key in ("frames", "seconds")]
        refused = sum(cell["refused"] for cell in cells.values())
        found.add_row(name, *shares, str(refused), f"{means[0]:.0f}", f"{means[1]:.2f}")
    return found


def _share(cell: Mapping[str, Any]) -> str:
    low, high = cell["ci95"]
    return f"{100 * cell['success']:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


def closing_words(result: Mapping[str, Any]) -> str:
    """What the table does not say: time taken, seeds replaced, floors missed."""
    seconds, n = result["provenance"]["seconds"], sum(cell["n"] for cell in result["all"].values())
    replaced = sum(len(cell["replaced"]) for cell in result["all"].values())
    lines = [f"{n} episodes in {seconds:.0f} s; {replaced} seeds replaced"]
    lines += [f"below its floor: {miss}" for miss in result["misses"]]
    return "\n".join(lines)
