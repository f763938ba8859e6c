"""Physics, arms and cameras in real time, in one thread: SAPIEN must not be called from two at once."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from finevla.contract.robot import RobotContract
from finevla.errors import SimulationError
from finevla.sim.scene import SceneSpec
from finevla.sim.truth import Truth
from finevla_sim.arm_bus import ArmBus
from finevla_sim.piper_device import FEEDBACK_HZ
from finevla_sim.scene_watch import SceneWatch, TruthReport

NS_PER_S = 1_000_000_000
OBSERVE_HZ = 50
FACTOR_PERIOD_NS = NS_PER_S

log = logging.getLogger(__name__)

Images = Mapping[str, NDArray[np.uint8]]


class SimWorld(Protocol):
    """What the loop needs of `finevla.sim.world.World`."""

    @property
    def dt_s(self) -> float:
        """Length of a physics step."""

    @property
    def time_ns(self) -> int:
        """Simulated time."""

    def reset(self, spec: SceneSpec, arms_home: bool = True) -> None:
        """Puts a scene on the table."""

    def command(self, targets: NDArray[np.float64]) -> None:
        """Sets the joint targets, shape (14,)."""

    def step(self, n: int = 1) -> None:
        """Advances physics."""

    def state(self) -> NDArray[np.float64]:
        """Measured joints, shape (14,)."""

    def images(self, cameras: Collection[str] | None = None) -> Images:
        """One picture per camera that is named."""

    def truth(self) -> Truth:
        """Where everything is."""


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """Rates in Hz (0: never) and how far simulated time may lag before time is given up, in s."""

    camera_hz: float = 10.0
    truth_hz: float = 20.0
    longest_lag_s: float = 0.1


@dataclass(frozen=True, slots=True)
class Health:
    """How the simulation keeps up.

    Attributes:
        real_time_factor: Simulated time over real time in the last second; 1 is real time.
        given_up_s: Real time since the start for which nothing was simulated.
        render_s: Duration of the newest rendering of all wanted cameras.
    """

    real_time_factor: float = 1.0
    given_up_s: float = 0.0
    render_s: float = 0.0


class _Every:
    """Says when something with a rate is due."""

    def __init__(self, rate_hz: float, now_ns: int) -> None:
        self._period = round(NS_PER_S / rate_hz) if rate_hz > 0 else 0
        self._next = now_ns

    def due(self, now_ns: int) -> bool:
        if not self._period or now_ns < self._next:
            return False
        self._next += self._period
        if self._next <= now_ns:  # time was given up: go on from here instead of catching up
            self._next = now_ns + self._period
        return True


class SimLoop:
    """Runs a world at the pace of the clock.

    A stamp is the real time at which the world was in the state that the message shows. Where the
    machine is too slow, time is given up rather than stamps shifted, and `health` tells.

    Args:
        world: The simulated world, already reset to `spec`.
        spec: The scene in it.
        bus: Both arms.
        contract: The robot.
        clock: Nanoseconds since the epoch.
        settings: Rates.
        on_images: Called with stamp (ns) and pictures, in the loop's thread: return at once.
        on_truth: Called with the truth at its rate, likewise.
        wanted_cameras: Says which cameras somebody looks at; only these are rendered.
    """

    def __init__(
        self,
        world: SimWorld,
        spec: SceneSpec,
        bus: ArmBus,
        contract: RobotContract,
        clock: Callable[[], int],
        settings: LoopSettings,
        on_images: Callable[[int, Images], None],
        on_truth: Callable[[TruthReport], None],
        wanted_cameras: Callable[[], Collection[str]],
    ) -> None:
        self._world, self._bus, self._contract, self._clock = world, bus, contract, clock
        self._settings = settings
        self._on_images, self._on_truth = on_images, on_truth
        self._wanted_cameras = wanted_cameras
        self._render_s = 0.0
        self._watch = SceneWatch(spec, contract)
        self._requests: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._step_ns = round(world.dt_s * NS_PER_S)
        self._anchor_ns = 0
        self._joints = world.state()
        self._given_up_ns = 0
        self._factor_from = (0, 0)
        self.health = Health()

    # From other threads -------------------------------------------------------------------------

    def stop(self) -> None:
        """Ends `run` after its present round."""
        self._stop.set()

    def reset(self, spec: SceneSpec) -> Future[TruthReport]:
        """Puts a scene on the table; the arms stay where they are."""

        def work() -> TruthReport:
            self._world.reset(spec, arms_home=False)
            self._watch = SceneWatch(spec, self._contract)
            return self._observe()

        return self._call(work)

    def judge(self, text: str) -> Future[Any]:
        """Scores an instruction against what happened since the reset; see `SceneWatch.judge`."""
        return self._call(lambda: self._watch.judge(text))

    @property
    def task(self) -> str:
        """Task of the scene on the table."""
        return self._watch.spec.task

    def _call(self, work: Callable[[], Any]) -> Future[Any]:
        future: Future[Any] = Future()
        self._requests.put((work, future))
        return future

    # The loop's own thread ----------------------------------------------------------------------

    def run(self) -> None:
        """Simulates until `stop`."""
        self._anchor_ns = self._clock() - self._world.time_ns
        now = self._now()
        self._factor_from = (self._clock(), self._world.time_ns)
        self._feedback = _Every(FEEDBACK_HZ, now)
        self._cameras = _Every(self._settings.camera_hz, now)
        self._truth = _Every(self._settings.truth_hz, now)
        self._observing = _Every(OBSERVE_HZ, now)
        while not self._stop.is_set():
            self._serve()
            self._give_up()
            until = self._clock()
            while self._now() + self._step_ns <= until:
                self._advance()
            self._measure()
            time.sleep(max(self._now() + self._step_ns - self._clock(), 0) / NS_PER_S)

    def _now(self) -> int:
        """Stamp of the world's present state."""
        return self._anchor_ns + self._world.time_ns

    def _serve(self) -> None:
        while not self._requests.empty():
            work, future = self._requests.get()
            try:
                future.set_result(work())
            except Exception as err:  # noqa: BLE001 - handed to whoever asked
                future.set_exception(err)

    def _give_up(self) -> None:
        lost = self._clock() - self._now() - round(self._settings.longest_lag_s * NS_PER_S)
        if lost > 0:
            self._anchor_ns += lost
            self._given_up_ns += lost

    def _advance(self) -> None:
        self._bus.poll()
        self._world.command(self._bus.commands(self._world.dt_s))
        self._world.step()
        stamp = self._now()
        before, self._joints = self._joints, self._world.state()
        if self._feedback.due(stamp):
            self._bus.feedback(self._joints, stamp, (self._joints - before) / self._world.dt_s)
        if self._observing.due(stamp):
            report = self._observe()
            if self._truth.due(stamp):
                self._on_truth(report)
        if self._cameras.due(stamp) and (wanted := self._wanted_cameras()):
            started = time.monotonic_ns()
            images = self._world.images(wanted)
            self._render_s = (time.monotonic_ns() - started) / NS_PER_S
            self._on_images(stamp, images)

    def _observe(self) -> TruthReport:
        truth = self._world.truth()
        self._watch.observe(truth, self._joints)
        return self._watch.report(truth, self._now())

    def _measure(self) -> None:
        wall, simulated = self._factor_from
        passed = self._clock() - wall
        if passed < FACTOR_PERIOD_NS:
            return
        factor = (self._world.time_ns - simulated) / passed
        self.health = Health(factor, self._given_up_ns / NS_PER_S, self._render_s)
        self._factor_from = (self._clock(), self._world.time_ns)


def answer[T](future: Future[T], timeout_s: float) -> T:
    """The result of a request to the loop.

    Raises:
        SimulationError: The loop did not answer in time; and whatever the request raised.
    """
    try:
        return future.result(timeout_s)
    except TimeoutError as err:
        raise SimulationError(
            "the simulation does not answer",
            expected=f"an answer within {timeout_s:g} s",
            remedy="look at the log of the sim node; start it again",
        ) from err
