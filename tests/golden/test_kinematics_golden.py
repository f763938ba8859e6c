"""Three descriptions of the arm agree to 0.01 mm: our DH table, the vendor's SDK and the simulated URDF."""

import numpy as np
import pytest

from finevla.contract import ARM_SIDES, load_contract
from finevla.contract.kinematics import dh_table, forward, tool_pose

TOLERANCE_M = 1e-5


def _poses(n):
    contract = load_contract()
    return np.random.default_rng(7).uniform(contract.lower, contract.upper, (n, contract.dof))


@pytest.mark.parametrize("offset", [0, 1])
def test_flange_is_where_the_sdk_says(offset):
    sdk = pytest.importorskip("piper_sdk.kinematics.piper_fk").C_PiperForwardKinematics(offset)
    for pose in _poses(100):
        ours = forward(dh_table(offset), pose[:6])
        theirs = sdk.CalFK(list(pose[:6]))[-1]
        np.testing.assert_allclose(ours[:3, 3], np.array(theirs[:3]) / 1e3, rtol=0, atol=TOLERANCE_M)
        pitch = np.degrees(np.arctan2(-ours[2, 0], np.hypot(ours[0, 0], ours[1, 0])))
        assert pitch == pytest.approx(theirs[4], abs=0.01)


def test_zero_pose_of_the_newer_firmware():
    flange = forward(dh_table(1), np.zeros(6))
    np.testing.assert_allclose(flange[:3, 3], [0.056128, 0.0, 0.213266], atol=1e-6)


def test_simulated_arms_are_where_the_table_says():
    pytest.importorskip("sapien")
    from finevla.sim.world import World

    world = World(render=False)
    for pose in _poses(30):
        world.set_arms(pose)
        truth = world.truth()
        np.testing.assert_allclose(world.state(), pose, rtol=0, atol=1e-6)
        for side in ARM_SIDES:
            expected = tool_pose(world.contract, side, pose[world.contract.arm_slice(side)])[:3, 3]
            np.testing.assert_allclose(truth.tips[side], expected, rtol=0, atol=TOLERANCE_M)
