"""What the instruction parser understands, and what it refuses instead of misreading it."""

from __future__ import annotations

import pytest

from finevla.contract.instruction import Level, asked, parse
from finevla.errors import InstructionError
from finevla.sim import language

UNDERSTOOD = [
    ("use the left arm to pick up the red cube", ("left", "red", "pick_lift")),
    ("With your LEFT hand, pick up the red cube...", ("left", "red", "pick_lift")),
    ("your right hand should take the grey block", ("right", "gray", "pick_lift")),
    ("lift the blue cube with your left", ("left", "blue", "pick_lift")),
    ("grab the red one with both hands", ("both", "red", "pick_lift")),
    ("use the left and right arms to lift the red cube", ("both", "red", "pick_lift")),
    ("in the bowl, place the red cube with the left-hand gripper", ("left", "red", "place_in_bowl")),
    ("pick the green cube and place it in the bowl", (None, "green", "place_in_bowl")),
    ("put the red cube into the blue bowl", (None, "red", "place_in_bowl")),
    ("put the red cube on the blue cube", (None, "red", None)),
    ("pick up the red cube next to the blue cube", (None, "red", "pick_lift")),
    ("lift the cube that is red", (None, "red", "pick_lift")),
    ("pick up the left cube with your right gripper", ("right", None, "pick_lift")),
    ("pick up the red cube right now", (None, "red", "pick_lift")),
    ("rotate the cube", (None, None, None)),
]

VALUES = [
    ("grasp the cube from above", "approach_direction", "top"),
    ("take the cup by the handle from the left side", "approach_direction", "left"),
    ("take the cup by the handle from the left side", "contact_region", "handle"),
    ("pick up the cube on the left", "initial_workspace_location", "left"),
    ("put the block in the bowl on the left", "final_workspace_location", "left"),
    ("put the cube on the left into the bowl", "initial_workspace_location", "left"),
    ("move the cube 10 cm to the right", "translation_direction", "right"),
    ("move the cube 2,5 cm to the right", "translation_extent", "2.5_cm"),
    ("rotate the cube 90 degrees clockwise", "rotation_angle", "90_deg"),
    ("rotate the cube 90 degrees clockwise", "rotation_direction", "clockwise"),
    ("put the small cube into the large bowl", "shape_or_size", "small"),
    ("put the small cube into the large bowl", "final_relation", "in_large_bowl"),
    ("drop the cube on the plate into the bowl", "initial_relation", "on_plate"),
    ("place the cup upright on the plate", "final_pose", "upright"),
    ("open the gripper", "gripper_state", "open"),
    ("put the bottle down so that it is lying", "final_pose", "lying"),
    ("pick up the lying bottle", "initial_pose", "lying"),
    ("move the block around the left side of the obstacle", "path_shape", "around_left"),
    ("carry it past the obstacle on the right", "path_shape", "around_right"),
    ("carry the block past the right side of the post", "final_relation", "past_obstacle"),
    ("with the left hand pass the block to the other arm", "final_relation", "in_other_arm"),
    ("with your left arm pass the block to the right arm", "final_relation", "in_right_arm"),
    ("with your left arm pass the block to the right arm", "actor", "left_arm"),
    ("sort the blocks by size in a row", "final_relation", "row_by_size"),
    (
        "line up the red cube then the blue cube from left to right",
        "final_relation",
        "row_left_to_right_red_blue",
    ),
    ("grip the body of the cup", "contact_region", "body"),
    ("clear the table", "primitive_action", "clean_table"),
    ("stack the two blocks", "primitive_action", "stack"),
    ("put it in that bowl", "final_relation", "in_bowl"),
    ("take the cup from its left side", "approach_direction", "left"),
]

REFUSED = [
    ("", "empty"),
    (" ... !?", "empty"),
    ("please, the", "empty"),
    ("do not use the left arm", "negation"),
    ("pick up the cube without the left arm", "negation"),
    ("don\u2019t touch the red cube", "negation"),
    ("use the left arm instead of the right arm", "negation"),
    ("use the left arm to pick up the cube with the right arm", "contradiction"),
    ("use the left arm and the right arm to lift the cube", "contradiction"),
    ("pick up the red blue cube", "contradiction"),
    ("pick up the red or blue cube", "contradiction"),
    ("pick up the red cube and the blue cube", "several_targets"),
    ("put the red cube then the blue cube and the green cube into the bowl", "several_targets"),
    ("move the block past the left side of the obstacle on the right side", "contradiction"),
    ("left", "ambiguous_side"),
    ("a" * 1001, "too_long"),
    (None, "not_text"),
    (b"pick up", "not_text"),
]


@pytest.mark.parametrize(("text", "expected"), UNDERSTOOD)
def test_arm_color_and_task(text, expected):
    assert asked(parse(text)) == expected


@pytest.mark.parametrize(("text", "slot", "value"), VALUES)
def test_slot(text, slot, value):
    assert parse(text).get(slot) == (value,)


@pytest.mark.parametrize(("text", "code"), REFUSED)
def test_refused_with_code_and_remedy(text, code):
    with pytest.raises(InstructionError) as caught:
        parse(text)
    assert caught.value.reason_code == code
    assert caught.value.remedy


def test_things_that_come_one_after_the_other_are_an_order():
    parsed = parse("put the red cube into the tray then the blue cube and then the green cube")
    assert parsed.order == ("red", "blue", "green")
    assert parsed.get("color") == ()
    assert parse("pick up the red cube and then lift it").order == ()
    assert parse("first stack the red cube, then the blue one").order == ("red", "blue")


def test_unknown_words_are_kept_in_order_and_text_is_unchanged():
    text = "Gently pick up the frobnicator, por favor"
    parsed = parse(text)
    assert parsed.unknown_words == ("gently", "frobnicator", "por", "favor")
    assert parsed.text == text
    assert parse("用左臂拿起红色方块").unknown_words


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("pick up the red cube", Level.RAW),
        ("put the cube on the left into the bowl", Level.RAW),
        ("pick up the red cube with the left arm", Level.FINE),
        ("grasp the cube from above", Level.FINE),
    ],
)
def test_level(text, level):
    assert parse(text).level is level


def test_every_sentence_of_the_simulator_is_understood():
    for task in ("pick_lift", "place_in_bowl"):
        assert asked(parse(language.raw(task))) == (None, None, task)
        for template in range(len(language.templates(task))):
            for arm in ("left", "right"):
                for color in ("red", "blue", "green", "yellow"):
                    goal = language.Goal(task, arm, color)
                    parsed = parse(language.render(goal, template))
                    assert asked(parsed) == (arm, color, task)
                    assert not parsed.unknown_words
