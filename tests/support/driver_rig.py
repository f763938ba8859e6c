"""Core, loop and fake arms on a clock that the test turns."""

from __future__ import annotations

import numpy as np
from arms import EPOCH_NS, TICK_NS, TICK_S, both, chunk_to
from cobotmagic_driver.core import DriverCore
from cobotmagic_driver.core_types import CoreSettings
from cobotmagic_driver.loop import DriverLoop
from cobotmagic_driver.state_machine import State

from finevla.contract import ARM_SIDES, load_contract

CONTRACT = load_contract()
GOAL = CONTRACT.home + np.array([0.3, 0.2, -0.2, 0.1, 0.1, 0.2, -0.03] * 2)


class DriverRig:
    """A driver that is connected to fake arms at home; `settings` are those of `CoreSettings`."""

    def __init__(self, **settings) -> None:
        self.now_ns = EPOCH_NS
        self.core = DriverCore(CONTRACT, CoreSettings(**settings))
        self.arms = both(CONTRACT, CONTRACT.home)
        self.loop = DriverLoop(self.core, self.arms, CONTRACT, lambda: self.now_ns)
        self.loop.connect(0.1)

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / TICK_S)):
            self.now_ns += TICK_NS
            self.loop.tick(TICK_S)

    def enable(self) -> None:
        future = self.loop.enable()
        self.run(0.2)
        assert future.result(0) == (True, "the motors of both arms hold; waiting for commands")

    @property
    def state(self) -> State:
        return self.core.machine.state

    @property
    def code(self) -> str:
        return self.core.machine.reason_code

    def sent(self) -> np.ndarray:
        return np.concatenate([self.arms[side].sent[-1] for side in ARM_SIDES])

    def follow(self, seconds: float, instruction_id: str = "one", goal: np.ndarray = GOAL) -> str:
        code = self.loop.on_chunk(chunk_to(CONTRACT, goal, self.now_ns, instruction_id))
        self.run(seconds)
        return code
