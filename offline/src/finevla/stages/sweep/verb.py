"""`finevla sweep`: flags, and what is printed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

from finevla.contract import REPLAN_FRAMES
from finevla.stages.evaluate.plan import row_names
from finevla.stages.sweep.cell import run_cell
from finevla.stages.sweep.ledger import Ledger
from finevla.stages.sweep.plan import (
    CellJob,
    Settings,
    SweepError,
    dataset_identity,
    heads_of,
    mixes_of,
    plan_cells,
    seeds_of,
)
from finevla.stages.sweep.run import Executor, Swept, run_sweep
from finevla.stages.sweep.summary import TABLE_FILE, draw


@dataclass(frozen=True)
class Config:
    """Train and evaluate one policy per head, FG:Raw mix and seed, and draw the curve over mixes.

    Every cell is trained, exported and evaluated on its own, in child processes with one thread. The same
    command goes on where it was interrupted; cells that are complete are left alone, heads, mixes and seeds
    may be added, and cells that failed are tried again. All cells of a seed see the same frames in the same
    order, which is proven by their manifest_hash: only the language differs. Exit code 1 means that a
    cell failed.
    """

    dataset: tyro.conf.Positional[Path]
    """LeRobot v3.0 dataset with raw and fine-grained texts, as `finevla convert` writes it."""
    out: Path
    """Folder of the sweep: cells, runs, bundles, table and curve."""
    heads: str = "oft,flow"
    """Heads, separated by commas; oft is always trained before flow."""
    mixes: str = "all"
    """FG:Raw mixes, separated by commas, of raw, 1:4, 1:2, 1:1, 2:1, 4:1, fg; all means these seven."""
    seeds: str = "0,1,2"
    """Seeds of training, separated by commas: all cells of the first come first."""
    steps: int = 4000
    """Updates of each training."""
    train_flags: str = ""
    """Further flags of `finevla train` for every cell, in one string: --train-flags="--lr 5e-4"."""
    factors: str = "all"
    """Factors of the paired evaluation, as in `finevla evaluate paired`."""
    n: int = 50
    """Pairs per factor."""
    probes: int = 0
    """Pairs per factor whose first sentence is probed, held-out wordings among the probes."""
    scene_seed: int = 1000
    """Seed of the first scene for training seed 0; every further training seed has scenes of its own."""
    replan_frames: int = REPLAN_FRAMES
    """Frames that are executed of each chunk in evaluations."""
    paired_flags: str = ""
    """Further flags of `finevla evaluate paired` for every cell, in one string."""
    closed_loop: int = 0
    """Episodes per task, clean and hard, for success over all tasks; 0 leaves this out."""
    openloop: bool = True
    """Measure errors and language ablations on held-out episodes, too."""
    cache_dir: Path | None = None
    """Where decoded pictures are kept, once for all cells; `pictures` in --out when not given."""
    workers: int = 2
    """Cells side by side."""
    executor: Literal["local", "ray"] = "local"
    """Where cells run: processes of this machine, or tasks of Ray."""
    ray_address: str = ""
    """Ray cluster to use; without it Ray is started here, on the loopback interface, with --workers CPUs."""
    only_table: bool = False
    """Run nothing; draw table and curve from the cells that are there."""
    dry_run: bool = False
    """Run nothing; list the cells and what is known of them."""


def main(config: Config) -> int:
    """Runs the cells that are missing and draws table and curve."""
    jobs, ledger = planned(config), Ledger(config.out)
    if config.dry_run:
        print("\n".join(f"{job.cell.name:<20} {_state(ledger, job)}" for job in jobs))
        return 0
    swept = Swept((), (), ())
    if not config.only_table:
        executor = Executor(config.executor, config.workers, config.ray_address)
        with ledger.alone():
            ledger.begin(jobs[0].settings)
            swept = run_sweep(run_cell, jobs, ledger, executor)
    summary = draw(ledger)
    print(closing_words(summary, config.out))
    return 1 if swept.failed else 0


def planned(config: Config) -> list[CellJob]:
    """The cells that the flags name, in the order in which they run.

    Raises:
        SweepError: A flag is not right, or this is no dataset.
        FineVLAError: There is no such factor.
    """
    counts = {
        "--steps": (config.steps, 1),
        "--n": (config.n, 1),
        "--workers": (config.workers, 1),
        "--replan-frames": (config.replan_frames, 1),
        "--probes": (config.probes, 0),
        "--closed-loop": (config.closed_loop, 0),
        "--scene-seed": (config.scene_seed, 0),
    }
    for flag, (found, least) in counts.items():
        if found < least:
            raise _flag(flag, f"{least} or more", found)
    if config.probes > config.n:
        raise _flag("--probes", "at most --n", config.probes)
    if config.ray_address and config.executor != "ray":
        raise _flag("--ray-address", "--executor ray beside it", config.executor)
    row_names(config.factors)
    dataset_hash, contract_hash = dataset_identity(config.dataset)
    settings = Settings(
        dataset_hash=dataset_hash,
        contract_hash=contract_hash,
        steps=config.steps,
        train_flags=config.train_flags,
        factors=config.factors,
        n=config.n,
        probes=config.probes,
        scene_seed=config.scene_seed,
        replan_frames=config.replan_frames,
        paired_flags=config.paired_flags,
        closed_loop=config.closed_loop,
        openloop=config.openloop,
    )
    seeds = seeds_of(config.seeds, config.scene_seed)
    cells = plan_cells(heads_of(config.heads), mixes_of(config.mixes), seeds)
    dataset, out = config.dataset.resolve(), config.out.resolve()
    pictures = (config.cache_dir or out / "pictures").resolve()
    return [CellJob(cell, settings, dataset, out, pictures) for cell in cells]


def closing_words(summary: Mapping[str, Any], out: Path) -> str:
    """What a sweep says at its end: verdicts, what is missing, and where to look."""
    lines = [row["text"] for row in summary["verdicts"].values()]
    missing, failed = summary["missing"], summary["failed"]
    lines += [f"missing ({len(missing)}): {', '.join(missing)}"] if missing else []
    lines += [f"failed: {name}: {error}" for name, error in failed.items()]
    hours = sum(summary["seconds"].values()) / 3600.0
    lines.append(
        f"{len(summary['cells'])} cells, {hours:.1f} h of work; {out / TABLE_FILE}, curve.svg, curve.png"
    )
    return "\n".join(lines)


def _state(ledger: Ledger, job: CellJob) -> str:
    if ledger.result(job) is not None:
        return "complete"
    return "failed" if job.cell.name in ledger.failures() else "missing"


def _flag(where: str, expected: object, found: object) -> SweepError:
    return SweepError(
        "a flag of the sweep is not right",
        where=where,
        expected=expected,
        found=found,
        remedy="finevla sweep --help explains the flags",
    )
