"""The fault campaign: what the driver does about everything that can go wrong with an arm or its bus.

    pytest -m faults -s tests/unit/test_driver_faults.py

Real frames through the unmodified SDK over a real port; the arms are emulated, because nobody can order a
collision. Each fault is injected while both arms move. The table that is printed: the state that was reached
and its reason code, the time from the injection to it, the time from there to the last target that the faulty
arm was sent (0: none), what was published, and what the operator did to go on.
"""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import can
import numpy as np
import pytest
from arms import emulated_arms, wait_until
from cobotmagic_driver.core import DriverCore
from cobotmagic_driver.core_types import CoreSettings
from cobotmagic_driver.loop import DriverLoop
from cobotmagic_driver.piper_backend import CanSettings, PiperBackend
from cobotmagic_driver.state_machine import State
from finevla_sim import arm_faults as af
from finevla_sim import motor_faults as mf
from finevla_sim.piper_device import FrameSet

from finevla.contract import ARM_SIDES, ActionChunk, load_contract
from finevla.errors import DriverError

pytestmark = pytest.mark.faults
CONTRACT = load_contract()
SWING = np.array([0.8, 0.2, -0.2, 0.1, 0.1, 0.2, -0.02] * 2)
CHUNK_TIMEOUT_S, FEEDBACK_TIMEOUT_S = 0.5, 0.1
LONGEST_S = 4.0
SLACK_S = 0.25
"""What a busy machine may add to a time that is asserted; the table shows what it was."""
ROWS: list[tuple[str, ...]] = []


class Bench:
    """A driver on emulated arms that follows chunks, with a log of its states and of what it sent."""

    def __init__(self, bus) -> None:
        self.bus = bus
        self.states: list[tuple[float, State, str]] = []
        self.sent: dict[str, list[tuple[float, np.ndarray]]] = {side: [] for side in ARM_SIDES}
        can_settings = CanSettings("socketcand", {"host": "127.0.0.1", "port": bus.port, "tcp_tune": True})
        backends = {
            side: PiperBackend(arm, can_settings, time.time_ns) for side, arm in CONTRACT.arms.items()
        }
        for side, backend in backends.items():
            backend.send = self._logged(side, backend.send)  # type: ignore[method-assign]
        settings = CoreSettings(chunk_timeout_s=CHUNK_TIMEOUT_S, feedback_timeout_s=FEEDBACK_TIMEOUT_S)
        self.core = DriverCore(CONTRACT, settings)
        self.loop = DriverLoop(
            self.core, backends, CONTRACT, time.time_ns, on_tick=lambda _now: self._note_state()
        )
        self.instruction = ""
        self._stop = threading.Event()
        self._mover = threading.Thread(target=self._move)

    def _logged(self, side: str, send: Callable) -> Callable:
        def logged(values: np.ndarray) -> None:
            send(values)
            self.sent[side].append((time.monotonic(), values.copy()))

        return logged

    def _note_state(self) -> None:
        machine = self.core.machine
        if not self.states or self.states[-1][1:] != (machine.state, machine.reason_code):
            self.states.append((time.monotonic(), machine.state, machine.reason_code))

    def _move(self) -> None:
        """A policy: a chunk ten times a second while there is an instruction."""
        followed, began_ns = "", 0
        while not self._stop.wait(0.1):
            name, now_ns = self.instruction, time.time_ns()
            if name != followed:
                followed, began_ns = name, now_ns  # from home on, where the arms are
            if name:
                times = (now_ns - began_ns) / 1e9 + 0.1 * np.arange(16)
                targets = CONTRACT.home + (0.5 - 0.5 * np.cos(1.5 * times))[:, None] * SWING
                self.loop.on_chunk(ActionChunk(now_ns, 0.1, targets, now_ns, name, "test"))

    def __enter__(self) -> Bench:
        self.loop.connect(10.0)
        self.loop.start_thread()
        self._mover.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._mover.join()
        self.loop.disconnect()

    def enable(self) -> tuple[bool, str]:
        """On a busy machine an arm may be silent too long, or its last status be old: then once more."""
        for _ in range(5):
            ok, why = self.loop.enable().result(10.0)
            if ok or not ("sent no joints" in why or "emergency stop" in why):
                break
            time.sleep(0.2)
        return ok, why

    def start_moving(self, name: str) -> None:
        ok, why = self.enable()
        assert ok, why
        ok, why = self.loop.home().result(20.0)
        assert ok, why
        self.instruction = name
        assert wait_until(lambda: self.loop.state == State.ACTIVE)
        time.sleep(0.5)

    def reached(self, since: float) -> tuple[float, State, str] | None:
        """The first state after `since` in which nothing follows commands."""
        late = [entry for entry in self.states if entry[0] >= since and entry[1] != State.ACTIVE]
        return late[0] if late else None


@pytest.fixture(scope="module")
def bus() -> Iterator:
    with emulated_arms(CONTRACT, FrameSet.REDUCED) as bus:
        yield bus


@pytest.fixture(scope="module")
def bench(bus) -> Iterator[Bench]:
    with Bench(bus) as bench:
        yield bench


@pytest.fixture(scope="module", autouse=True)
def printed() -> Iterator[None]:
    """The table, once all rows are there."""
    yield
    print("\n| fault | state | code | reached after, ms | targets go on for, ms | the operator |")
    print("|---|---|---|---|---|---|")
    for row in ROWS:
        print("| " + " | ".join(row) + " |")


@dataclass(frozen=True)
class Case:
    """One fault of a running driver: how it is made, and what is expected of the driver."""

    name: str
    make: Callable[[Bench], None]
    end: Callable[[Bench], None]
    state: State | None
    codes: tuple[str, ...] = ()
    operator: str = "looks, then enable"
    within_s: float = 0.5
    counted: str = ""


def inject(fault, side: str = "left") -> dict[str, Callable[[Bench], None]]:
    return {
        "make": lambda bench: bench.bus.arms[side].inject(fault),
        "end": lambda bench: bench.bus.arms[side].clear(),
    }


def foreign(bench: Bench) -> None:
    """A second program on the same bus."""
    arm = CONTRACT.arms["left"]
    with can.Bus(arm.can_channel, interface="socketcand", host="127.0.0.1", port=bench.bus.port) as other:
        time.sleep(0.4)
        for _ in range(20):
            data = struct.pack(">ii", 1000, 2000)
            other.send(can.Message(arbitration_id=0x155, data=data, is_extended_id=False))
            time.sleep(0.01)


def silence(bench: Bench) -> None:
    bench.instruction = ""


def nothing(_bench: Bench) -> None:
    pass


FAULT, HOLD = State.FAULT, State.HOLD
LOST = FEEDBACK_TIMEOUT_S
CASES = [
    Case("policy falls silent", silence, nothing, HOLD, ("stale_chunk",), "new instruction", CHUNK_TIMEOUT_S),
    Case(
        "policy sends NaN",
        lambda bench: bench.loop.on_chunk(
            ActionChunk(time.time_ns(), 0.1, np.full((4, 14), np.nan), time.time_ns(), "x", "test")
        ),
        nothing,
        None,
        counted="non_finite",
        operator="nothing: refused",
    ),
    Case("5 % of all frames lost", **inject(af.FrameLoss(0.05)), state=None, operator="nothing"),
    Case("bursts, 50 ms every 0.5 s", **inject(af.Burst(0.5, 0.05)), state=None, operator="nothing"),
    Case(
        "bursts, 300 ms", **inject(af.Burst(0.5, 0.3)), state=FAULT, codes=("feedback_lost",), within_s=LOST
    ),
    Case("bus-off", **inject(af.BusOff()), state=FAULT, codes=("feedback_lost",), within_s=LOST),
    Case("stuck joint", **inject(af.StuckJoint(1)), state=HOLD, codes=("not_following",), within_s=3.0),
    Case(
        "drifting encoder, 1 rad/s",
        **inject(af.DriftingEncoder(2, 1.0)),
        state=HOLD,
        codes=("not_following",),
        within_s=1.5,
    ),
    Case(
        "encoder glitches of 1 rad",
        **inject(af.EncoderGlitch(2, 1.0, 0.1)),
        state=None,
        counted="feedback_leap",
        operator="nothing: samples not used",
    ),
    Case("motors go off", **inject(af.MotorsOff()), state=FAULT, codes=("motors_off",)),
    Case(
        "turned into a leader",
        **inject(af.LeaderMode()),
        state=FAULT,
        codes=("feedback_lost", "foreign_commands"),
    ),
    Case("teach mode", **inject(af.TeachMode()), state=FAULT, codes=("taught", "arm_fault")),
    Case("motor at 95 degree C", **inject(mf.OverTemperature(3, 95.0)), state=FAULT, codes=("motor_fault",)),
    Case("undervoltage", **inject(mf.UnderVoltage(18.0)), state=FAULT, codes=("motor_fault",)),
    Case("overcurrent", **inject(mf.OverCurrent(2, 12.0)), state=FAULT, codes=("motor_fault",)),
    Case("collision", **inject(mf.Collision(3)), state=FAULT, codes=("arm_fault", "motor_fault")),
    Case("stall", **inject(mf.MotorFault(4, 7)), state=FAULT, codes=("motor_fault",)),
    Case("joint offline", **inject(mf.JointOffline(5)), state=FAULT, codes=("arm_fault",)),
    Case("controller too hot", **inject(mf.ArmError(14)), state=FAULT, codes=("arm_fault",)),
    Case("a second program commands", foreign, nothing, FAULT, ("foreign_commands",), within_s=0.7),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_fault_during_motion(bench, case):
    bench.start_moving(case.name)
    before = dict(bench.core.interventions)
    began = time.monotonic()
    case.make(bench)
    if case.state is None:
        time.sleep(1.0)
        assert bench.loop.state == State.ACTIVE, bench.core.machine.reason
        counted = bench.core.interventions.get(case.counted, 0) - before.get(case.counted, 0)
        assert not case.counted or counted > 0
        case.end(bench)
        ROWS.append((case.name, "ACTIVE", f"{case.counted} {counted}".strip(" 0"), "-", "-", case.operator))
        return
    assert wait_until(lambda: bench.reached(began) is not None, LONGEST_S), bench.core.machine.reason
    at, state, code = bench.reached(began)
    assert state == case.state, bench.core.machine.reason
    assert code in case.codes
    assert at - began <= case.within_s + SLACK_S
    time.sleep(0.5)
    went_on = moving_targets_after(bench, at, "left") if state == FAULT else 0.0
    assert went_on <= 0.02 + SLACK_S
    assert bench.core.machine.reason
    require_only_an_operator_ends_it(bench, case)
    ROWS.append(
        (case.name, state.name, code, f"{(at - began) * 1e3:.0f}", f"{went_on * 1e3:.0f}", case.operator)
    )


def moving_targets_after(bench: Bench, at: float, side: str) -> float:
    """Seconds after `at` in which the faulty arm was still sent targets."""
    late = [sent for sent, _ in bench.sent[side] if sent > at]
    return max(late) - at if late else 0.0


def require_only_an_operator_ends_it(bench: Bench, case: Case) -> None:
    """The fault goes away and the policy goes on with its instruction: nothing moves before an enable."""
    case.end(bench)
    if case.make is silence:
        bench.instruction = case.name
    time.sleep(0.5)
    rests = {side: bench.bus.devices[side]._target.copy() for side in ARM_SIDES}
    time.sleep(0.2)
    assert bench.loop.state in (State.HOLD, State.FAULT)
    for side in ARM_SIDES:
        assert np.abs(bench.bus.devices[side]._target - rests[side]).max() < 1e-4
    bench.instruction = ""
    ok, why = bench.enable()
    assert ok, why
    assert bench.loop.state == State.ENABLED


def test_the_operators_stop_is_on_the_bus_at_once(bench, bus):
    bench.start_moving("stop")
    began = time.monotonic()
    assert bench.loop.stop() == ""
    assert wait_until(lambda: all(bus.devices[side].stopped for side in ARM_SIDES))
    took = time.monotonic() - began
    assert took <= 0.02 + SLACK_S
    assert bench.loop.state == State.STOPPED
    assert not bench.enable()[0]
    assert bench.loop.reset() == ""
    assert wait_until(lambda: not any(bus.devices[side].enabled for side in ARM_SIDES))
    ok, why = bench.enable()
    assert ok, why
    ROWS.append(
        ("operator's stop", "STOPPED", "stopped", f"{took * 1e3:.0f}", "0", "reset_stop twice, then enable")
    )


@dataclass(frozen=True)
class StartCase:
    """A fault that is there before the driver connects."""

    name: str
    fault: object
    words: tuple[str, ...]
    operator: str = field(default="mends it, then configure")


STARTS = [
    StartCase("other joint limits", af.WrongLimits(3, -90.0, 0.0), ("left_joint3", "narrow the joint")),
    StartCase("firmware of the older zero", af.OtherFirmware("S-V1.6-2"), ("dh_is_offset",)),
    StartCase("firmware too old", af.OtherFirmware("S-V1.4-2"), ("S-V1.4-2", "update")),
    StartCase("no firmware answer", af.SilentFirmware(), ("no answer about the firmware",)),
    StartCase("leader at start-up", af.LeaderMode(), ("leader", "0xFC")),
    StartCase("bus-off at start-up", af.BusOff(), ("does not answer", "cable")),
]


@pytest.mark.parametrize("case", STARTS, ids=lambda case: case.name)
def test_a_fault_at_start_up_refuses_the_connection(bus, case):
    bus.arms["left"].inject(case.fault)
    settings = CanSettings("socketcand", {"host": "127.0.0.1", "port": bus.port, "tcp_tune": True})
    backends = {side: PiperBackend(arm, settings, time.time_ns) for side, arm in CONTRACT.arms.items()}
    loop = DriverLoop(DriverCore(CONTRACT, CoreSettings()), backends, CONTRACT, time.time_ns)
    began = time.monotonic()
    try:
        with pytest.raises(DriverError) as refused:
            loop.connect(1.0)
    finally:
        bus.arms["left"].clear()
    for words in case.words:
        assert words in str(refused.value)
    took = f"{(time.monotonic() - began) * 1e3:.0f}"
    ROWS.append((case.name, "DISCONNECTED", "refused", took, "-", case.operator))


def test_a_broken_connection_is_a_fault_and_a_new_one_is_made_by_configuring_again(bus):
    with Bench(bus) as bench:
        bench.start_moving("cable")
        began = time.monotonic()
        bus.disconnect("left")
        assert wait_until(lambda: bench.reached(began) is not None, LONGEST_S)
        at, state, code = bench.reached(began)
        assert (state, code) == (State.FAULT, "feedback_lost")
        bus.reconnect("left")
        time.sleep(0.5)
        assert bench.loop.state == State.FAULT
    with Bench(bus) as bench:
        assert bench.loop.state in (State.CONNECTED, State.FAULT), "FAULT where the start took too long"
        assert bench.enable()[0]
    ROWS.append(
        ("cable pulled, plugged in", state.name, code, f"{(at - began) * 1e3:.0f}", "0", "configure, enable")
    )
