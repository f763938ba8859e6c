"""What the driver says of itself and of both arms on `/diagnostics`."""

from __future__ import annotations

from collections.abc import Sequence

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from finevla_perception.convert import ns_to_stamp
from finevla_perception.diagnose import status

from cobotmagic_driver.backend import ArmHealth
from cobotmagic_driver.core import DriverCore
from cobotmagic_driver.state_machine import State
from cobotmagic_driver.tick_watch import TickReport
from finevla.contract.robot import ARM_SIDES
from finevla.contract.services import DRIVER_NODE

WARM_C, HOT_C = 60.0, 75.0
"""Temperatures of a motor or its driver that a person should know of, degree Celsius."""
LOW_VOLT = 22.0
"""A Piper's supply is 24 V."""


def diagnostics(core: DriverCore, ticks: TickReport, now_ns: int) -> DiagnosticArray:
    """The driver, with how evenly it ticks, and both arms."""
    message = DiagnosticArray()
    message.header.stamp = ns_to_stamp(now_ns)
    message.status = [_driver(core, ticks), *(_arm(core, side, now_ns) for side in ARM_SIDES)]
    return message


def _driver(core: DriverCore, ticks: TickReport) -> DiagnosticStatus:
    machine = core.machine
    level = DiagnosticStatus.OK
    if machine.state in (State.STOPPED, State.FAULT):
        level = DiagnosticStatus.ERROR
    elif machine.state == State.HOLD:
        level = DiagnosticStatus.WARN
    values = {
        "state": machine.state.name,
        "source": machine.source,
        "selected_source": core.commands.selected,
        "speed_scale": f"{core.limiter.speed_scale:g}",
        "ticks": str(ticks.ticks),
        "tick_jitter_p99_ms": f"{ticks.jitter_p99_ms:.3f}",
        "tick_jitter_max_ms": f"{ticks.jitter_max_ms:.3f}",
        "tick_work_p99_ms": f"{ticks.work_p99_ms:.3f}",
        "ticks_missed": str(ticks.missed),
        **{name: str(count) for name, count in sorted(core.interventions.items())},
    }
    text = machine.reason or machine.state.name
    return status(DRIVER_NODE, level, text, values)


def _arm(core: DriverCore, side: str, now_ns: int) -> DiagnosticStatus:
    name = f"{DRIVER_NODE}: {side} arm"
    feedback = core.arms.feedback(side)
    if feedback is None:
        return status(name, DiagnosticStatus.STALE, "nothing has been heard of it", {})
    health = feedback.health
    words = [*feedback.faults, *_worries(health)]
    if feedback.arm_status or feedback.error_code:
        words.insert(0, f"status {feedback.arm_status}, error bits 0x{feedback.error_code:04X}")
    bad = bool(feedback.arm_status or feedback.error_code or feedback.faults)
    level = DiagnosticStatus.ERROR if bad else DiagnosticStatus.WARN if words else DiagnosticStatus.OK
    values = {
        "age_s": f"{core.arms.age_s(side, now_ns):.3f}",
        "enabled": str(feedback.enabled),
        "firmware": health.firmware,
        "control_mode": str(health.control_mode),
        "motor_celsius": _list(health.motor_celsius, "{:.0f}"),
        "driver_celsius": _list(health.driver_celsius, "{:.0f}"),
        "motor_ampere": _list(health.motor_ampere, "{:.2f}"),
        "supply_volt": _list(health.supply_volt, "{:.1f}"),
    }
    return status(name, level, ", ".join(words) or "as expected", values)


def _worries(health: ArmHealth) -> list[str]:
    words = []
    for what, celsius in (("motor", health.motor_celsius), ("driver", health.driver_celsius)):
        for number, value in enumerate(celsius, 1):
            if value >= WARM_C:
                words.append(f"{what} {number} {'hot' if value >= HOT_C else 'warm'} ({value:.0f} degree C)")
    words += [
        f"supply of motor {number} low ({value:.1f} V)"
        for number, value in enumerate(health.supply_volt, 1)
        if value < LOW_VOLT
    ]
    return words


def _list(values: Sequence[float], form: str) -> str:
    return " ".join(form.format(value) for value in values)
