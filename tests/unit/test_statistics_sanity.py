"""Statistics of real motion pass; what only looks like them is named, with joint and unit."""

from __future__ import annotations

import numpy as np
import pytest

from finevla.contract import load_contract
from finevla.contract.sanity import statistics_faults, statistics_notes
from finevla.contract.transforms import Chain, JointStatistics, Normalize

CONTRACT = load_contract()
FLOOR = tuple(0.08 * (CONTRACT.upper - CONTRACT.lower))


def chain(rows: np.ndarray) -> Chain:
    return Chain((Normalize(JointStatistics.of(CONTRACT.joint_names, rows), FLOOR),))


def moving(seed: int, share: float = 1.0, frames: int = 200) -> np.ndarray:
    """A walk around home that uses `share` of what the limits allow."""
    rng = np.random.default_rng(seed)
    ends = rng.uniform(CONTRACT.lower, CONTRACT.upper, (frames, CONTRACT.dof))
    return CONTRACT.home + share * (ends - CONTRACT.home)


@pytest.mark.parametrize("seed", range(20))
def test_motion_within_the_limits_passes(seed: int) -> None:
    share = np.random.default_rng(seed).uniform(0.01, 1.0)
    rows = moving(seed, share)
    noise = np.random.default_rng(seed).normal(0.0, 1e-3, rows.shape)
    assert statistics_faults(chain(rows + noise), chain(rows), CONTRACT) == ()


def test_an_arm_that_rests_on_both_sides_is_a_note_and_no_fault() -> None:
    rows = moving(1)
    rest = CONTRACT.arm_slice("left")
    rows[:, rest] = CONTRACT.home[rest]
    assert statistics_faults(chain(rows), chain(rows), CONTRACT) == ()
    (note,) = statistics_notes("action", chain(rows), CONTRACT)
    assert all(name in note for name in CONTRACT.joint_names[rest])
    assert CONTRACT.joint_names[-1] not in note
    assert statistics_notes("action", chain(moving(2)), CONTRACT) == ()


def test_a_rarely_used_gripper_and_an_outlier_within_reason_pass() -> None:
    rows = moving(3, 0.5, frames=5000)
    rows[:, list(CONTRACT.grippers.values())] = 0.07
    rows[0, list(CONTRACT.grippers.values())] = 0.0
    rows[1, 0] = CONTRACT.upper[0] * 1.1
    assert statistics_faults(chain(rows), chain(rows), CONTRACT) == ()


def test_every_joint_at_fault_is_named_with_its_numbers() -> None:
    rows = moving(4)
    rows[:, [6, 13]] *= 100.0 / 0.07
    (fault,) = statistics_faults(chain(moving(4)), chain(rows), CONTRACT)
    assert fault.joints == (CONTRACT.joint_names[6], CONTRACT.joint_names[13])
    assert "percent or millimetres" in fault.what
    assert "0.07" in fault.expected
    assert all(name in fault.found for name in fault.joints)


def test_millimetres_are_no_metres() -> None:
    rows = moving(5)
    rows[:, 6] *= 1000.0
    (fault,) = statistics_faults(chain(rows), chain(moving(5)), CONTRACT)
    assert "state" in fault.what
    assert "millimetres" in fault.what


def test_a_mean_at_half_of_a_full_stroke_is_no_opening_of_this_gripper() -> None:
    """Shares of the stroke, also where few frames are above what metres could be."""
    rows = moving(6)
    rows[:, 6] = np.linspace(0.45, 0.6, len(rows))
    (fault,) = statistics_faults(chain(moving(6)), chain(rows), CONTRACT)
    assert "from 0 to 1" in fault.what
