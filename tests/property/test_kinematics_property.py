"""The closed-form inverse kinematics undoes the forward kinematics, within the limits, or says no."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finevla.contract import ARM_SIDES, load_contract
from finevla.contract.kinematics import TOOL_M, base_pose, dh_table, frames, link_transform, tool_pose
from finevla.errors import ContractError, SimulationError
from finevla.sim.kinematics import reach, solve_planar
from finevla.sim.tasks.pick_lift import BOWL_X_M
from finevla.sim.tasks.place import X_M, Y_M
from finevla.sim.tasks.skills import LIFT_Z_M, PADS_Z_M

CONTRACT = load_contract()
sides = st.sampled_from(ARM_SIDES)
workspace = st.tuples(st.floats(X_M[0], BOWL_X_M[1]), st.floats(*Y_M), st.floats(PADS_Z_M, LIFT_Z_M)).map(
    np.array
)


@given(sides, workspace, st.floats(-0.5, 0.5))
def test_every_point_of_the_workspace_is_reached_by_both_arms(side, tip, roll):
    q = reach(CONTRACT, side, tip, roll)
    arm = CONTRACT.arm_slice(side)
    assert (q >= CONTRACT.lower[arm][:6]).all()
    assert (q <= CONTRACT.upper[arm][:6]).all()
    pose = tool_pose(CONTRACT, side, q)
    np.testing.assert_allclose(pose[:3, 3], tip, atol=1e-9)
    assert pose[2, 2] < -0.3  # the gripper points down


@given(sides, st.floats(0.0, 0.5))
def test_tilt_is_the_angle_to_straight_down(side, tilt):
    tip = np.array([0.25, 0.0, 0.05])
    try:
        q = solve_planar(CONTRACT, side, tip, tilt=tilt)
    except SimulationError:
        return
    assert math.acos(-tool_pose(CONTRACT, side, q)[2, 2]) == pytest.approx(tilt, abs=1e-6)


@given(sides, st.floats(0.8, 3.0), st.floats(-1.0, 1.0))
def test_far_points_are_refused(side, x, y):
    with pytest.raises(SimulationError, match="cannot reach"):
        reach(CONTRACT, side, np.array([x, y, 0.1]))


def test_unknown_firmware_generation_is_refused():
    with pytest.raises(ContractError, match="zero shift"):
        dh_table(2)


poses = st.integers(0, 2**32 - 1).map(
    lambda seed: np.random.default_rng(seed).uniform(CONTRACT.lower, CONTRACT.upper, (4, CONTRACT.dof))
)


@given(poses, sides)
def test_all_frames_of_many_poses_are_those_of_one_pose_at_a_time(values, side):
    q = values[:, CONTRACT.arm_slice(side)][:, :6]
    found = frames(CONTRACT, side, q)
    assert found.shape == (len(q), 7, 4, 4)
    for k, joints in enumerate(q):
        expected = base_pose(CONTRACT.arms[side])
        np.testing.assert_array_equal(found[k, 0], expected)
        for i, row in enumerate(dh_table(CONTRACT.dh_is_offset)):
            expected = expected @ link_transform(row, joints[i])
            np.testing.assert_allclose(found[k, i + 1], expected, rtol=0, atol=1e-12)
        tool = tool_pose(CONTRACT, side, joints)
        np.testing.assert_allclose(
            found[k, -1, :3, 3] + TOOL_M * found[k, -1, :3, 2], tool[:3, 3], atol=1e-12
        )


@pytest.mark.parametrize("shape", [(6,), (4, 7), (1, 4, 6)])
def test_frames_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match="shape"):
        frames(CONTRACT, "left", np.zeros(shape))
