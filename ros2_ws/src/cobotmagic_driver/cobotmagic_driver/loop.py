"""The thread that runs the core at a fixed rate between backends and listeners."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack

import numpy as np
from numpy.typing import NDArray

from cobotmagic_driver.backend import ArmBackend, ArmFeedback
from cobotmagic_driver.core import DriverCore
from cobotmagic_driver.core_types import Command, Request
from cobotmagic_driver.pacer import Pacer
from cobotmagic_driver.sources import JointPath
from cobotmagic_driver.state_machine import PARK, State
from cobotmagic_driver.watch import EMERGENCY_STOPPED
from finevla.contract.frame import NS_PER_S, ActionChunk
from finevla.contract.robot import ARM_SIDES, RobotContract
from finevla.errors import DriverError

PILED_UP = 20
"""So often an arm is read before the first tick: much may have come since anybody read."""
BRAKE_TIMEOUT_S = 2.0
ENABLE_EVERY_S = 0.05
STOP_EVERY_S = 0.05

log = logging.getLogger(__name__)

FeedbackListener = Callable[[str, ArmFeedback], None]
"""Called with side and feedback for every new sample."""

Answer = tuple[bool, str]


class DriverLoop:
    """Owns the thread, the lock and the order of things: read, decide, send, report.

    Args:
        core: The decisions.
        backends: One per side.
        contract: The robot.
        clock: Nanoseconds since the epoch.
        on_feedback: Listener for joint samples.
        on_tick: Called after every tick with the time; for the state message.
        priority: Real-time priority (SCHED_FIFO) of the thread; 0: none.
    """

    def __init__(
        self,
        core: DriverCore,
        backends: Mapping[str, ArmBackend],
        contract: RobotContract,
        clock: Callable[[], int],
        on_feedback: FeedbackListener = lambda _side, _feedback: None,
        on_tick: Callable[[int], None] = lambda _now_ns: None,
        priority: int = 0,
    ) -> None:
        self._core = core
        self._backends = dict(backends)
        self._contract = contract
        self._clock = clock
        self._on_feedback, self._on_tick = on_feedback, on_tick
        self._lock = threading.RLock()
        self._waiting: list[tuple[Request, Future[Answer]]] = []
        self._asked_ns = 0
        period_ns = round(NS_PER_S / contract.rates_hz.feedback)
        self.pacer = Pacer("driver-loop", period_ns, self.tick, self._fail, priority)
        self.failure: Exception | None = None

    # Life ---------------------------------------------------------------------------------------

    def connect(self, timeout_s: float) -> None:
        """Opens both channels and waits until both arms talk.

        Raises:
            DriverError: A channel cannot be opened, or an arm stays silent.
        """
        for backend in self._backends.values():
            backend.connect()
        deadline = time.monotonic() + timeout_s
        silent = set(self._backends)
        while silent:
            silent = {side for side in silent if not self._read(side, self._clock())}
            if silent and time.monotonic() > deadline:
                channels = {side: self._contract.arms[side].can_channel for side in sorted(silent)}
                known = " ".join(self._backends[side].why_silent() for side in sorted(silent)).strip()
                self.disconnect()
                raise DriverError(
                    "an arm does not answer",
                    where=f"CAN channels {channels}",
                    expected="status, joint and gripper frames (0x2A1, 0x2A5 to 0x2A8)",
                    found=known or f"none within {timeout_s:g} s",
                    remedy="make the arm a follower (MasterSlaveConfig 0xFC, then power it off and on)"
                    if known
                    else "check power, cable and bit rate of the arm; in simulation start sim_node first",
                )
            time.sleep(0.01)
        try:
            for backend in self._backends.values():
                for sentence in backend.check():
                    log.warning("accepted: %s", sentence)
        except DriverError:
            self.disconnect()
            raise

    def disconnect(self) -> None:
        """Ends the thread and closes both channels; the arms keep their pose."""
        self.stop_thread()
        with self._lock:
            self._core.disconnect()
            self._answer()
        with ExitStack() as both:  # whatever the one channel does, the other is closed
            for backend in self._backends.values():
                both.callback(backend.disconnect)

    def start_thread(self) -> None:
        """Starts ticking at the contract's feedback rate; returns when it ticks evenly."""
        with self._lock:
            for side in self._backends:
                for _ in range(PILED_UP):
                    if not self._read(side, self._clock()):
                        break
        self.pacer.start()

    def stop_thread(self) -> None:
        """Ends the ticking; the arms hold at the last target that was sent."""
        self.pacer.stop()

    def _fail(self, err: Exception) -> None:
        self.failure = err
        with self._lock:
            self._core.fail(f"the driver loop ended: {err}; configure and activate the driver anew")
            self._answer()
        self._on_tick(self._clock())

    def tick(self, dt_s: float) -> None:
        """One round; public for tests that want no thread."""
        with self._lock:
            now = self._clock()
            fresh = [(side, self._read(side, now)) for side in ARM_SIDES]
            command = self._core.tick(now, dt_s)
            if command is not None:
                self._send(command)
            elif self._core.enabling:
                self._ask_for_torque(now)
            elif self._core.machine.state == State.STOPPED:
                self._insist_on_stop(now)
            self._answer()
        for side, samples in fresh:
            for feedback in samples:
                self._on_feedback(side, feedback)
        self._on_tick(now)

    def _read(self, side: str, now_ns: int) -> Sequence[ArmFeedback]:
        samples = self._backends[side].poll()
        if samples:
            self._core.on_feedback(side, samples[-1], now_ns)
        return samples

    def _send(self, command: Command) -> None:
        for side in command.sides:
            self._backends[side].send(command.targets[self._contract.arm_slice(side)])

    def _insist_on_stop(self, now_ns: int) -> None:
        """Repeats the stop to an arm that does not report it: the SDK does not tell of a lost frame."""
        if now_ns - self._asked_ns < STOP_EVERY_S * NS_PER_S:
            return
        self._asked_ns = now_ns
        for side in ARM_SIDES:
            feedback = self._core.arms.feedback(side)
            if feedback is not None and feedback.arm_status != EMERGENCY_STOPPED:
                self._backends[side].stop()

    def _ask_for_torque(self, now_ns: int) -> None:
        if now_ns - self._asked_ns < ENABLE_EVERY_S * NS_PER_S:
            return
        self._asked_ns = now_ns
        for side in ARM_SIDES:
            feedback = self._core.arms.feedback(side)
            if feedback is not None and not feedback.enabled:
                self._backends[side].request_enable(feedback.values)

    def _answer(self) -> None:
        still = []
        for request, future in self._waiting:
            if request.done:
                future.set_result((request.success, request.message))
            else:
                still.append((request, future))
        self._waiting = still

    # Commands, from any thread ------------------------------------------------------------------

    def on_chunk(self, chunk: ActionChunk) -> str:
        """See `Commands.on_chunk`."""
        with self._lock:
            return self._core.commands.on_chunk(chunk, self._clock())

    def on_leader(self, side: str, values: NDArray[np.float64], stamp_ns: int) -> str:
        """See `Commands.on_leader`."""
        with self._lock:
            return self._core.commands.on_leader(side, values, stamp_ns, self._clock())

    def on_joints(self, values: NDArray[np.float64], stamp_ns: int) -> str:
        """See `Commands.on_joints`."""
        with self._lock:
            return self._core.commands.on_joints(values, stamp_ns, self._clock())

    def on_trajectory(self, path: JointPath) -> str:
        """See `Commands.on_trajectory`."""
        with self._lock:
            return self._core.commands.on_trajectory(path, self._clock())

    def count(self, code: str) -> None:
        """Counts something that was refused before it reached the core."""
        with self._lock:
            self._core.commands.count(code)

    def select_source(self, name: str) -> str:
        """See `DriverCore.select_source`."""
        with self._lock:
            return self._core.select_source(name)

    def scale_speed(self, scale: float) -> bool:
        """See `Limiter.scale_speed`."""
        with self._lock:
            return self._core.limiter.scale_speed(scale)

    def intervention_lines(self) -> list[str]:
        """See `Interventions.lines`."""
        with self._lock:
            return self._core.limiter.interventions.lines()

    @property
    def running(self) -> bool:
        """True while the thread ticks."""
        return self.pacer.running

    def enable(self) -> Future[Answer]:
        """Asks for torque; the future answers with success and a sentence."""
        with self._lock:
            return self._wait(self._core.enable(self._clock()))

    def home(self) -> Future[Answer]:
        """Asks for the way home; the future answers when the arms are there, or why not."""
        with self._lock:
            return self._wait(self._core.home(self._clock()))

    def park(self, pose: NDArray[np.float64]) -> Future[Answer]:
        """Asks for the way to the parking pose, shape (14,); answers as `home` does."""
        with self._lock:
            return self._wait(self._core.go(PARK, pose, self._clock()))

    def settle(self) -> None:
        """Ends motion and waits until the arms are at rest, for as long as they can take to brake."""
        self.hold()
        deadline = time.monotonic() + BRAKE_TIMEOUT_S
        while self.running and self._core.is_moving and time.monotonic() < deadline:
            time.sleep(1.0 / self._contract.rates_hz.feedback)

    def release(self) -> None:
        """Ends the ticking; motion needs an enable from here on."""
        self.stop_thread()
        with self._lock:
            self._core.release()
            self._answer()

    def hold(self) -> None:
        """Ends motion; the motors keep holding."""
        with self._lock:
            self._core.hold()

    def stop(self) -> str:
        """Stops both arms, latched; answers with the reason of a refusal or an empty string."""
        with self._lock:
            refusal = self._core.stop()
            if not refusal:
                with ExitStack() as both:  # whatever the one arm's channel does, the other is told
                    for backend in self._backends.values():
                        both.callback(backend.stop)
            self._answer()
            return refusal

    def reset(self) -> str:
        """Ends a stop: the motors lose power. Answers as `stop` does."""
        with self._lock:
            refusal = self._core.reset()
            if not refusal:
                for backend in self._backends.values():
                    backend.reset()
            return refusal

    @property
    def state(self) -> State:
        """The state of the driver."""
        return self._core.machine.state

    def _wait(self, request: Request) -> Future[Answer]:
        future: Future[Answer] = Future()
        self._waiting.append((request, future))
        self._answer()
        return future
