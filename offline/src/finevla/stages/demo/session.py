"""A running graph with a client that is ready to talk to it: brought up, watched, and always ended."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from finevla.contract import load_contract
from finevla.contract.bundle import read_bundle, shipped_bundle
from finevla.stages.demo.bringup import Graph, free_port
from finevla.stages.demo.domain import reserved_domain
from finevla.stages.demo.graph import GraphClient
from finevla.stages.demo.run import Camera, side_cameras
from finevla.stages.demo.view import View


@dataclass(frozen=True, slots=True)
class Session:
    """What a verb needs to talk to its own graph; `bringup_s` is how long that took, in s."""

    graph: Graph
    client: GraphClient
    camera: Camera
    view: View
    bringup_s: float
    checkpoint_id: str


def wanted_domain(flag: int | None, environment: Mapping[str, str]) -> int | None:
    """The ROS domain asked for by the flag, else by ROS_DOMAIN_ID; None: any free one."""
    text = environment.get("ROS_DOMAIN_ID", "")
    if flag is None and text.isdecimal() and int(text) > 0:
        return int(text)
    return flag


@contextmanager
def terminable() -> Iterator[None]:
    """Lets SIGTERM end the block as Ctrl-C does, so that the graph is ended too."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def open_session(
    *,
    bundle: Path | None,
    log_path: Path,
    timeout_s: float,
    domain_id: int | None = None,
    arguments: Mapping[str, str] | None = None,
) -> Iterator[Session]:
    """Brings the simulated robot up with a bundle, enables its arms, and ends it all afterwards.

    Args:
        bundle: The policy's; None: the one that ships with finevla.
        log_path: Receives everything that the graph prints.
        timeout_s: Longest time until everything is ready.
        domain_id: ROS domain; None: ROS_DOMAIN_ID, else the first free one.
        arguments: Further launch arguments.

    Raises:
        BundleError: The bundle is not right.
        LaunchError: No ROS domain is free, or the graph did not come up.
        GraphError: The driver does not enable the arms.
    """
    contract = load_contract()
    path = bundle if bundle is not None else shipped_bundle()
    checkpoint_id = read_bundle(path, contract).checkpoint_id
    launch = {"sim": "true", "bundle": str(path.resolve()), "can_port": str(free_port()), **(arguments or {})}
    camera = Camera(side_cameras(contract))
    with (
        terminable(),
        reserved_domain(wanted_domain(domain_id, os.environ)) as domain,
        View() as view,
        Graph(launch, domain, log_path) as graph,
        GraphClient(contract, domain_id=domain, on_frame=camera.sink) as client,
    ):
        seconds = graph.wait_until_ready(client, timeout_s, view.waiting)
        view.say(f"the graph is up after {seconds:.1f} s; enabling the arms")
        client.enable()
        try:
            yield Session(graph, client, camera, view, seconds, checkpoint_id)
        finally:
            view.now("ending the graph")
