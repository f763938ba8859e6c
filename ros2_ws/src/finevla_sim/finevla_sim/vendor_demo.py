"""Runs a program of the vendor's, unmodified, against an emulated arm.

    python -m finevla_sim.vendor_demo FILE --port 29536 [--arm left]

The demos of `piper_sdk` open `can0` as SocketCAN, which a computer without CAN does not have. Here python-can
opens the bus of an emulated arm instead, and the SDK does not look for the network interface. Nothing else is
changed: the file runs as it was shipped, with the frames that it would send to a real arm.
"""

from __future__ import annotations

import argparse
import runpy
import socket
import sys
from pathlib import Path
from typing import Any

import can
import piper_sdk
from piper_sdk.hardware_port.can_encapsulation_v0_4_0 import C_STD_CAN

from finevla.contract import ARM_SIDES, load_contract
from finevla.errors import SimulationError

DEMOS = Path(piper_sdk.__file__).parent / "demo" / "V2"


SERVER_TIMEOUT_S = 2.0


def redirect(host: str, port: int, first: str) -> None:
    """Makes every bus that is opened from now on the one of an emulated arm.

    A bus whose name ends in 1 is that of the other arm than `first`, any other is that of `first`.

    Raises:
        SimulationError: Nobody listens there.
    """
    try:
        socket.create_connection((host, port), SERVER_TIMEOUT_S).close()
    except OSError as err:
        raise SimulationError(
            "there are no emulated arms",
            where=f"{host}, port {port}",
            found=err,
            remedy=f"start them: python -m finevla_sim.arm_emulator --port {port}",
        ) from err
    (second,) = set(ARM_SIDES) - {first}
    arms, ordinary = load_contract().arms, can.interface.Bus

    def emulated(channel: str = "", **_options: object) -> Any:
        side = second if str(channel).endswith("1") else first
        return ordinary(arms[side].can_channel, interface="socketcand", host=host, port=port, tcp_tune=True)

    can.interface.Bus = emulated
    C_STD_CAN.JudgeCanInfo = lambda _self: None


def main(args: list[str] | None = None) -> int:
    """Runs the file until it ends or is interrupted."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path, help=f"the program, or the name of one in {DEMOS.name}")
    parser.add_argument("--host", default="127.0.0.1", help="where the emulated arm is")
    parser.add_argument("--port", type=int, default=29536, help="its TCP port")
    parser.add_argument(
        "--arm", choices=ARM_SIDES, default=ARM_SIDES[0], help="which of the two can0 is; can1 is the other"
    )
    flags = parser.parse_args(args)
    file = flags.file if flags.file.is_file() else DEMOS / flags.file
    if not file.is_file():
        parser.error(f"there is no {flags.file}, neither here nor in {DEMOS}")
    try:
        redirect(flags.host, flags.port, flags.arm)
    except SimulationError as err:
        parser.error(str(err))
    sys.argv = [str(file)]
    try:
        runpy.run_path(str(file), run_name="__main__")
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
