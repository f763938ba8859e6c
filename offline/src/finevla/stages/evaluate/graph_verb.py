"""`finevla evaluate graph`: the paired evaluation, through the whole running ROS graph."""

from __future__ import annotations

import json
import platform
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.table import Table

from finevla.contract import load_contract
from finevla.errors import FineVLAError
from finevla.files import write_json
from finevla.sim.factors import ALIASES, FACTORS, OOD
from finevla.sim.tasks import task_named
from finevla.stages.demo.rows import REPEAT_RULE, Row, repeated
from finevla.stages.demo.run import run_valid_trial
from finevla.stages.demo.session import Session, open_session
from finevla.stages.demo.table import report_console
from finevla.stages.evaluate.flags import wrong_flag
from finevla.stages.evaluate.graph import Difference, compare, first_tries, run_pairs, timing
from finevla.stages.evaluate.paired import Outcome, plan_pairs, run_rows, summarize
from finevla.stages.evaluate.plan import EVALUATION_SEEDS, row_names


@dataclass(frozen=True)
class Config:
    """Measures obedience through the ROS graph: the same pairs, seeds and counts as `evaluate paired`.

    Runs in real time: some ten seconds per instruction. Exit code 1 where --against is given and
    compliance in the graph is more than --within points lower.
    """

    factors: str = "arm,color"
    """Factors, separated by commas, as in `evaluate paired`."""
    n: int = 5
    """Pairs per factor; each pair is two instructions."""
    seed: int = 1000
    """Seed of the first scene; pair i is in scene seed + i."""
    task: str = ""
    """Tasks, separated by commas, taken in turn; those that vary the factor when not given."""
    bundle: Path | None = None
    """Bundle to measure; the one that ships with the library when not given."""
    repeats: int = 0
    """How often an instruction is tried again where the simulator is slow in its first seconds."""
    timeout_s: float = 30.0
    """Longest time for one instruction, in s."""
    bringup_timeout_s: float = 180.0
    """Longest time until the graph is ready, in s."""
    domain_id: int | None = None
    """ROS domain; without it, ROS_DOMAIN_ID or the first free one."""
    json: Annotated[Path | None, tyro.conf.arg(name="json")] = None
    """Where to write the result as JSON."""
    against: Path | None = None
    """JSON of `evaluate paired` to compare with."""
    within: float = 10.0
    """Points by which the graph's compliance may lie below that of --against."""
    log: Path | None = None
    """Where to keep what the graph prints; not kept when not given."""


def main(config: Config) -> int:
    """Runs all pairs through the graph and prints the table and the comparison."""
    factors, tasks = _checked(config)
    reference = _read(config.against) if config.against is not None else None
    pairs = plan_pairs(factors, tasks, config.n, config.seed)
    begun = time.monotonic()
    with TemporaryDirectory(prefix="finevla_graph_") as folder:
        log = config.log or Path(folder) / "graph.log"
        with open_session(
            bundle=config.bundle,
            log_path=log,
            timeout_s=config.bringup_timeout_s,
            domain_id=config.domain_id,
        ) as session:
            session.view.now(f"running {2 * len(pairs)} instructions")
            outcomes, rows = run_pairs(
                pairs,
                lambda trial: run_valid_trial(session.client, trial, config.timeout_s, None, config.repeats)[
                    0
                ],
                load_contract().frame_period_s,
                session.view.row,
            )
            result = _result(config, session, factors, outcomes, rows)
    result["provenance"]["seconds"] = round(time.monotonic() - begun, 1)
    differences = compare(result, reference) if reference is not None else []
    if config.json is not None:
        write_json(config.json, result)
    report = report_console()
    report.print(_table(result))
    return _judge(differences, config.within, report)


def _checked(config: Config) -> tuple[list[str], list[str]]:
    names = row_names(config.factors)
    tasks = [name.strip() for name in config.task.split(",") if name.strip()]
    for task in tasks:
        task_named(task)
    last = config.seed + config.n
    for right, where, expected, found in (
        (0 < len(names) == len(set(names)), "--factors", "each once", names),
        (bool(tasks) or not config.task, "--task", "at least one task", tasks),
        (config.n >= 1, "--n", "1 or more", config.n),
        (0 <= config.seed < last <= EVALUATION_SEEDS, "--seed", f"scenes below {EVALUATION_SEEDS}", last),
    ):
        if not right:
            raise wrong_flag("graph", where, expected, found)
    return names, tasks


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text())
        named = [FACTORS[ALIASES.get(name, name)] for name in document["factors"] if name != OOD]
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise FineVLAError(
            "the result to compare with cannot be read",
            where=path,
            expected="the JSON of `finevla evaluate paired`",
            found=repr(err),
            remedy="write it first: finevla evaluate paired --json FILE",
        ) from err
    if not named:
        raise FineVLAError("the result to compare with holds no factor", where=path)
    return dict(document)


def _result(
    config: Config, session: Session, factors: list[str], outcomes: list[Outcome], rows: list[Row]
) -> dict[str, Any]:
    result = summarize(outcomes, factors)
    for factor, shares in first_tries(outcomes, rows, factors).items():
        result["factors"][factor] |= shares
    result["provenance"] = {
        "command": "finevla evaluate graph",
        "checkpoint_id": session.checkpoint_id,
        "contract_hash": load_contract().hash,
        "seed": config.seed,
        "tasks": sorted({outcome.pair.spec.task for outcome in outcomes}),
        "versions": {name: metadata.version(name) for name in ("numpy", "sapien", "rclpy")},
        "python": platform.python_version(),
        "machine": platform.machine(),
        "repeats": config.repeats,
        "repeated": repeated(rows),
        "repeat_rule": REPEAT_RULE,
        **timing(rows, session.client.policy_figures()),
    }
    result["runs"] = run_rows(outcomes)
    return result


def _table(result: dict[str, Any]) -> Table:
    table = Table(title="Paired evaluation through the ROS graph", title_justify="left")
    again = result["provenance"]["repeated"]
    for name in (
        "factor",
        "pairs",
        "compliance",
        "success",
        "switched",
        *(("first tries",) if again else ()),
    ):
        table.add_column(name)
    for factor, row in result["factors"].items():
        cells = [
            f"{100 * row[share]:.1f} % [{100 * row[ci][0]:.1f}, {100 * row[ci][1]:.1f}]"
            for share, ci in (("compliance", "ci95"), ("success", "success_ci95"))
        ]
        cells.append(f"{100 * row['switch_rate']:.1f} %")
        if again:
            first = (row["first_try_compliance"], row["first_try_success"])
            cells.append(f"{100 * first[0]:.1f} % complied, {100 * first[1]:.1f} % success")
        table.add_row(factor, str(row["n"]), *cells)
    table.caption = "n counts pairs of two instructions; intervals are 95 %; " + (
        f"tries repeated: {again}; {result['provenance']['repeat_rule']}" if again else "no try was repeated"
    )
    return table


def _judge(differences: list[Difference], within: float, report: Console) -> int:
    if not differences:
        return 0
    table = Table(title="Graph against in-process", title_justify="left")
    for name in ("factor", "measure", "graph", "in process", "difference"):
        table.add_column(name)
    for row in differences:
        table.add_row(
            row.factor,
            row.measure,
            f"{100 * row.graph:.1f} % (n={row.graph_n})",
            f"{100 * row.inprocess:.1f} % (n={row.inprocess_n})",
            f"{row.points:+.1f} points",
        )
    report.print(table)
    lost = [row for row in differences if row.measure == "compliance" and row.points < -within]
    for row in lost:
        print(f"the graph loses {-row.points:.1f} points of {row.factor}, more than the {within:g} allowed")
    return 1 if lost else 0
