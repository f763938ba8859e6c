"""A Ray cluster to work on: one that is there, or one of this process that nobody else can reach."""

from __future__ import annotations

import logging
import os
import secrets
from typing import Any

from finevla.errors import SetupError

_LOOPBACK = "127.0.0.1"
_ALONE = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing calls out
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # with it off, Ray takes the loopback address that it is given
}
"""Read by Ray when it is imported."""


def ray_cluster(workers: int, address: str = "") -> Any:
    """The module `ray`, connected; call its `shutdown` in the end.

    Without an address a Ray of its own is started, which listens on the loopback interface only, has
    `workers` CPUs and no dashboard.

    Raises:
        SetupError: Ray is not installed, or cannot be started or reached.
    """
    return _connected(address) if address else _started(workers)


def _started(workers: int) -> Any:
    """A Ray of this process, closed to everybody else."""
    os.environ.update(_ALONE)
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))  # else one is left in the home folder
    ray = _init(
        "a Ray of its own on this machine",
        address="local",
        num_cpus=workers,
        include_dashboard=False,
        _node_ip_address=_LOOPBACK,
    )
    found = ray.nodes()[0]["NodeManagerAddress"]
    if found != _LOOPBACK:
        ray.shutdown()
        raise _unusable(f"a Ray that listens on {_LOOPBACK} only", f"one that listens on {found}")
    return ray


def _connected(address: str) -> Any:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    return _init(address, address=address)


def _init(expected: str, **arguments: Any) -> Any:
    try:
        import ray  # late: it is slow, and reads the environment when it is imported

        ray.init(log_to_driver=False, logging_level=logging.ERROR, **arguments)
    except (ImportError, ConnectionError, RuntimeError, ValueError) as err:
        raise _unusable(expected, repr(err)) from err
    return ray


def _unusable(expected: str, found: str) -> SetupError:
    return SetupError(
        "Ray cannot be used",
        where="Ray, the engine that was asked for",
        expected=expected,
        found=found,
        remedy="run `make setup`, check --ray-address, or work on this machine without Ray",
    )
