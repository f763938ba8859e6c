"""Do joint statistics describe this robot? Units, ranges, scales: found before anything can move.

A policy speaks in normalised numbers; statistics turn them into radians and metres. Statistics in
degrees, of a gripper in percent or with a spread beyond every limit turn a good network into a
dangerous one, and no test of its weights shows it. A bundle is written and read only where
`statistics_faults` is empty; `statistics_notes` says what is unusual but possible.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from finevla.contract.robot import RobotContract
from finevla.contract.transforms import JointStatistics, Transform, first_statistics

_MEAN_SLACK = 0.05
"""Share of a joint's range by which a mean may lie outside its limits (sensor offsets)."""
_EXTREME_SLACK = 0.25
"""Share of a joint's range by which a smallest or largest value may: leaders reach further than followers."""
_LARGEST_NUMBER = 100.0
"""Largest normalised value of the data itself; more says that the scale is far too small for a joint."""
_MOVING_SHARE = 0.05
"""Share of a joint's range from which it moved in earnest."""
_STILL_SHARE = 1e-6
"""Share of a joint's range below which it did not move at all."""
_CHUNKS = 2
"""Statistics of fewer frames than this many chunks describe no task."""

_RADIANS_PER = {"degrees": np.pi / 180.0, "thousandths of a degree": np.pi / 180_000.0}
_METRES_PER_GRIPPER = ((1.05, "shares of its stroke from 0 to 1"), (105.0, "percent or millimetres"))
"""Largest value of a gripper -> the unit that it was probably recorded in."""


@dataclass(frozen=True, slots=True)
class StatisticsFault:
    """Why statistics cannot be those of this robot.

    Args:
        what: The problem in one sentence, with `state` or `action`.
        joints: The joints at fault.
        expected: What would have been right.
        found: What was there, per joint.
    """

    what: str
    joints: tuple[str, ...]
    expected: str
    found: str


def statistics_faults(
    state: Transform, action: Transform, contract: RobotContract
) -> tuple[StatisticsFault, ...]:
    """Everything in which the statistics of a policy contradict its robot; empty where they fit."""
    faults = [*_part_faults("state", state, contract), *_part_faults("action", action, contract)]
    if not faults:
        faults += _still_faults(first_statistics(state), first_statistics(action), contract)
    return tuple(faults)


def statistics_notes(part: str, transform: Transform, contract: RobotContract) -> tuple[str, ...]:
    """What is unusual and yet possible, in sentences: joints that never moved in the data."""
    statistics = first_statistics(transform)
    if statistics is None or statistics.names != contract.joint_names:
        return ()
    still = _named(_spans(statistics) <= _STILL_SHARE * (contract.upper - contract.lower), contract)
    return (f"the {part} never moved {', '.join(still)}: the policy cannot either",) if still else ()


def _part_faults(part: str, transform: Transform, contract: RobotContract) -> list[StatisticsFault]:
    statistics = first_statistics(transform)
    if statistics is None:
        found = f"{type(transform).__name__} without a normalization"
        return [StatisticsFault(f"the {part} has no statistics", (), "a normalization first", found)]
    if statistics.names != contract.joint_names:
        expected, found = str(list(contract.joint_names)), str(list(statistics.names))
        return [StatisticsFault(f"the {part} statistics have other joints", (), expected, found)]
    if statistics.count < _CHUNKS * contract.horizon:
        expected = f"at least {_CHUNKS * contract.horizon} frames"
        what = f"the {part} statistics come from too few frames"
        return [StatisticsFault(what, (), expected, str(statistics.count))]
    checks = (_unit_faults, _limit_faults, _scale_faults)
    return next((faults for check in checks if (faults := check(part, transform, statistics, contract))), [])


def _unit_faults(
    part: str, _: Transform, statistics: JointStatistics, contract: RobotContract
) -> list[StatisticsFault]:
    """Angles that are not rad, openings that are not m."""
    low, high = np.array(statistics.minimum), np.array(statistics.maximum)
    beyond, grippers = _beyond(low, high, contract), contract.is_gripper
    if (wrong := beyond & grippers).any():
        largest = float(np.maximum(np.abs(low), np.abs(high))[wrong].max())
        unit = next(
            (u for bound, u in _METRES_PER_GRIPPER if largest <= bound), "thousandths of a millimetre"
        )
        what = f"the {part} statistics hold a gripper in {unit}, not in m"
        return [_fault(what, wrong, contract, low, high)]
    if not (wrong := beyond & ~grippers).any():
        return []
    for unit, factor in _RADIANS_PER.items():
        larger = np.maximum(np.abs(low), np.abs(high))[wrong].max() > 2.0 * np.pi
        if larger and not (_beyond(low * factor, high * factor, contract) & ~grippers).any():
            return [_fault(f"the {part} statistics are in {unit}, not in rad", wrong, contract, low, high)]
    return []


def _limit_faults(
    part: str, transform: Transform, statistics: JointStatistics, contract: RobotContract
) -> list[StatisticsFault]:
    """Values, or what the policy's zero means, where the robot cannot be."""
    low, high = np.array(statistics.minimum), np.array(statistics.maximum)
    if (wrong := _beyond(low, high, contract)).any():
        what = f"the {part} statistics reach far beyond the joint limits"
        return [_fault(what, wrong, contract, low, high)]
    zero = transform.invert(np.zeros(contract.dof))
    slack = _MEAN_SLACK * (contract.upper - contract.lower)
    if (wrong := ~((zero >= contract.lower - slack) & (zero <= contract.upper + slack))).any():
        return [_fault(f"the {part} means lie outside the joint limits", wrong, contract, zero, zero)]
    return []


def _scale_faults(
    part: str, transform: Transform, statistics: JointStatistics, contract: RobotContract
) -> list[StatisticsFault]:
    """A unit of the policy that is more than the whole range of a joint, or next to nothing."""
    zero, one = (transform.invert(np.full(contract.dof, v)) for v in (0.0, 1.0))
    unit = np.abs(one - zero)
    if (wrong := ~(unit <= contract.upper - contract.lower)).any():
        what = f"the {part} scale is larger than the range of a joint"
        return [_fault(what, wrong, contract, 0 * unit, unit)]
    low, high = (transform.apply(np.array(v)) for v in (statistics.minimum, statistics.maximum))
    if (wrong := ~(np.maximum(np.abs(low), np.abs(high)) <= _LARGEST_NUMBER)).any():
        what = f"the {part} scale explodes: a spread far too small for the values"
        expected = f"normalised data within {_LARGEST_NUMBER:g} of zero"
        return [
            StatisticsFault(what, _named(wrong, contract), expected, _per_joint(wrong, contract, low, high))
        ]
    spread = np.array(statistics.std)
    if (wrong := spread > 0.5 * _spans(statistics) * (1 + 1e-6) + 1e-6).any():
        what = f"the {part} spread is larger than its values allow"  # Popoviciu: std <= range / 2
        expected = "at most half of maximum - minimum"
        return [
            StatisticsFault(
                what, _named(wrong, contract), expected, _per_joint(wrong, contract, spread, spread)
            )
        ]
    return []


def _still_faults(
    state: JointStatistics | None, action: JointStatistics | None, contract: RobotContract
) -> list[StatisticsFault]:
    """Joints with a range of zero on one side that move on the other: a dead or mixed-up signal."""
    if state is None or action is None:
        return []
    spans = {"state": _spans(state), "action": _spans(action)}
    size = contract.upper - contract.lower
    for still, moving in (("state", "action"), ("action", "state")):
        wrong = (spans[still] <= _STILL_SHARE * size) & (spans[moving] >= _MOVING_SHARE * size)
        if wrong.any():
            what = f"the {still} statistics have a range of zero for a joint that the {moving} moves"
            found = _per_joint(wrong, contract, spans[still], spans[moving])
            return [StatisticsFault(what, _named(wrong, contract), "both move, or neither does", found)]
    return []


def _spans(statistics: JointStatistics) -> NDArray[np.float64]:
    spans: NDArray[np.float64] = np.array(statistics.maximum) - np.array(statistics.minimum)
    return spans


def _beyond(
    low: NDArray[np.float64], high: NDArray[np.float64], contract: RobotContract
) -> NDArray[np.bool_]:
    slack = _EXTREME_SLACK * (contract.upper - contract.lower)
    beyond: NDArray[np.bool_] = (low < contract.lower - slack) | (high > contract.upper + slack)
    return beyond


def _named(wrong: NDArray[np.bool_], contract: RobotContract) -> tuple[str, ...]:
    return tuple(name for name, bad in zip(contract.joint_names, wrong, strict=True) if bad)


def _per_joint(
    wrong: NDArray[np.bool_],
    contract: RobotContract,
    low: NDArray[np.float64],
    high: NDArray[np.float64],
) -> str:
    rows: Iterable[tuple[str, bool, float, float]] = zip(contract.joint_names, wrong, low, high, strict=True)
    return ", ".join(
        f"{name} {a:.4g}" + (f" to {b:.4g}" if b != a else "") for name, bad, a, b in rows if bad
    )


def _fault(
    what: str,
    wrong: NDArray[np.bool_],
    contract: RobotContract,
    low: NDArray[np.float64],
    high: NDArray[np.float64],
) -> StatisticsFault:
    limits = _per_joint(wrong, contract, contract.lower, contract.upper)
    return StatisticsFault(what, _named(wrong, contract), limits, _per_joint(wrong, contract, low, high))
