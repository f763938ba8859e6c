"""What can go wrong with an arm and its bus: the parts that all faults share. No sockets, no clock, no state.

A fault changes what the arm says (`health`, `identity`, `measured`), what it can do (`powered`, `leads`,
`teaches`, `held`) or which of its frames pass (`silent`, `loses`, `delay_s`, `holds_back`), and nothing else.
`faulty_arm` applies them, `faults` lists them. The first line of a fault's docstring describes it.

Joints are numbered 1 to 6, 7 is the gripper; motors 1 to 6, as on the CAN bus.
There is no fault with values that are not numbers: the frames hold integers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from finevla_sim.arm_health import JOINTS, ArmHealth, ArmIdentity


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault that does nothing; the base of all."""

    leads: ClassVar[bool] = False
    teaches: ClassVar[bool] = False
    powered: ClassVar[bool] = True
    silent: ClassVar[bool] = False

    @classmethod
    def kind(cls) -> str:
        """Name on the command line: `over_temperature` of `OverTemperature`."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()

    @classmethod
    def description(cls) -> str:
        """One line that says what happens."""
        return (cls.__doc__ or "").splitlines()[0]

    @property
    def held(self) -> frozenset[int]:
        """Joints that cannot move."""
        return frozenset()

    def health(self, health: ArmHealth) -> ArmHealth:
        """What the arm reports of its health."""
        return health

    def identity(self, identity: ArmIdentity) -> ArmIdentity:
        """What the arm's firmware and settings are."""
        return identity

    def measured(
        self, values: NDArray[np.float64], age_s: float, rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """What the encoders read, shape (7,), rad and m; `age_s`: how long the fault has been there."""
        del age_s, rng
        return values

    def loses(self, can_id: int, rng: np.random.Generator) -> bool:
        """Whether this frame does not arrive, in either direction."""
        del can_id, rng
        return False

    def delay_s(self, can_id: int) -> float:
        """How much later this frame of the arm comes."""
        del can_id
        return 0.0

    def holds_back(self, age_s: float) -> bool:
        """Whether the arm's frames wait now; they come all at once when this ends."""
        del age_s
        return False


def check(good: bool, expected: str) -> None:
    """Refuses a number that a fault cannot have."""
    if not good:
        raise ValueError(expected)


def check_joint(joint: int) -> None:
    """Refuses what is no joint."""
    check(1 <= joint <= JOINTS + 1, f"joint is 1 to {JOINTS}, or {JOINTS + 1} for the gripper")


def check_motor(motor: int) -> None:
    """Refuses what is no motor."""
    check(1 <= motor <= JOINTS, f"motor is 1 to {JOINTS}")
