"""The mirror image of the robot: forward kinematics proves the joints; sentences lead back or have none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finevla.contract import ARM_SIDES, load_contract
from finevla.contract.images import WorkspaceCrop
from finevla.contract.kinematics import tool_pose
from finevla.contract.mirror import Mirror
from finevla.contract.robot import contract_from_document
from finevla.errors import ContractError
from finevla.sim.language import render
from finevla.sim.language.sentences import ACTIONS

CONTRACT = load_contract()
MIRROR = Mirror(CONTRACT)
FLIP = np.diag([1.0, -1.0, 1.0, 1.0])
OTHER = dict(zip(ARM_SIDES, ARM_SIDES[::-1], strict=True))
joints = st.lists(st.floats(0.0, 1.0), min_size=CONTRACT.dof, max_size=CONTRACT.dof).map(
    lambda shares: CONTRACT.lower + np.array(shares) * (CONTRACT.upper - CONTRACT.lower)
)


@settings(deadline=None)
@given(joints)
def test_mirrored_joints_bring_the_other_tool_to_the_mirrored_pose(values) -> None:
    mirrored = MIRROR.joints(values)
    for side in ARM_SIDES:
        pose = tool_pose(CONTRACT, side, values[CONTRACT.arm_slice(side)])
        image = tool_pose(CONTRACT, OTHER[side], mirrored[CONTRACT.arm_slice(OTHER[side])])
        # A gripper is its own mirror image, so its frame keeps its handedness: y is turned over once more.
        np.testing.assert_allclose(image, FLIP @ pose @ FLIP, atol=1e-12)
        opening = values[CONTRACT.grippers[side]]
        assert mirrored[CONTRACT.grippers[OTHER[side]]] == opening


@settings(deadline=None)
@given(joints)
def test_joints_mirrored_twice_are_the_same_and_stay_in_their_limits(values) -> None:
    assert np.array_equal(MIRROR.joints(MIRROR.joints(values)), values)
    mirrored = MIRROR.joints(values)
    assert (mirrored >= CONTRACT.lower).all()
    assert (mirrored <= CONTRACT.upper).all()


def test_series_are_mirrored_row_by_row_and_home_is_its_own_image() -> None:
    series = np.random.default_rng(0).uniform(CONTRACT.lower, CONTRACT.upper, (3, 4, CONTRACT.dof))
    assert np.array_equal(MIRROR.joints(series)[2, 1], MIRROR.joints(series[2, 1]))
    np.testing.assert_array_equal(MIRROR.joints(CONTRACT.home), CONTRACT.home)


@pytest.mark.parametrize(
    ("text", "image"),
    [
        ("use the left arm to pick up the red cube", "use the right arm to pick up the red cube"),
        ("With your RIGHT arm, turn it clockwise.", "With your LEFT arm, turn it counterclockwise."),
        ("Left arm: take the rightmost cup", "Right arm: take the leftmost cup"),
        ("hand it from the left arm to the right arm", "hand it from the right arm to the left arm"),
        ("push it to the right in an arc", "push it to the left in an arc"),
        ("put it upright on the left of the bright bowl", "put it upright on the right of the bright bowl"),
        ("grasp it with the left-hand gripper", "grasp it with the right-hand gripper"),
        ("lift the cube", "lift the cube"),
    ],
)  # fmt: skip
def test_words_for_sides_are_exchanged(text: str, image: str) -> None:
    assert MIRROR.text(text) == image
    assert MIRROR.text(image) == text


@pytest.mark.parametrize(
    "text",
    [
        "sort the blocks in a row from left to right",
        "order them right to left",
        "arrange the cubes left-to-right with the left arm",
        "line them up from the left to the right",
        "move from leftmost to rightmost",
        "do it right now with the left arm",
        "put it right in the bowl",
        "turn the cup right side up",
        "turn it by a right angle",
        "take the cubes left on the table",
        "pick up what is left",
        "the arm left the table",
        "turn it anticlockwise",
        "turn it counter-clockwise",
        "use the lefty arm",
        "use the R arm",
        "用左臂拿起红色方块",
    ],
)
def test_a_sentence_without_a_certain_mirror_image_has_none(text: str) -> None:
    assert MIRROR.text(text) is None


@pytest.mark.parametrize("task", ACTIONS)
def test_sentences_of_the_simulator_lead_back_and_rows_have_no_image(task: str) -> None:
    from finevla.sim.goal import Goal

    order = ("red", "green", "blue")
    goal = Goal(task, "left", "red", approach="left", contact="handle", side="right", rotation="clockwise",
                pose="upright", bowl="right", order=order)  # fmt: skip
    for template in range(5):
        text = render(goal, template)
        image = MIRROR.text(text)
        assert (image is None) == ("left to right" in text), text
        if image is not None:
            assert MIRROR.text(image) == text
            assert "left arm" not in image


words = st.sampled_from(
    (
        *("left", "Right", "LEFT", "leftmost", "clockwise", "Counterclockwise", "anticlockwise"),
        *("cube", "to", "the", "arm", "from", "upright", "now", "of", "in", "3", "r"),
    )
)


@settings(deadline=None)
@given(st.lists(words, min_size=1, max_size=8), st.sampled_from([" ", ", ", "-"]))
def test_every_image_of_a_sentence_leads_back(parts, gap) -> None:
    text = gap.join(parts)
    image = MIRROR.text(text)
    if image is not None:
        assert MIRROR.text(image) == text


def test_cameras_change_places_by_their_side() -> None:
    crop = WorkspaceCrop((320, 240), (102, 50, 218, 166))
    images = dict.fromkeys(("cam_right_wrist", "cam_high", "cam_left_wrist"), crop)
    assert MIRROR.partners(images).tolist() == [2, 1, 0]
    left = WorkspaceCrop((320, 240), (0, 50, 116, 166))
    right = WorkspaceCrop((320, 240), (204, 50, 320, 166))
    assert MIRROR.partners({"cam_left_wrist": left, "cam_right_wrist": right}).tolist() == [1, 0]
    for images in (
        {"cam_high": left},
        {"cam_left_wrist": left, "cam_right_wrist": left},
        {"cam_left_wrist": crop},
        {"cam_left_wrist": crop, "cam_right_wrist": replace(crop, size=(32, 32))},
    ):
        with pytest.raises(ContractError, match="no mirror image"):
            MIRROR.partners(images)


def test_the_crop_of_a_flipped_picture_is_the_flipped_crop() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    for size in ((64, 64), (96, 96), (37, 50)):
        crop = WorkspaceCrop((320, 240), (102, 50, 218, 166), size)
        assert np.array_equal(crop(picture[:, ::-1]), crop(picture)[:, ::-1])


@pytest.mark.parametrize("change", ["base", "limit"])
def test_a_robot_that_is_not_its_own_image_has_no_mirror(change: str) -> None:
    import copy

    document = copy.deepcopy(dict(CONTRACT.document))
    if change == "base":
        document["arms"]["right"]["base_xyz_m"] = [0.0, -0.25, 0.0]
    else:
        document["joints"][5]["upper"] = 2.0
    with pytest.raises(ContractError, match="not its own mirror image"):
        Mirror(contract_from_document(document))
