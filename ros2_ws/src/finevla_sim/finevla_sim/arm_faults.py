"""Faults of the bus, of joints and encoders, of firmware and settings; modes that somebody put an arm in."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from finevla_sim.arm_health import JOINTS, ArmIdentity, JointLimit
from finevla_sim.fault import Fault, check, check_joint
from finevla_sim.piper_frames import Id

WIDEST_DEG = 3276.0
"""Limits are int16 of 0.1 degree."""
FURTHEST = 2000.0
"""Gripper feedback is an int32 of 0.001 mm."""


@dataclass(frozen=True, slots=True)
class FrameLoss(Fault):
    """Each frame, in either direction, is lost with a probability of 0 to 1."""

    probability: float = 0.1

    def __post_init__(self) -> None:
        check(0.0 <= self.probability <= 1.0, "probability is 0 to 1")

    def loses(self, can_id: int, rng: np.random.Generator) -> bool:
        """By chance."""
        del can_id
        return bool(rng.random() < self.probability)


@dataclass(frozen=True, slots=True)
class Burst(Fault):
    """Every `period_s` the arm's frames are held back for `length_s` seconds and then come all at once."""

    period_s: float = 1.0
    length_s: float = 0.2

    def __post_init__(self) -> None:
        check(0.0 < self.length_s < self.period_s, "length_s is over 0 and below period_s")

    def holds_back(self, age_s: float) -> bool:
        """At the beginning of each period."""
        return age_s % self.period_s < self.length_s


@dataclass(frozen=True, slots=True)
class Delay(Fault):
    """All frames of the arm come `seconds` later; their stamps are those of their arrival."""

    seconds: float = 0.05

    def __post_init__(self) -> None:
        check(self.seconds >= 0.0, "seconds are 0 or more")

    def delay_s(self, can_id: int) -> float:
        """The same for all."""
        del can_id
        return self.seconds


@dataclass(frozen=True, slots=True)
class BusOff(Fault):
    """No frame passes, in neither direction; the arm still goes to its last target."""

    silent: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class StuckJoint(Fault):
    """A joint (1 to 6, 7 is the gripper) does not move any more."""

    joint: int = 2

    def __post_init__(self) -> None:
        check_joint(self.joint)

    @property
    def held(self) -> frozenset[int]:
        """This joint."""
        return frozenset({self.joint})


@dataclass(frozen=True, slots=True)
class DriftingEncoder(Fault):
    """What a joint measures moves away from the truth by `rad_per_s` (m/s for joint 7)."""

    joint: int = 2
    rad_per_s: float = 0.02

    def __post_init__(self) -> None:
        check_joint(self.joint)

    def measured(
        self, values: NDArray[np.float64], age_s: float, rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """In proportion to the age of the fault."""
        del rng
        return _moved(values, self.joint, self.rad_per_s * age_s)


@dataclass(frozen=True, slots=True)
class EncoderGlitch(Fault):
    """Single samples of a joint are off by `rad` (m for joint 7), each with a probability of 0 to 1."""

    joint: int = 2
    rad: float = 1.0
    probability: float = 0.01

    def __post_init__(self) -> None:
        check_joint(self.joint)
        check(0.0 <= self.probability <= 1.0, "probability is 0 to 1")

    def measured(
        self, values: NDArray[np.float64], age_s: float, rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """By chance."""
        del age_s
        return _moved(values, self.joint, self.rad) if rng.random() < self.probability else values


@dataclass(frozen=True, slots=True)
class WrongLimits(Fault):
    """The firmware reports, and keeps to, other limits of a joint (1 to 6, 0: all six) than the contract's.

    The defaults are those that users of S-V1.8-2 saw after a firmware lost its settings (pyAgxArm, issue 55).
    """

    joint: int = 0
    lower_deg: float = -0.1
    upper_deg: float = -0.1
    rad_per_s: float = 3.0
    rad_per_s2: float = 5.0

    def __post_init__(self) -> None:
        check(0 <= self.joint <= JOINTS, f"joint is 1 to {JOINTS}, or 0 for all")
        widest = max(abs(self.lower_deg), abs(self.upper_deg))
        check(widest <= WIDEST_DEG, f"angles are -{WIDEST_DEG} to {WIDEST_DEG} degrees, the frame's most")
        quickest = max(self.rad_per_s, self.rad_per_s2)
        check(min(self.rad_per_s, self.rad_per_s2) >= 0.0 and quickest <= 65.535, "rad_per_s is 0 to 65.535")

    def identity(self, identity: ArmIdentity) -> ArmIdentity:
        """Other limits."""
        wrong = JointLimit(
            math.radians(self.lower_deg), math.radians(self.upper_deg), self.rad_per_s, self.rad_per_s2
        )
        limits = [
            wrong if self.joint in {0, number} else limit for number, limit in enumerate(identity.limits, 1)
        ]
        return dataclasses.replace(identity, limits=tuple(limits))


@dataclass(frozen=True, slots=True)
class WrongStroke(Fault):
    """The gripper is set to another stroke, in mm: 70 or 100."""

    stroke_mm: int = 100

    def __post_init__(self) -> None:
        check(0 < self.stroke_mm <= 0xFF, "stroke_mm is 70 or 100")

    def identity(self, identity: ArmIdentity) -> ArmIdentity:
        """Another stroke."""
        gripper = dataclasses.replace(identity.gripper, stroke_mm=self.stroke_mm)
        return dataclasses.replace(identity, gripper=gripper)


@dataclass(frozen=True, slots=True)
class OtherFirmware(Fault):
    """The arm answers with another firmware text."""

    text: str = "S-V1.5-2"

    def identity(self, identity: ArmIdentity) -> ArmIdentity:
        """Another text."""
        return dataclasses.replace(identity, firmware=self.text)


@dataclass(frozen=True, slots=True)
class SilentFirmware(Fault):
    """The arm does not answer the firmware query."""

    def identity(self, identity: ArmIdentity) -> ArmIdentity:
        """No text."""
        return dataclasses.replace(identity, firmware=None)


@dataclass(frozen=True, slots=True)
class SlowFirmware(Fault):
    """The answer to the firmware query comes `seconds` later."""

    seconds: float = 2.0

    def __post_init__(self) -> None:
        check(self.seconds >= 0.0, "seconds are 0 or more")

    def delay_s(self, can_id: int) -> float:
        """For this answer only."""
        return self.seconds if can_id == Id.FIRMWARE else 0.0


@dataclass(frozen=True, slots=True)
class MotorsOff(Fault):
    """All motors lose power and cannot be enabled; afterwards they stay off until they are."""

    powered: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class LeaderMode(Fault):
    """The arm is a leader: it obeys nothing and sends its joints as commands."""

    leads: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class TeachMode(Fault):
    """Somebody pressed the arm's button: gravity compensated, it is guided by hand and follows no target."""

    teaches: ClassVar[bool] = True


def _moved(values: NDArray[np.float64], joint: int, by: float) -> NDArray[np.float64]:
    out = values.copy()
    out[joint - 1] = min(max(out[joint - 1] + by, -FURTHEST), FURTHEST)
    return out
