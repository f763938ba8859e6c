"""Both emulated arms as a process of their own.

`python -m finevla_sim.arm_emulator`, or `ros2 run finevla_sim arm_emulator`; `--help` lists all faults.
Joints follow their targets at once, without physics; faults come from `--fault` and from lines on stdin.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import select
import signal
import sys
import time
from collections.abc import Sequence

from finevla.contract import load_contract
from finevla.contract.kinematics import dh_table, forward
from finevla.contract.robot import ARM_SIDES, RobotContract
from finevla.errors import FineVLAError, SimulationError
from finevla_sim import faults
from finevla_sim.arm_bus import ArmBus
from finevla_sim.arm_rehearsal import HELP, Watch, obey
from finevla_sim.can_port import Transport
from finevla_sim.piper_device import FEEDBACK_HZ, FrameSet
from finevla_sim.pose import xyz_rpy

NS_PER_S = 1_000_000_000
TICK_S = 1.0 / FEEDBACK_HZ
TICK_NS = NS_PER_S // FEEDBACK_HZ
TRANSPORTS = (Transport.SOCKETCAND, Transport.SLCAN)
"""The virtual bus ends at the process."""
STDIN = 0


class _Lines:
    """Lines of stdin, without waiting for them."""

    def __init__(self) -> None:
        self._rest, self._open = b"", True

    def take(self) -> list[str]:
        """The lines that have come since the last call."""
        if not self._open or not select.select([STDIN], [], [], 0.0)[0]:
            return []
        received = os.read(STDIN, 1 << 12)
        self._open = bool(received)
        *lines, self._rest = (self._rest + received).split(b"\n")
        return [line.decode(errors="replace") for line in lines]


def main(args: Sequence[str] | None = None) -> int:
    """Runs until SIGINT or SIGTERM; returns the exit code: 2 for wrong options, else 0."""
    options = _options(args)
    stop: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda sent, _frame: stop.append(sent))
    try:
        contract = load_contract(options.contract)
        with contextlib.closing(_make(contract, options)) as bus:
            for line in options.fault:
                _say(obey(bus, line))
            _say(how_to_connect(bus, contract, options.transport))
            _run(bus, stop)
    except FineVLAError as err:
        sys.stderr.write(f"{err}\n")
        return 2
    return 0


def _make(contract: RobotContract, options: argparse.Namespace) -> ArmBus:
    table = dh_table(contract.dh_is_offset)
    try:
        return ArmBus(
            contract,
            contract.home,
            time.time_ns,
            options.port,
            FrameSet(options.frames),
            lambda q: xyz_rpy(forward(table, q)),
            options.transport,
            options.seed,
        )
    except OSError as err:
        raise SimulationError(
            "the emulated arms cannot be reached",
            where=f"{options.transport}, port {options.port}",
            found=err,
            remedy="choose another --port, or 0 for any",
        ) from err


def how_to_connect(bus: ArmBus, contract: RobotContract, transport: str) -> str:
    """What a driver needs to reach the arms."""
    addresses = {side: bus.address(side) for side in ARM_SIDES}
    if transport == Transport.SOCKETCAND:
        reach = {"host": "127.0.0.1", "port": bus.port}
        channels = ", ".join(f"{side} {address}" for side, address in addresses.items())
        where = f"127.0.0.1:{bus.port}, channels {channels}"
    else:
        reach = {"sleep_after_open": 0.0}
        where = ", ".join(f"{side} {address}" for side, address in addresses.items())
    named = "".join(
        f" can_channel_{side}:={address}"
        for side, address in addresses.items()
        if address != contract.arms[side].can_channel
    )
    return (
        f"the arms answer by {transport}: {where}\n"
        f"  driver: can_interface:={transport}{named} can_options:='{json.dumps(reach)}'\n"
        f"  stdin, {HELP}"
    )


def _run(bus: ArmBus, stop: list[int]) -> None:
    watches = [Watch(side, bus.arms[side]) for side in ARM_SIDES]
    lines, due = _Lines(), time.time_ns()
    while not stop:
        for line in lines.take():
            _say(_obeyed(bus, line))
        bus.poll()
        bus.feedback(bus.commands(TICK_S), time.time_ns())
        for watch in watches:
            for change in watch.changes():
                _say(change)
        due = max(due + TICK_NS, time.time_ns())
        time.sleep(max(due - time.time_ns(), 0) / NS_PER_S)


def _obeyed(bus: ArmBus, line: str) -> str:
    """A person's mistake is answered, it does not end the rehearsal."""
    try:
        return obey(bus, line)
    except FineVLAError as err:
        return str(err)


def _say(text: str) -> None:
    if text:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


def _options(args: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "arm_emulator",
        description="Two emulated Piper arms on CAN buses.",
        epilog=f"faults, by --fault and on stdin:\n{faults.usage()}\n\nstdin, {HELP}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--port", type=int, default=0, help="TCP port of socketcand; 0: any")
    parser.add_argument("--transport", choices=[str(name) for name in TRANSPORTS], default="socketcand")
    parser.add_argument("--frames", choices=[str(name) for name in FrameSet], default="full")
    parser.add_argument(
        "--fault",
        type=_fault_line,
        action="append",
        default=[],
        metavar="SIDE:FAULT[=NUMBERS]",
        help="such as left:over_temperature=3,95; again for more",
    )
    parser.add_argument("--contract", default="", help="contract file; empty: the CobotMagic's")
    parser.add_argument("--seed", type=int, default=0, help="of what happens by chance")
    return parser.parse_args(args)


def _fault_line(text: str) -> str:
    """`left:over_temperature=3,95` as the line `left over_temperature 3 95`."""
    return " ".join(text.replace(":", " ", 1).replace("=", " ", 1).replace(",", " ").split())


if __name__ == "__main__":
    sys.exit(main())
