"""`finevla evaluate paired --ros`: the paired protocol on the graph that runs in a ROS domain.

It attaches to a graph that somebody else has started, and starts none. In a simulated graph scenes are
laid out and runs are scored by the simulator's services. With a real robot an operator lays out the
scenes, runs are filmed, and somebody who does not know what was asked rates the films.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from random import Random, SystemRandom
from typing import Any

from finevla.contract import RobotContract, load_contract, services
from finevla.errors import FineVLAError, LaunchError
from finevla.files import write_json
from finevla.stages.demo.graph import GraphClient
from finevla.stages.demo.rows import REPEAT_RULE, Row, repeated
from finevla.stages.demo.run import Camera, run_valid_trial
from finevla.stages.evaluate.blind.answers import join, read_answers
from finevla.stages.evaluate.blind.session import Ask, Say, Station, open_key, read_key, record
from finevla.stages.evaluate.count import summarize
from finevla.stages.evaluate.graph import run_pairs, timing
from finevla.stages.evaluate.outcome import Outcome, run_rows
from finevla.stages.evaluate.partial import partial_path
from finevla.stages.evaluate.plan import Pair
from finevla.stages.evaluate.resume import Ledger
from finevla.stages.report import progress

COMMAND = "finevla evaluate paired --ros"
TRUTH, RATER = "simulator truth", "blind rater"
POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class RosRequest:
    """What to measure on a running graph.

    Attributes:
        pairs: The plan; not used with `answers`, whose key holds it.
        factors: Names of its rows.
        json: Where the result goes; while a simulated measurement runs, its partial result is beside it.
        runs: Whether the result has one row per run.
        blind: Folder of the videos for a rater; None: the simulator scores.
        answers: What the rater saved; with it, nothing is run.
        domain_id: ROS domain; None: the environment's.
        timeout_s: Longest time for one instruction, s.
        attach_timeout_s: Longest wait for the graph to be complete, s.
        repeats: How often a simulated run is tried again where the simulator is slow at its start.
    """

    pairs: Sequence[Pair]
    factors: Sequence[str]
    json: Path | None = None
    runs: bool = False
    blind: Path | None = None
    answers: Path | None = None
    domain_id: int | None = None
    timeout_s: float = 60.0
    attach_timeout_s: float = 20.0
    repeats: int = 0


def ask_enter(text: str) -> None:
    """Shows a text on the terminal and waits for Enter.

    Raises:
        FineVLAError: Nobody is at the terminal.
    """
    print(f"{text}: ", end="", file=sys.stderr, flush=True)
    if not sys.stdin.readline():
        raise FineVLAError(
            "nobody answers on the terminal",
            where="standard input",
            expected="an operator who presses Enter before the robot moves",
            remedy="run the command in a terminal",
        )


def say_line(text: str) -> None:
    """Shows a line on the terminal."""
    print(text, file=sys.stderr, flush=True)


def run_on_ros(
    request: RosRequest, *, ask: Ask = ask_enter, say: Say = say_line, rng: Random | None = None
) -> dict[str, Any] | None:
    """Measures on the graph that runs; None where a person has to rate what was filmed.

    Args:
        request: What to measure.
        ask: Waits for the operator.
        say: Tells the operator something.
        rng: Draws names and orders; the system's when None, which nobody can foretell.

    Raises:
        FineVLAError: The graph is not complete, a run failed, or the answers are not complete.
    """
    if request.answers is not None:
        return _finish(request, *_rated(request))
    contract = load_contract()
    view = contract.sync.pivot
    blind = request.blind
    camera = Camera((view,))
    sink = camera.sink if blind is not None else None
    with GraphClient(contract, domain_id=request.domain_id, on_frame=sink) as client:
        simulated = attach(client, request, view)
        facts = _facts(contract, client)
        if blind is not None:
            key = open_key(blind, request.pairs, request.factors, facts, rng or SystemRandom())
            record(blind, key, Station(client, camera, view, simulated, request.timeout_s), ask, say)
            return None
        return _finish(request, *_simulated(request, contract, client, facts))


def attach(
    client: GraphClient,
    request: RosRequest,
    view: str,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Waits until the graph is complete; returns whether a simulator is in it.

    Args:
        client: Talks to the graph.
        request: Says how long to wait, and whether a simulator must be there.
        view: The camera that films.
        monotonic: Seconds.
        sleep: Waits for some seconds.

    Raises:
        LaunchError: Something is missing; it is named.
    """
    begun = monotonic()
    blind = request.blind is not None
    while True:
        if blind:
            client.take_raw(view)
            missing = client.awaited(simulated=False, cameras=(view,))
        else:
            missing = client.awaited()
        passed = monotonic() - begun
        # Services are found some time after topics: a simulator must not be taken for a real robot.
        if not missing and (client.simulated() or passed >= 2.0):
            return client.simulated()
        if missing and passed > request.attach_timeout_s:
            raise _incomplete(request, missing)
        sleep(POLL_S)


def _incomplete(request: RosRequest, missing: dict[str, str]) -> LaunchError:
    domain = request.domain_id if request.domain_id is not None else os.environ.get("ROS_DOMAIN_ID", "0")
    only_simulator = set(missing) == {services.SIM_NODE}
    return LaunchError(
        f"the graph in ROS domain {domain} is not complete",
        where=f"ROS domain {domain}",
        expected="driver, policy and instruction node, and a simulator or --blind DIR",
        found="missing: " + "; ".join(f"{node}: {what}" for node, what in missing.items()),
        remedy="with a real robot, give --blind DIR: then a person rates the runs"
        if only_simulator
        else "start it first (finevla launch bringup.launch.py), in the same ROS domain",
    )


def _facts(contract: RobotContract, client: GraphClient) -> dict[str, Any]:
    """What acts."""
    return {
        "command": COMMAND,
        "checkpoint_id": client.policy_figures().checkpoint_id,
        "contract_hash": contract.hash,
    }


def _simulated(
    request: RosRequest, contract: RobotContract, client: GraphClient, facts: dict[str, Any]
) -> tuple[list[Outcome], dict[str, Any]]:
    if not client.holding()[0]:
        client.enable()  # of simulated arms
    plan = [(p.factor, p.number, p.spec.task, p.spec.seed, p.texts) for p in request.pairs]
    path = partial_path(request.json)
    settings = {"timeout_s": request.timeout_s, "repeats": request.repeats}
    digest = hashlib.sha256(repr(plan).encode()).hexdigest()
    ledger = Ledger(path, facts | settings | {"factors": list(request.factors), "plan_hash": digest})
    outcomes: list[Outcome] = []
    rows: list[Row] = []
    with progress("runs") as bar:
        task = bar.add_task("evaluating", total=2 * len(request.pairs))
        for pair in request.pairs:
            known = ledger.outcome(pair)
            if known is not None:
                bar.advance(task, 2)
                outcomes.append(known)
                continue
            found, done = run_pairs(
                [pair],
                lambda trial: run_valid_trial(client, trial, request.timeout_s, None, request.repeats)[0],
                contract.frame_period_s,
                lambda _: bar.advance(task),
            )
            ledger.add(found[0])
            outcomes += found
            rows += done
    ledger.close()
    provenance = facts | settings | {"source": TRUTH, "repeated": repeated(rows), "repeat_rule": REPEAT_RULE}
    return outcomes, provenance | timing(rows, client.policy_figures())


def _rated(request: RosRequest) -> tuple[list[Outcome], dict[str, Any]]:
    """Answers and key into outcomes; no graph is needed."""
    if request.blind is None or request.answers is None:
        raise FineVLAError(
            "answers alone tell nothing",
            where="--answers",
            expected="--blind DIR as well, the folder of the videos",
            remedy="give --blind DIR together with --answers FILE",
        )
    key = read_key(request.blind)
    try:
        text = request.answers.read_text("utf-8")
    except OSError as err:
        raise FineVLAError(
            "the answers cannot be read",
            where=request.answers,
            expected="the file that score.html saves",
            found=repr(err),
            remedy="open score.html, answer every video and save answers.json",
        ) from err
    outcomes = join(key, read_answers(text, key, request.answers), load_contract().frame_period_s)
    videos = len(key.videos)
    counts = {"videos": videos, "rejected": len(key.runs) - videos, "seal": key.seal}
    return outcomes, dict(key.provenance) | {"source": RATER, "rated": counts}


def _finish(request: RosRequest, outcomes: list[Outcome], provenance: dict[str, Any]) -> dict[str, Any]:
    """The result of `evaluate paired`, with its source and provenance; written where that was asked for."""
    factors = list(dict.fromkeys(outcome.pair.factor for outcome in outcomes))
    result = summarize(outcomes, factors)
    result["source"] = provenance["source"]
    result["provenance"] = provenance | {
        "tasks": sorted({outcome.pair.spec.task for outcome in outcomes}),
        "seeds": sorted({outcome.pair.spec.seed for outcome in outcomes}),
        "versions": {name: metadata.version(name) for name in ("numpy", "sapien")},
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    if request.runs:
        result["runs"] = run_rows(outcomes)
    if request.json is not None:
        write_json(request.json, result)
    return result
