"""What a person sees of and says to the emulated arms: lines about them, and lines that change them."""

from __future__ import annotations

from finevla.contract.robot import ARM_SIDES
from finevla.errors import SimulationError
from finevla_sim.arm_bus import ArmBus
from finevla_sim.faults import FAULTS, parse_fault
from finevla_sim.faulty_arm import FaultyArm

HELP = """one line each:
  SIDE FAULT [NUMBERS] [for SECONDS]   inject a fault, see --help; SIDE is left, right or both
  SIDE clear [FAULT]                   take it away, or all
  SIDE disconnect, SIDE reconnect      drop the clients of a bus, take them again
  SIDE restart                         power off and on"""


def obey(bus: ArmBus, line: str) -> str:
    """Does what a line says: `left collision 3`, `right bus_off for 2`, `both clear`.

    Returns:
        What was done, empty for an empty line.

    Raises:
        SimulationError: The line says nothing that can be done.
    """
    words = line.split()
    if not words:
        return ""
    side, *rest = words
    sides = ARM_SIDES if side == "both" else (side,)
    if not set(sides) <= set(ARM_SIDES) or not rest:
        raise SimulationError("this line cannot be obeyed", found=repr(line), expected=HELP)
    return "\n".join(f"{one}: {_obey_one(bus, one, rest)}" for one in sides)


def _obey_one(bus: ArmBus, side: str, words: list[str]) -> str:
    arm, verb = bus.arms[side], words[0]
    match words:
        case ["clear"]:
            arm.clear()
            return "no faults"
        case ["clear", kind] if kind in FAULTS:
            arm.clear(kind)
            return f"no {kind}"
        case ["disconnect"]:
            bus.disconnect(side)
        case ["reconnect"]:
            bus.reconnect(side)
        case ["restart"]:
            arm.restart()
        case _:
            fault, seconds = parse_fault(words)
            arm.inject(fault, seconds)
            return f"fault {fault}" + ("" if seconds is None else f" for {seconds:g} s")
    return f"{verb}ed"


class Watch:
    """Tells what changed of one arm since it was last asked."""

    def __init__(self, side: str, arm: FaultyArm) -> None:
        self._side, self._arm = side, arm
        self._before = self._state()

    def changes(self) -> list[str]:
        """One line per change, such as `left: enabled`."""
        now = self._state()
        lines = [f"{self._side}: {value}" for key, value in now.items() if value != self._before[key]]
        self._before = now
        return lines

    def _state(self) -> dict[str, str]:
        device = self._arm.device
        faults = ", ".join(fault.kind() for fault in self._arm.faults)
        return {
            "enabled": "enabled" if device.enabled else "disabled",
            "stopped": "stopped" if device.stopped else "not stopped",
            "moving": "targets moving" if device.moving else "at its targets",
            "role": "leader" if device.leader else "teaching" if device.teaching else "follower",
            "faults": f"faults: {faults or 'none'}",
        }
