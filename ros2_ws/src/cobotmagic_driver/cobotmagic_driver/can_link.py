"""Whether a SocketCAN interface can carry an arm: it exists, is up, runs at 1 Mbit/s and is not bus-off."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence

from finevla.errors import DriverError

BITRATE = 1_000_000
"""Bit/s of a Piper's bus (piper_sdk README)."""
IP_TIMEOUT_S = 5.0

Runner = Callable[[Sequence[str]], str]
"""Runs a command and returns what it printed; raises OSError or CalledProcessError."""


def run(command: Sequence[str]) -> str:
    """The ordinary runner."""
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=IP_TIMEOUT_S)
    return done.stdout


def require_link(channel: str, runner: Runner = run) -> None:
    """Refuses an interface that cannot carry an arm.

    Raises:
        DriverError: It is missing, down, at another bit rate or bus-off; the remedy names the command.
    """
    up = f"sudo ip link set {channel} up type can bitrate {BITRATE}"
    try:
        links = json.loads(runner(["ip", "-details", "-json", "link", "show", channel]))
        link = links[0]
    except (OSError, subprocess.SubprocessError, ValueError, IndexError) as err:
        found, remedy = f"no such interface ({err})", f"plug the adapter in, name it, then: {up}"
        raise _unfit(channel, found, remedy) from err
    info = link.get("linkinfo", {})
    data = info.get("info_data", {})
    if info.get("info_kind") not in ("can", "vcan"):
        raise _unfit(channel, f"an interface of kind {info.get('info_kind', link.get('link_type'))}", up)
    if "UP" not in link.get("flags", []):
        raise _unfit(channel, "the interface is down", up)
    if info["info_kind"] == "vcan":
        return  # virtual: there are no bits to time
    rate = data.get("bittiming", {}).get("bitrate")
    again = f"sudo ip link set {channel} down && {up}"
    if rate != BITRATE:
        raise _unfit(channel, f"bit rate {rate}", again)
    if data.get("state") == "BUS-OFF":
        remedy = f"check cable, connector and termination (120 ohm at both ends), then: {again}"
        raise _unfit(channel, "the controller is bus-off: it gave up after too many errors", remedy)


def _unfit(channel: str, found: str, remedy: str) -> DriverError:
    return DriverError(
        "the CAN interface cannot carry an arm",
        where=channel,
        expected=f"a CAN interface that is up at {BITRATE} bit/s",
        found=found,
        remedy=remedy,
    )
