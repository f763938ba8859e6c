import numpy as np
import pytest

from finevla.contract import ActionChunk, load_contract
from finevla.contract.settle import SettleDetector

CONTRACT = load_contract()
HOME = CONTRACT.home


def chunk(targets):
    return ActionChunk(0, 0.1, np.asarray(targets), 0, "", "")


STILL = chunk(np.tile(HOME, (16, 1)))


def moving(joint, by):
    targets = np.tile(HOME, (16, 1))
    targets[-1, joint] += by
    return chunk(targets)


def test_settles_only_after_some_still_chunks_in_a_row():
    detector = SettleDetector(CONTRACT)
    assert [detector.observe(c, HOME) for c in (STILL, STILL, moving(0, 0.2), STILL, STILL, STILL)] == [
        *[False] * 5,
        True,
    ]
    detector.reset()
    assert not detector.observe(STILL, HOME)


@pytest.mark.parametrize(("joint", "by"), [(0, 0.1), (8, -0.1), (6, -0.02), (13, -0.02)])
def test_motion_of_any_joint_or_gripper_counts(joint, by):
    detector = SettleDetector(CONTRACT, count=1)
    assert not detector.observe(moving(joint, by), HOME)


def test_an_arm_that_is_not_there_yet_is_not_at_rest_but_a_gripper_around_an_object_is():
    detector = SettleDetector(CONTRACT, count=1)
    away, holding = HOME.copy(), HOME.copy()
    away[2] -= 0.2
    holding[6] -= 0.03
    assert not detector.observe(STILL, away)
    assert detector.observe(STILL, holding)


def test_a_hold_now_is_at_rest():
    assert SettleDetector(CONTRACT, count=1).observe(chunk(np.zeros((0, 14))), HOME)
