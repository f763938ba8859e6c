"""`finevla demo`: the whole loop on a simulated CobotMagic, with table, film and report."""

from __future__ import annotations

import os
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
from finevla.stages.demo import bringup, table
from finevla.stages.demo.facts import Facts, machine, versions
from finevla.stages.demo.graph import GraphClient
from finevla.stages.demo.plan import plan
from finevla.stages.demo.rows import Row, Trial, shortfalls
from finevla.stages.demo.run import (
    Camera,
    Products,
    run_trials,
    side_cameras,
    with_figures,
    write_products,
)
from finevla.stages.demo.view import View

MAX_SEED = 1_000_000


@dataclass(frozen=True)
class Config:
    """Runs instructions live on the simulated robot and reports what it did.

    Attributes:
        instructions: How many instructions, an even number: pairs that differ in one word.
        seed: Chooses scenes and sentences; without it, fresh ones.
        out: Directory of film, report, summary and log; must be new or empty.
        bundle: Bundle of the policy; without it, the one that ships with finevla.
        stay: Keep the graph and its dashboard running until interrupted.
        floor: Least share of instructions whose arm, and whose color, must be obeyed (0..1).
        timeout_s: Longest time for one instruction, in s.
        bringup_timeout_s: Longest time until the graph is ready, in s.
        domain_id: ROS domain; without it, ROS_DOMAIN_ID or the first free one.
        dashboard_port: Port of the dashboard on 127.0.0.1 (with --stay).
    """

    instructions: int = 8
    seed: int | None = None
    out: Path | None = None
    bundle: Path | None = None
    stay: bool = False
    floor: float = 0.75
    timeout_s: float = 30.0
    bringup_timeout_s: float = 120.0
    domain_id: int | None = None
    dashboard_port: int = 8080


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


def _wanted_domain(config: Config) -> int | None:
    if config.domain_id is not None:
        return config.domain_id
    text = os.environ.get("ROS_DOMAIN_ID", "")
    return int(text) if text.isdecimal() and int(text) > 0 else None


def launch_arguments(config: Config, bundle: Path) -> dict[str, str]:
    """Arguments of `bringup.launch.py` for a demonstration."""
    arguments = {"sim": "true", "bundle": str(bundle), "can_port": str(bringup.free_port())}
    if config.stay:
        arguments |= {"dashboard": "true", "dashboard_port": str(config.dashboard_port)}
    return arguments


def _facts(config: Config, bundle: Path, contract: RobotContract, seed: int, graph: bringup.Graph) -> Facts:
    return Facts(
        checkpoint_id="",
        bundle=bundle.name if config.bundle is None else str(config.bundle),
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
    )


def _issue(
    config: Config, graph: bringup.Graph, trials: tuple[Trial, ...], facts: Facts, out: Path, view: View
) -> tuple[list[Row], Products | None]:
    """Waits for the graph, runs the trials, writes the products; none without trials."""
    contract = load_contract()
    camera = Camera(side_cameras(contract))
    with GraphClient(contract, domain_id=graph.domain_id, on_frame=camera.sink) as client:
        seconds = graph.wait_until_ready(client, config.bringup_timeout_s, view.waiting)
        view.say(f"the graph is up after {seconds:.1f} s; enabling the arms")
        client.enable()
        view.now(f"running {len(trials)} instructions")
        rows, reels = run_trials(client, trials, config.timeout_s, camera, view.row)
        facts = with_figures(replace(facts, bringup_s=seconds), rows, client)
    if not rows:
        return [], None
    view.now("writing film and report")
    return rows, write_products(out, rows, reels, facts, config.floor)


def _stay(config: Config, graph: bringup.Graph, console: Console) -> None:
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
    out = out_directory(config.out, datetime.now(UTC))
    seed = config.seed if config.seed is not None else secrets.randbelow(MAX_SEED)
    trials = plan(config.instructions, seed)
    bundle = config.bundle if config.bundle is not None else shipped_bundle()
    domain_id = bringup.choose_domain(_wanted_domain(config))
    report = Console()
    with bringup.Graph(launch_arguments(config, bundle), domain_id, out / "graph.log") as graph:
        facts = _facts(config, bundle, load_contract(), seed, graph)
        with View() as view:
            rows, products = _issue(config, graph, trials, facts, out, view)
        if config.stay:
            _show(rows, products, report)
            _stay(config, graph, Console(stderr=True))
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
    for line in lacking:
        print(f"not good enough: {line}", file=sys.stderr)
    _show(rows, products, report)
    return 1 if lacking else 0
