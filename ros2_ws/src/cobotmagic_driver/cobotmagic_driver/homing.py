"""Ways to a pose of the driver's own, home or parking: grippers first, then both arms, smoothly. Pure."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from cobotmagic_driver.core_types import CoreSettings, Request
from cobotmagic_driver.safety import Reach
from cobotmagic_driver.sources import Ending
from cobotmagic_driver.state_machine import HOME
from finevla.contract.robot import RobotContract

PEAK_OVER_MEAN = 1.875
"""Peak speed of a minimum-jerk motion over its mean speed."""


class HomeMotion:
    """Targets over time from one pose to another.

    Args:
        start: Where the arms are, shape (14,), rad and m.
        goal: Where they shall be, shape (14,).
        speed: Largest speed of each joint on the way, shape (14,), rad/s and m/s.
        grippers: Which values of the vector are grippers, shape (14,).
    """

    def __init__(
        self,
        start: NDArray[np.float64],
        goal: NDArray[np.float64],
        speed: NDArray[np.float64],
        grippers: NDArray[np.bool_],
    ) -> None:
        self._start, self._delta = start.copy(), goal - start
        times = PEAK_OVER_MEAN * np.abs(self._delta) / speed
        self._first = grippers
        self._split_s = float(times[self._first].max())
        self._arm_s = float(times[~self._first].max())

    @property
    def duration_s(self) -> float:
        """Time until the last target is the goal."""
        return self._split_s + self._arm_s

    @property
    def reach(self) -> Reach:
        """Lowest and highest position of each joint on the way, shape (14,) each."""
        goal = self._start + self._delta
        return np.minimum(self._start, goal), np.maximum(self._start, goal)

    def target(self, elapsed_s: float) -> NDArray[np.float64]:
        """The target `elapsed_s` after the start, shape (14,), rad and m."""
        progress = np.where(
            self._first,
            _smooth(elapsed_s, self._split_s),
            _smooth(elapsed_s - self._split_s, self._arm_s),
        )
        mixed: NDArray[np.float64] = self._start + progress * self._delta
        return mixed


def _smooth(elapsed_s: float, duration_s: float) -> float:
    if elapsed_s >= duration_s:
        return 1.0
    x = max(elapsed_s, 0.0) / duration_s if duration_s else 0.0
    return x * x * x * (10.0 - 15.0 * x + 6.0 * x * x)


class Going:
    """The way to a pose, as a source; answers the operator's request when it ends. `begin` it at rest.

    Args:
        where: HOME or PARK, for the words of the answer.
        request: Is told how it ended.
        goal: Where to go, shape (14,), rad and m.
        contract: The robot.
        settings: Speeds and tolerances.
        measured: Tells where the arms are, shape (14,).
    """

    def __init__(
        self,
        where: str,
        request: Request,
        goal: NDArray[np.float64],
        contract: RobotContract,
        settings: CoreSettings,
        measured: Callable[[], NDArray[np.float64]],
    ) -> None:
        self._grippers, self._goal = contract.is_gripper, goal
        self._motion: HomeMotion | None = None
        self.speed = np.where(self._grippers, settings.home_speed_m_s, settings.home_speed_rad_s)
        """Speeds to keep to on the way, shape (14,), rad/s and m/s."""
        self._place = "home" if where == HOME else "parked"
        self._code = f"{where}_reached", f"{where}_missed"
        self._settings, self._measured = settings, measured
        self.request = request
        self._elapsed_s = 0.0

    @property
    def goal(self) -> NDArray[np.float64]:
        """Where the way ends, shape (14,), rad and m."""
        return self._goal.copy()

    @property
    def begun(self) -> bool:
        """True after `begin`."""
        return self._motion is not None

    def begin(self, start: NDArray[np.float64], velocity: NDArray[np.float64]) -> None:
        """Sets out from `start` at speeds that commands may use, shape (14,) each.

        Ahead of the limiter the way would end before the arms are there.
        """
        speed = np.minimum(self.speed, velocity)
        self._motion = HomeMotion(start, self._goal, speed, self._grippers)

    def advance(self, dt_s: float) -> None:
        """Time is counted in ticks, so that a stall does not make the arms catch up."""
        self._elapsed_s += dt_s

    def target(self, _now_ns: int) -> NDArray[np.float64]:
        """The target now, shape (14,), rad and m.

        Raises:
            ValueError: It has not begun.
        """
        if self._motion is None:
            raise ValueError("the way has not begun")
        return self._motion.target(self._elapsed_s)

    def ending(self, _now_ns: int) -> Ending | None:
        """HOLD when the arms are there, or when they should be and something keeps them away."""
        if self._motion is None:
            return None
        late_s = self._elapsed_s - self._motion.duration_s
        if late_s < 0.0:
            return None
        off = np.abs(self._measured() - self._goal)
        arms, grippers = off[~self._grippers].max(), off[self._grippers].max()
        settings = self._settings
        if arms <= settings.home_tolerance_rad and grippers <= settings.home_tolerance_m:
            self.request.finish(True, f"the arms are {self._place}")
            return Ending(self._code[0], self.request.message)
        if late_s < settings.home_settle_s:
            return None
        text = f"an arm is still {arms:.3f} rad from where it should be: look for what blocks it"
        self.request.finish(False, text)
        return Ending(self._code[1], text)

    def reach(self, _now_ns: int) -> Reach | None:
        """Between start and goal: a way that asks for more acceleration than there is must not overshoot."""
        return None if self._motion is None else self._motion.reach

    def clear(self) -> None:
        """Nothing was received."""
