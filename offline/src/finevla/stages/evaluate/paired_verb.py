"""`finevla evaluate paired`: does the robot obey the word that changed?"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from finevla.contract import load_contract
from finevla.contract.bundle import read_bundle, shipped_bundle
from finevla.errors import FineVLAError
from finevla.sim.language import FACTORS
from finevla.sim.props import require_renderer
from finevla.sim.tasks import task_named
from finevla.stages.evaluate.paired import Outcome, Runner, plan_pairs, run_pair, run_rows, summarize
from finevla.stages.report import progress, write_json

EVALUATION_SEEDS = 1_000_000
"""Scene seeds below this are for evaluation; recordings draw theirs from above."""


@dataclass(frozen=True)
class Config:
    """Measures obedience in the simulator: pairs of instructions in one scene that differ in one word.

    The result does not depend on the number of workers. Exit code 0 means that the measurement is
    complete, whatever it found.
    """

    factors: str = "arm,color"
    """Factors, separated by commas: arm, color (or colour). They name the rows of the result."""
    n: int = 50
    """Pairs per factor; each pair is two runs."""
    seed: int = 1000
    """Seed of the first scene; pair i is in scene seed + i."""
    task: str = "pick_lift,place_in_bowl"
    """Tasks, separated by commas, taken in turn."""
    bundle: Path | None = None
    """Bundle to measure; the one that ships with the library when not given."""
    policy: Literal["bundle", "expert"] = "bundle"
    """What acts: the policy of a bundle, or the scripted expert (which must score 100)."""
    replan_frames: int = 4
    """Frames that are executed of each chunk."""
    max_frames: int = 120
    """Frames after which a run is ended."""
    workers: int = 2
    """Processes, each with a simulator of its own."""
    json: Annotated[Path | None, tyro.conf.arg(name="json")] = None
    """Where to write the result as JSON."""
    runs: bool = False
    """Also write one row per run into the JSON."""


def main(config: Config) -> int:
    """Runs all pairs and prints the table."""
    factors, tasks = checked(config)
    runner, provenance = _runner(config)
    begun = time.monotonic()
    pairs = plan_pairs(factors, tasks, config.n, config.seed)
    outcomes: list[Outcome] = []
    with progress("pairs") as bar:
        row = bar.add_task("evaluating", total=len(pairs))
        for outcome in _outcomes(partial(run_pair, runner), pairs, config.workers):
            outcomes.append(outcome)
            bar.advance(row)
    result = summarize(outcomes, factors)
    result["provenance"] = {**provenance, "seconds": round(time.monotonic() - begun, 1)}
    if config.runs:
        result["runs"] = run_rows(outcomes)
    if config.json is not None:
        write_json(config.json, result)
    print(table(result))
    return 0


def _outcomes(work: Callable[..., Outcome], pairs: list[Any], workers: int) -> Iterator[Outcome]:
    if workers == 1:
        yield from map(work, pairs)
        return
    # Spawned, because a process that has rendered hangs in its forks.
    with ProcessPoolExecutor(min(workers, len(pairs)), mp_context=get_context("spawn")) as pool:
        yield from pool.map(work, pairs)


def checked(config: Config) -> tuple[list[str], list[str]]:
    """The factors and tasks that a configuration names.

    Raises:
        FineVLAError: A flag is not right; it is named.
    """
    factors, tasks = _names(config.factors), _names(config.task)
    for task in tasks:
        task_named(task)
    last = config.seed + config.n - 1
    once = len(set(factors)) == len(factors) > 0
    alone = config.policy == "bundle" or config.bundle is None
    in_range = config.seed >= 0 and last < EVALUATION_SEEDS
    problems = [
        (not once or not set(factors) <= set(FACTORS), "--factors", sorted(FACTORS), factors),
        (not tasks, "--task", "at least one task", tasks),
        (config.n < 1, "--n", "1 or more", config.n),
        (config.workers < 1, "--workers", "1 or more", config.workers),
        (config.replan_frames < 1, "--replan-frames", "1 or more", config.replan_frames),
        (config.max_frames < 1, "--max-frames", "1 or more", config.max_frames),
        (not in_range, "--seed", f"scenes 0 to {EVALUATION_SEEDS - 1}", f"{config.seed} to {last}"),
        (not alone, "--bundle", "no bundle together with --policy expert", config.bundle),
        (config.json is not None and config.json.is_dir(), "--json", "a file", config.json),
    ]
    for wrong, where, expected, found in problems:
        if wrong:
            raise FineVLAError(
                "a flag of the evaluation is not right",
                where=where,
                expected=expected,
                found=found,
                remedy="finevla evaluate paired --help explains the flags",
            )
    return factors, tasks


def _runner(config: Config) -> tuple[Runner, dict[str, Any]]:
    contract = load_contract()
    bundle, checkpoint = None, "expert"
    if config.policy == "bundle":
        require_renderer()
        bundle = config.bundle or shipped_bundle()
        checkpoint = read_bundle(bundle, contract).checkpoint_id
    provenance = {
        "command": "finevla evaluate paired",
        "checkpoint_id": checkpoint,
        "contract_hash": contract.hash,
        "seed": config.seed,
        "tasks": _names(config.task),
        "replan_frames": config.replan_frames,
        "max_frames": config.max_frames,
        "versions": {name: metadata.version(name) for name in ("numpy", "sapien")},
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    return Runner(bundle, config.replan_frames, config.max_frames), provenance


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def table(result: dict[str, Any]) -> str:
    """The result of `summarize` as text."""
    lines = [f"{'factor':<10} {'n':>4}  {'compliance':<22} {'success':<22} switched"]
    for name, row in result["factors"].items():
        shares = [(row["compliance"], row["ci95"]), (row["success"], row["success_ci95"])]
        cells = [f"{100 * share:5.1f} % [{100 * lo:.1f}, {100 * hi:.1f}]" for share, (lo, hi) in shares]
        lines.append(
            f"{name:<10} {row['n']:>4}  {cells[0]:<22} {cells[1]:<22} {100 * row['switch_rate']:.1f} %"
        )
    lines.append(f"average compliance {result['avg_id']:.1f} of 100; n counts pairs, intervals are 95 %")
    return "\n".join(lines)
