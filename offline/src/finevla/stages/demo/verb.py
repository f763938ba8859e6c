"""`finevla demo`: the whole loop on a simulated CobotMagic, with table, film and report."""

from __future__ import annotations

import secrets
import sys
import threading
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from finevla.contract import RobotContract, load_contract
from finevla.contract.bundle import shipped_bundle
from finevla.errors import FineVLAError, LaunchError
from finevla.stages.demo import table
from finevla.stages.demo.bringup import Graph
from finevla.stages.demo.facts import Facts, machine, versions
from finevla.stages.demo.graph import GraphError
from finevla.stages.demo.plan import plan
from finevla.stages.demo.rows import Row, Trial, excuses, shortfalls
from finevla.stages.demo.run import (
    Products,
    Record,
    run_trials,
    with_figures,
    write_products,
)
from finevla.stages.demo.session import Session, open_session

MAX_SEED = 1_000_000


@dataclass(frozen=True)
class Config:
    """Runs instructions live on the simulated robot and reports what it did.

    Exit code 0 if the graph worked and compliance reached the floor.
    """

    instructions: int = 8
    """How many instructions, an even number: pairs that differ in one word."""
    seed: int | None = None
    """Chooses scenes and sentences; fresh ones when not given."""
    out: Path | None = None
    """Folder of film, report, summary and log, new or empty; `out/demo-TIME` when not given."""
    bundle: Path | None = None
    """Bundle of the policy; the one that ships with the library when not given."""
    stay: bool = False
    """Keep the graph and its dashboard running until interrupted."""
    floor: float = 0.75
    """Least share of instructions whose arm, and whose color, must be obeyed (0..1)."""
    repeats: int = 2
    """How often an instruction is tried again where the simulator is slow in its first seconds."""
    timeout_s: float = 30.0
    """Longest time for one instruction, in s."""
    bringup_timeout_s: float = 180.0
    """Longest time until the graph is ready, in s."""
    domain_id: int | None = None
    """ROS domain; when not given, ROS_DOMAIN_ID or the first free one."""
    dashboard_port: int = 8080
    """Port of the dashboard on 127.0.0.1 (with --stay)."""


def out_directory(out: Path | None, now: datetime) -> Path:
    """Creates the output directory, by default `out/demo-TIME`.

    Raises:
        FineVLAError: It exists and is not empty, or cannot be made.
    """
    path = out if out is not None else Path("out") / f"demo-{now:%Y%m%d-%H%M%S}"
    try:
        path.mkdir(parents=True, exist_ok=True)
        occupied = any(path.iterdir())
    except OSError as err:
        raise FineVLAError(
            "the output directory cannot be made",
            where=path,
            found=err,
            remedy="give --out a directory that you may write to",
        ) from err
    if occupied:
        raise FineVLAError(
            "the output directory is not empty",
            where=path,
            remedy="give --out another directory; nothing is overwritten",
        )
    return path


def _comforts(config: Config, out: Path) -> dict[str, str]:
    """Launch arguments for a graph that a person will use: dashboard, and a recorder for its buttons."""
    return {
        "dashboard": "true",
        "dashboard_port": str(config.dashboard_port),
        "recorder": "true",
        "bag_dir": str((out / "bags").resolve()),
    }


def _facts(config: Config, contract: RobotContract, seed: int, graph: Graph) -> Facts:
    return Facts(
        checkpoint_id="",
        bundle=str(config.bundle or shipped_bundle().name),
        contract_hash=contract.hash,
        seed=seed,
        domain_id=graph.domain_id,
        started_utc=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=versions(),
        machine=machine(),
        bringup_s=0.0,
        latency_p50_s=0.0,
        latency_p95_s=0.0,
        applied_p50_s=0.0,
        chunks=0,
        real_time_factor=0.0,
    )


def _issue(
    config: Config, session: Session, trials: tuple[Trial, ...], facts: Facts, out: Path
) -> tuple[list[Row], Products | None]:
    """Runs the trials on a graph that is ready and writes the products; none without trials.

    Raises:
        GraphError: The graph failed; what was done before is written all the same.
    """
    client, view, record = session.client, session.view, Record()
    view.now(f"running {len(trials)} instructions")
    try:
        run_trials(client, trials, config.timeout_s, session.camera, view.row, record, config.repeats)
    except GraphError:
        if record.rows:
            _write(config, session, record, facts, out)
            view.say(f"the graph failed after {len(record.rows)} of {len(trials)} instructions; see {out}")
        raise
    return record.rows, _write(config, session, record, facts, out) if record.rows else None


def _write(config: Config, session: Session, record: Record, facts: Facts, out: Path) -> Products:
    session.view.now("writing film and report")
    facts = with_figures(replace(facts, bringup_s=session.bringup_s), record.rows, session.client)
    return write_products(out, record.rows, record.reels, facts, config.floor)


def _stay(config: Config, graph: Graph, console: Console) -> None:
    console.print(
        f"the graph stays up: dashboard at http://127.0.0.1:{config.dashboard_port}, "
        f"other terminals: ROS_DOMAIN_ID={graph.domain_id}; Ctrl-C ends it",
        highlight=False,
    )
    quiet = threading.Event()
    try:
        while graph.alive:
            quiet.wait(0.5)
    except KeyboardInterrupt:
        return
    raise LaunchError("the graph ended by itself", where=graph.log_path, remedy="read the end of this log")


def main(config: Config) -> int:
    """Runs the demonstration; 0 if the graph worked and compliance reached the floor, otherwise 1."""
    seed = config.seed if config.seed is not None else secrets.randbelow(MAX_SEED)
    trials = plan(config.instructions, seed)
    out = out_directory(config.out, datetime.now(UTC))
    report = table.report_console()
    with open_session(
        bundle=config.bundle,
        log_path=out / "graph.log",
        timeout_s=config.bringup_timeout_s,
        domain_id=config.domain_id,
        arguments=_comforts(config, out) if config.stay else {},
    ) as session:
        facts = _facts(config, load_contract(), seed, session.graph)
        rows, products = _issue(config, session, trials, facts, out)
        if config.stay:
            session.view.close()
            _show(rows, products, report)
            _stay(config, session.graph, Console(stderr=True))
            return 0
    return _verdict(config, rows, products, report)


def _show(rows: list[Row], products: Products | None, report: Console) -> None:
    if products is None:
        return
    table.show(rows, report)
    report.print(f"summary: {products.summary}", soft_wrap=True, highlight=False)
    report.print(str(products.film or "no film: no camera frame arrived"), soft_wrap=True, highlight=False)
    report.print(str(products.report), soft_wrap=True, highlight=False)


def _verdict(config: Config, rows: list[Row], products: Products | None, report: Console) -> int:
    lacking = shortfalls(rows, config.floor)
    if products is not None and products.film is None:
        lacking.append("film: no camera frame arrived")
    for line in [*lacking, *(excuses(rows) if lacking else [])]:
        print(f"not good enough: {line}", file=sys.stderr)
    _show(rows, products, report)
    return 1 if lacking else 0
