"""Reads the sentences of a description back into claims, for the check: with patterns of its own.

A sentence that no pattern covers as a whole is not understood, so that no word of a description goes
unread.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_SIDE = r"(?P<side>left|right)"
_NAMED = r"the (?:(?:red|blue|green|yellow) )?(?:cube|block|cup|bottle|button)"
_THING = rf"(?P<thing>{_NAMED})"
_FROM = r"(?: from (?:the )?(?P<origin>above|left|right))?"
_GRIP = r"(?: with (?:(?:the|its) gripper (?P<grip>open|closed)|(?P<fingers>open|closed) fingers))?"
_PART = r"(?:the (?P<part>handle|body|neck|belly) of )?"
_GIVER = r"(?: while the (?P<giver>left|right) gripper still holds it)?"
_CM = r"about (?P<cm>\d+) cm"
_DIR = r"(?: (?P<direction>to the left|to the right|away from the robot|towards the robot))?"
_PAST = r"(?: past the (?P<past>left|right) side of the obstacle)?"
_TURN = r"(?P<rotation>clockwise|counterclockwise)"
_DEGREES = r"about (?P<degrees>\d+) degrees"
_POSE = r"into an? (?P<pose>upright|lying) position"
_INTO = r"(?P<into>(?:in|on)to the [a-z ]+?)"
_STATE = (
    r"(?:(?P<pose>upright|lying) ?)?"
    r"(?P<support>(?:in|on) the "
    r"(?:(?:left |right )?(?:bowl|mark)|tray|table|coaster|(?:red|blue|green|yellow) cube) ?)?"
    r"(?:(?:on|in) the (?P<lateral>left|right|center)(?! bowl) ?)?"
    r"(?:(?P<depth>near|far from) the robot ?)?"
    rf"(?:to the (?P<beside>left|right) of (?P<other>{_NAMED}))?"
)
_SMALLEST = rf"(?P<smallest>{_NAMED})"
_COLORS = r"(?P<colors>(?:\w+, )+\w+ and \w+)"

PATTERNS: Mapping[str, tuple[str, ...]] = {
    "reach": (
        rf"approach {_THING}{_FROM} with the {_SIDE} arm{_GRIP}",
        rf"the {_SIDE} arm reaches for {_THING}{_FROM}{_GRIP}",
        rf"move the {_SIDE} gripper to {_THING}{_FROM}{_GRIP}",
    ),
    "grasp": (
        rf"close the {_SIDE} gripper on {_PART}{_THING}{_GIVER}",
        rf"the {_SIDE} arm grasps {_PART}{_THING} by closing its gripper{_GIVER}",
        rf"close the fingers of the {_SIDE} gripper around {_PART}{_THING}{_GIVER}",
    ),
    "miss": (
        rf"close the {_SIDE} gripper near {_THING} without getting hold of it",
        rf"the {_SIDE} arm closes its gripper at {_THING} but does not get hold of it",
        rf"close the fingers of the {_SIDE} gripper beside {_THING} and miss it",
    ),
    "lift": (
        rf"lift {_THING} by {_CM} with the {_SIDE} arm",
        rf"the {_SIDE} arm raises {_THING} by {_CM}",
        rf"raise {_THING} {_CM} in the {_SIDE} gripper",
    ),
    "carry": (
        rf"carry {_THING} {_CM}{_DIR} with the {_SIDE} arm{_PAST}",
        rf"the {_SIDE} arm moves {_THING} {_CM}{_DIR}{_PAST}",
        rf"move {_THING} {_CM}{_DIR} in the {_SIDE} gripper{_PAST}",
    ),
    "turn": (
        rf"turn {_THING} {_TURN} by {_DEGREES} with the {_SIDE} arm",
        rf"the {_SIDE} arm rotates {_THING} {_DEGREES} {_TURN}",
        rf"rotate {_THING} {_TURN} by {_DEGREES} in the {_SIDE} gripper",
    ),
    "tip": (
        rf"bring {_THING} {_POSE} with the {_SIDE} arm",
        rf"the {_SIDE} arm brings {_THING} {_POSE}",
        rf"turn {_THING} {_POSE} in the {_SIDE} gripper",
    ),
    "place": (
        rf"set {_THING} down {_INTO} with the {_SIDE} arm",
        rf"the {_SIDE} arm places {_THING} {_INTO}",
        rf"put {_THING} {_INTO} with the {_SIDE} gripper",
    ),
    "release": (
        rf"open the {_SIDE} gripper to release {_THING}",
        rf"the {_SIDE} arm lets go of {_THING} by opening its gripper",
        rf"open the fingers of the {_SIDE} gripper and let go of {_THING}",
    ),
    "keep": (
        rf"keep {_THING} in the closed {_SIDE} gripper",
        rf"the {_SIDE} arm goes on holding {_THING}",
        rf"hold {_THING} in the {_SIDE} gripper until the end",
    ),
    "press": (
        rf"press {_THING} down with the closed {_SIDE} gripper",
        rf"the {_SIDE} arm presses {_THING} down with its gripper closed",
        rf"push {_THING} down with the fingertips of the closed {_SIDE} gripper",
    ),
    "retreat": (
        rf"draw the {_SIDE} arm back",
        rf"the {_SIDE} arm withdraws",
        rf"withdraw the {_SIDE} gripper",
    ),
    "one_arm": (
        rf"use only the {_SIDE} arm",
        rf"only the {_SIDE} arm acts",
        rf"work with the {_SIDE} gripper only",
    ),
    "two_arms": (r"use both arms", r"both arms act", r"work with both grippers"),
    "rest": (
        rf"keep the {_SIDE} arm at rest",
        rf"the {_SIDE} arm does not move",
        rf"the {_SIDE} gripper stays where it is",
    ),
    "start": (rf"(?:at the start|before anything moves,|to begin with,) {_THING} is {_STATE}",),
    "end": (rf"(?:in the end|finally|when all is done) {_THING} is {_STATE}",),
    "sizes": (rf"(?:among the cubes )?{_THING} is the largest(?: and|,) {_SMALLEST}(?: is)? the smallest",),
    "row": (
        rf"in the end the cubes from left to right are {_COLORS}",
        rf"finally the cubes stand from left to right as {_COLORS}",
        rf"when all is done the cubes are from left to right {_COLORS}",
    ),
    "first_try": (
        r"every grasp succeeds at the first attempt",
        r"no grasp has to be repeated",
        r"each grasp holds at once",
    ),
    "tries": (
        rf"grasping {_THING} takes (?P<count>\d+) attempts",
        rf"it takes (?P<count>\d+) attempts to grasp {_THING}",
        rf"{_THING} is grasped in (?P<count>\d+) attempts",
    ),
    "undisturbed": (
        r"leave every other object where it is",
        r"no other object moves",
        r"nothing else is moved",
    ),
    "pushed": (rf"(?:on the way|meanwhile|besides,) {_THING} is pushed by {_CM}",),
    "base": (
        r"keep the base still",
        r"the base of the robot stays where it is",
        r"the robot stands still",
    ),
    "nothing": (
        r"neither grasp nor press anything",
        r"nothing is grasped or pressed",
        r"nothing is taken and nothing is pressed",
    ),
}
_COMPILED = [
    (kind, re.compile(pattern, re.IGNORECASE)) for kind, group in PATTERNS.items() for pattern in group
]
_CONNECTIVE = re.compile(r"^(?:then|next|after that) ", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Claim:
    """What one sentence claims: its kind, and the words that fill it; kind `unread`: not understood."""

    kind: str
    words: Mapping[str, str]
    text: str

    def get(self, name: str) -> str:
        """A word of the claim in lower case; empty where it was not said."""
        return self.words.get(name, "")


def sentences(paragraph: str) -> list[str]:
    """The sentences of a paragraph, without their dots."""
    return [part.strip() for part in paragraph.split(".") if part.strip()]


def read_claim(sentence: str) -> Claim:
    """What a sentence claims."""
    plain = _CONNECTIVE.sub("", sentence.strip().removesuffix("."))
    for kind, pattern in _COMPILED:
        found = pattern.fullmatch(plain)
        if found:
            words = {name: value.strip().lower() for name, value in found.groupdict().items() if value}
            if "fingers" in words:
                words["grip"] = words.pop("fingers")
            return Claim(kind, words, sentence)
    return Claim("unread", {}, sentence)
