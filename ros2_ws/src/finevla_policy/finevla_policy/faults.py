"""Reasons to stop that come from outside: silent cameras, joints and drivers. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from finevla.contract import RobotContract
from finevla.contract.frame import NS_PER_S
from finevla_policy.loop_types import DriverView, LoopConfig


@dataclass(frozen=True, slots=True)
class Fault:
    """A reason to hold: `code` in lower_snake_case and one sentence with the remedy."""

    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class RunContext:
    """Where the run stands; `followed` is the instruction whose chunks are out, or empty."""

    now_ns: int
    activated_ns: int
    started_ns: int
    followed: str


def stale_streams(
    contract: RobotContract, config: LoopConfig, ages_ns: Mapping[str, int | None], since_ns: int
) -> Fault | None:
    """A camera or an arm that has sent nothing for too long.

    Args:
        contract: Names and topics.
        config: Limits.
        ages_ns: Age of the newest message of each stream; None where none came yet.
        since_ns: Time since activation; no stream counts as older, because discovery takes a moment.
    """
    ages = {s: since_ns if age is None else min(age, since_ns) for s, age in ages_ns.items()}
    cameras = [s for s in ages if s in contract.cameras]
    dead = [s for s in cameras if ages[s] > config.camera_stale_s * NS_PER_S]
    code = "camera_stale"
    if not dead:
        dead = [s for s in ages if s not in cameras and ages[s] > config.joints_stale_s * NS_PER_S]
        code = "joints_stale"
    if not dead:
        return None
    names = ", ".join(f"{s} ({_topic(contract, s)}) for {ages[s] / NS_PER_S:.1f} s" for s in dead)
    return Fault(code, f"nothing came from {names}; check its node, then give a new instruction")


def driver_fault(
    contract: RobotContract, config: LoopConfig, driver: DriverView | None, run: RunContext
) -> Fault | None:
    """A driver that is silent, stopped, at fault, not enabled, or that holds against our chunks."""
    limit_ns = config.driver_stale_s * NS_PER_S
    if limit_ns == 0:
        return None
    if driver is None or run.now_ns - driver.received_ns > limit_ns:
        if run.now_ns - run.activated_ns <= limit_ns:
            return None
        return Fault("driver_lost", f"the driver is silent on {contract.topics.driver_state}; check its node")
    detail = f"the driver is {driver.state} ({driver.reason_code}): {driver.reason}"
    if driver.state in {"STOPPED", "FAULT"}:
        return Fault(f"driver_{driver.state.lower()}", detail)
    if driver.state in {"DISCONNECTED", "CONNECTED"} and run.now_ns - run.started_ns > limit_ns:
        return Fault("driver_not_enabled", f"{detail}; enable the arms, then give a new instruction")
    ends = driver.state == "HOLD" or driver.reason_code == "homing"
    if ends and run.followed and driver.instruction_id == run.followed:
        return Fault("driver_hold", detail)
    return None


def _topic(contract: RobotContract, stream: str) -> str:
    cameras = contract.cameras
    return cameras[stream].topic if stream in cameras else contract.arms[stream].feedback_topic
