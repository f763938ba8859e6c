"""What all tests share: an environment of their own, the one simulated world, and honest skips.

A test that cannot run here is skipped with its reason; where CI=true it fails instead, so that a broken
renderer or an unbuilt workspace cannot pass for a green run.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))  # helpers that several tiers share
# The pure modules of the node packages are tested without a built workspace; a built one comes first.
sys.path.extend(str(init.parents[1]) for init in sorted((ROOT / "ros2_ws" / "src").glob("*/*/__init__.py")))


def pytest_configure(config: pytest.Config) -> None:
    """Gives this run its own ROS domain, and the transport that the robot has."""
    from domains import fresh_domain

    os.environ.setdefault("ROS_DOMAIN_ID", str(fresh_domain()))
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    os.environ.setdefault("FASTDDS_DEFAULT_PROFILES_FILE", str(ROOT / "launch" / "fastdds" / "local.xml"))
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from finevla.contract.threads import share_interpreter

    share_interpreter()  # as in the main of a node: tests hold many of them in one process


@functools.cache
def _no_renderer() -> str:
    """Why nothing can be rendered here, or the empty string."""
    if importlib.util.find_spec("sapien") is None:
        return "sapien is not installed (requirements/sim.txt)"
    from finevla.errors import SimulationError
    from finevla.sim.room import require_renderer

    try:
        require_renderer()
    except SimulationError as err:
        return str(err)
    return ""


@functools.cache
def _no_ros() -> str:
    """Why there is no ROS 2 here, or the empty string."""
    for name in ("rclpy", "finevla_msgs"):
        if importlib.util.find_spec(name) is None:
            return f"{name} cannot be imported; run `make setup` and enter the environment: . scripts/env.sh"
    return ""


@functools.cache
def _no_workspace() -> str:
    """Why the nodes cannot be launched here, or the empty string."""
    prefixes = os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
    index = Path("share") / "ament_index" / "resource_index" / "packages"
    for package in ("finevla", "cobotmagic_driver", "finevla_policy", "finevla_sim", "finevla_system"):
        if not any((Path(prefix) / index / package).exists() for prefix in prefixes if prefix):
            return f"the ROS 2 package {package} is not built; run `make setup`, then . scripts/env.sh"
    return ""


NEEDS: dict[str, tuple[Callable[[], str], ...]] = {
    "sim": (_no_renderer,),
    "ros": (_no_ros,),
    "launch": (_no_ros, _no_workspace),
    "e2e": (_no_ros, _no_workspace, _no_renderer),
}
"""What a test with a marker needs; each says why it is missing."""


def missing(marker: str) -> str:
    """Why tests with a marker cannot run here, or the empty string."""
    return next((reason for need in NEEDS[marker] if (reason := need())), "")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips what cannot run here; fails it in continuous integration."""
    for marker in NEEDS:
        if item.get_closest_marker(marker) and (reason := missing(marker)):
            if os.environ.get("CI") == "true":
                pytest.fail(reason, pytrace=False)
            pytest.skip(reason)


@pytest.fixture(scope="session")
def world() -> object:
    """The one rendering `World` of the run: its first picture costs seconds, further scenes nothing.

    Tests that use it carry the marker `sim`, and reset it to their own scene.
    """
    if reason := missing("sim"):
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    from finevla.sim.world import World

    return World(render=True)


@pytest.fixture
def ros_domain(monkeypatch: pytest.MonkeyPatch) -> int:
    """A ROS domain of the test's own, also for the processes that it starts."""
    from domains import fresh_domain

    domain = fresh_domain()
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
    return domain


@pytest.fixture
def ros_context(ros_domain: int) -> Iterator[object]:
    """An rclpy context in a domain of the test's own; pass it to nodes and executors."""
    import rclpy

    context = rclpy.Context()
    rclpy.init(context=context, domain_id=ros_domain)
    yield context
    context.try_shutdown()


@pytest.fixture
def free_port() -> int:
    """A TCP port on the loopback interface that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
