"""Arms for tests of the driver: fakes without a bus, and the emulated arms behind a real socketcand port."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from cobotmagic_driver.backend import ArmFeedback
from finevla_sim.arm_bus import ArmBus
from finevla_sim.piper_device import FrameSet

from finevla.contract import ARM_SIDES, ActionChunk, RobotContract

TICK_S = 0.005
TICK_NS = 5_000_000
EPOCH_NS = 1_700_000_000_000_000_000


class FakeArm:
    """A backend whose joints follow at once. `alive` off: no feedback any more."""

    def __init__(self, pose: np.ndarray) -> None:
        self.pose = pose.copy()
        self.calls: list[str] = []
        self.sent: list[np.ndarray] = []
        self.enabled, self.alive, self.status = False, True, 0
        self.stamp_ns = EPOCH_NS

    def connect(self) -> None:
        self.calls.append("connect")

    def why_silent(self) -> str:
        return ""

    def check(self) -> tuple[str, ...]:
        self.calls.append("check")
        return ()

    def disconnect(self) -> None:
        self.calls.append("disconnect")

    def poll(self) -> list[ArmFeedback]:
        if not self.alive:
            return []
        self.stamp_ns += TICK_NS
        return [ArmFeedback(self.pose.copy(), self.stamp_ns, self.enabled, self.status)]

    def request_enable(self, values: np.ndarray) -> None:
        self.calls.append("enable")
        self.enabled = True

    def send(self, values: np.ndarray) -> None:
        self.sent.append(values.copy())
        self.pose = values.copy()

    def stop(self) -> None:
        self.calls.append("stop")

    def reset(self) -> None:
        self.calls.append("reset")
        self.enabled = False


def chunk_to(
    contract: RobotContract, goal: np.ndarray, now_ns: int, instruction_id: str = "one", horizon: int = 16
) -> ActionChunk:
    """A chunk from home to `goal` at constant speed."""
    weight = np.linspace(0.0, 1.0, horizon)[:, None]
    targets = (1.0 - weight) * contract.home + weight * goal
    return ActionChunk(now_ns, contract.frame_period_s, targets, now_ns, instruction_id, "test")


@contextmanager
def emulated_arms(
    contract: RobotContract, frame_set: FrameSet = FrameSet.REDUCED, **options
) -> Iterator[ArmBus]:
    """Both arms on a free port, in a thread of their own; joints are where they are commanded to be.

    Faults: `bus.arms["left"].inject(Collision(3), seconds=0.5)`. Options: those of `ArmBus`.
    """
    bus = ArmBus(contract, contract.home, time.time_ns, frame_set=frame_set, **options)
    stop = threading.Event()

    def run() -> None:
        due = time.time_ns()
        while not stop.is_set():
            bus.poll()
            bus.feedback(bus.commands(TICK_S), time.time_ns())
            due = max(due + TICK_NS, time.time_ns())
            time.sleep(max(due - time.time_ns(), 0) / 1e9)

    thread = threading.Thread(target=run, name="emulated-arms")
    thread.start()
    try:
        yield bus
    finally:
        stop.set()
        thread.join()
        bus.close()


def wait_until(condition, timeout_s: float = 10.0) -> bool:
    """Polls `condition`; False where it did not come true in time."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return bool(condition())


def both(contract: RobotContract, value: np.ndarray) -> dict[str, FakeArm]:
    """Fakes of both arms at a pose of fourteen values."""
    return {side: FakeArm(value[contract.arm_slice(side)]) for side in ARM_SIDES}
