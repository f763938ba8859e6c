"""The wordings of descriptions: each thing that happened, in several ways of saying it.

A wording is used for a whole description. Fields that can be empty carry their own space.
"""

from __future__ import annotations

from collections.abc import Mapping

WORDINGS: Mapping[str, Mapping[str, str]] = {
    "imperative": {
        "reach": "Approach {object}{origin} with the {side} arm{grip}.",
        "grasp": "Close the {side} gripper on {part}{object}{giver}.",
        "miss": "Close the {side} gripper near {object} without getting hold of it.",
        "lift": "Lift {object} by about {cm} cm with the {side} arm.",
        "carry": "Carry {object} about {cm} cm{direction} with the {side} arm{past}.",
        "turn": "Turn {object} {rotation} by about {degrees} degrees with the {side} arm.",
        "tip": "Bring {object} into {pose} position with the {side} arm.",
        "place": "Set {object} down {where} with the {side} arm.",
        "release": "Open the {side} gripper to release {object}.",
        "keep": "Keep {object} in the closed {side} gripper.",
        "press": "Press {object} down with the closed {side} gripper.",
        "retreat": "Draw the {side} arm back.",
        "one_arm": "Use only the {side} arm.",
        "two_arms": "Use both arms.",
        "rest": "Keep the {side} arm at rest.",
        "start": "At the start {object} is {where}.",
        "sizes": "{largest} is the largest and {smallest} the smallest.",
        "end": "In the end {object} is {where}.",
        "row": "In the end the cubes from left to right are {colors}.",
        "first_try": "Every grasp succeeds at the first attempt.",
        "tries": "Grasping {object} takes {count} attempts.",
        "undisturbed": "Leave every other object where it is.",
        "pushed": "On the way {object} is pushed by about {cm} cm.",
        "base": "Keep the base still.",
        "nothing": "Neither grasp nor press anything.",
    },
    "narrative": {
        "reach": "The {side} arm reaches for {object}{origin}{grip}.",
        "grasp": "The {side} arm grasps {part}{object} by closing its gripper{giver}.",
        "miss": "The {side} arm closes its gripper at {object} but does not get hold of it.",
        "lift": "The {side} arm raises {object} by about {cm} cm.",
        "carry": "The {side} arm moves {object} about {cm} cm{direction}{past}.",
        "turn": "The {side} arm rotates {object} about {degrees} degrees {rotation}.",
        "tip": "The {side} arm brings {object} into {pose} position.",
        "place": "The {side} arm places {object} {where}.",
        "release": "The {side} arm lets go of {object} by opening its gripper.",
        "keep": "The {side} arm goes on holding {object}.",
        "press": "The {side} arm presses {object} down with its gripper closed.",
        "retreat": "The {side} arm withdraws.",
        "one_arm": "Only the {side} arm acts.",
        "two_arms": "Both arms act.",
        "rest": "The {side} arm does not move.",
        "start": "Before anything moves, {object} is {where}.",
        "sizes": "{largest} is the largest, {smallest} is the smallest.",
        "end": "Finally {object} is {where}.",
        "row": "Finally the cubes stand from left to right as {colors}.",
        "first_try": "No grasp has to be repeated.",
        "tries": "It takes {count} attempts to grasp {object}.",
        "undisturbed": "No other object moves.",
        "pushed": "Meanwhile {object} is pushed by about {cm} cm.",
        "base": "The base of the robot stays where it is.",
        "nothing": "Nothing is grasped or pressed.",
    },
    "gripper": {
        "reach": "Move the {side} gripper to {object}{origin}{grip}.",
        "grasp": "Close the fingers of the {side} gripper around {part}{object}{giver}.",
        "miss": "Close the fingers of the {side} gripper beside {object} and miss it.",
        "lift": "Raise {object} about {cm} cm in the {side} gripper.",
        "carry": "Move {object} about {cm} cm{direction} in the {side} gripper{past}.",
        "turn": "Rotate {object} {rotation} by about {degrees} degrees in the {side} gripper.",
        "tip": "Turn {object} into {pose} position in the {side} gripper.",
        "place": "Put {object} {where} with the {side} gripper.",
        "release": "Open the fingers of the {side} gripper and let go of {object}.",
        "keep": "Hold {object} in the {side} gripper until the end.",
        "press": "Push {object} down with the fingertips of the closed {side} gripper.",
        "retreat": "Withdraw the {side} gripper.",
        "one_arm": "Work with the {side} gripper only.",
        "two_arms": "Work with both grippers.",
        "rest": "The {side} gripper stays where it is.",
        "start": "To begin with, {object} is {where}.",
        "sizes": "Among the cubes {largest} is the largest and {smallest} the smallest.",
        "end": "When all is done {object} is {where}.",
        "row": "When all is done the cubes are from left to right {colors}.",
        "first_try": "Each grasp holds at once.",
        "tries": "{object} is grasped in {count} attempts.",
        "undisturbed": "Nothing else is moved.",
        "pushed": "Besides, {object} is pushed by about {cm} cm.",
        "base": "The robot stands still.",
        "nothing": "Nothing is taken and nothing is pressed.",
    },
}
"""Wording -> what happened -> sentence."""

GRIPS: Mapping[str, Mapping[str, str]] = {
    "imperative": {"open": " with the gripper open", "closed": " with the gripper closed", "": ""},
    "narrative": {"open": " with its gripper open", "closed": " with its gripper closed", "": ""},
    "gripper": {"open": " with open fingers", "closed": " with closed fingers", "": ""},
}
ORIGINS: Mapping[str, str] = {
    "above": " from above",
    "left": " from the left",
    "right": " from the right",
    "": "",
}
DIRECTIONS: Mapping[str, str] = {
    "left": " to the left",
    "right": " to the right",
    "forward": " away from the robot",
    "backward": " towards the robot",
    "": "",
}
POSES: Mapping[str, str] = {"upright": "an upright", "lying": "a lying"}
LATERAL: Mapping[str, str] = {"left": "on the left", "right": "on the right", "center": "in the center"}
DEPTH: Mapping[str, str] = {"near": "near the robot", "far": "far from the robot"}
CONNECTIVES = ("", "Then ", "Next ", "After that ")
"""What a later step of a paragraph may begin with."""
