"""All faults by name, and the text by which a person asks for one: `collision 3`, `frame_loss 0.2 for 5`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

from finevla.errors import SimulationError
from finevla_sim import arm_faults, motor_faults
from finevla_sim.fault import Fault, check

_ALL: tuple[type[Fault], ...] = (
    arm_faults.FrameLoss,
    arm_faults.Burst,
    arm_faults.Delay,
    arm_faults.BusOff,
    arm_faults.StuckJoint,
    arm_faults.DriftingEncoder,
    arm_faults.EncoderGlitch,
    arm_faults.WrongLimits,
    arm_faults.WrongStroke,
    arm_faults.OtherFirmware,
    arm_faults.SilentFirmware,
    arm_faults.SlowFirmware,
    arm_faults.MotorsOff,
    arm_faults.LeaderMode,
    arm_faults.TeachMode,
    motor_faults.OverTemperature,
    motor_faults.UnderVoltage,
    motor_faults.OverCurrent,
    motor_faults.Collision,
    motor_faults.MotorFault,
    motor_faults.JointOffline,
    motor_faults.ArmError,
)
FAULTS: dict[str, type[Fault]] = {fault.kind(): fault for fault in _ALL}
"""Every fault that can be injected."""

FOR = "for"


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"a finite number, not {text}")
    return value


_NUMBERS: dict[str, Callable[[str], int | float | str]] = {"int": int, "float": _finite, "str": str}


def usage() -> str:
    """One line per fault: its name, its numbers with their defaults, what it does."""
    return "\n".join(
        f"  {' '.join([name, *(f'[{f.name}={f.default}]' for f in dataclasses.fields(fault))])}: "
        f"{fault.description()}"
        for name, fault in FAULTS.items()
    )


def parse_fault(words: Sequence[str]) -> tuple[Fault, float | None]:
    """A fault from its name and numbers, such as `over_temperature 3 95 for 2.5`.

    Returns:
        The fault, and after how many seconds it ends; None: when it is cleared.

    Raises:
        SimulationError: There is no such fault, or it cannot have these numbers.
    """
    name, *numbers = [*words] or [""]
    fault = FAULTS.get(name)
    if fault is None:
        raise SimulationError("there is no such fault", expected=", ".join(FAULTS), found=repr(name))
    fields = dataclasses.fields(fault)
    try:
        seconds = None
        if FOR in numbers:
            at = numbers.index(FOR)
            (length,) = numbers[at + 1 :]
            seconds, numbers = _finite(length), numbers[:at]
            check(seconds > 0.0, "a time over 0 s")
        if len(numbers) > len(fields):
            raise ValueError(f"at most {len(fields)} numbers")
        values = {
            field.name: _NUMBERS[str(field.type)](text) for field, text in zip(fields, numbers, strict=False)
        }
        return fault(**values), seconds
    except ValueError as err:
        names = " ".join(field.name for field in fields)
        raise SimulationError(
            "a fault cannot have these numbers",
            where=f"{name} {names}".rstrip(),
            expected=str(err),
            found=" ".join(words),
            remedy="see `python -m finevla_sim.arm_emulator --help` for all faults and their numbers",
        ) from err
