"""The words that the instruction parser knows, as tables: phrase -> kind of word and its value.

One line per phrase; the longest phrase that fits wins. Values are the normalised ones of the ten
dimensions. A word in none of these tables is not lost: the parser reports it as unknown.
Left and right are the robot's own; "front" is taken in common use, away from the robot (the paper's
annotation guideline uses it the other way round, so say "near" or "far" to be understood by both).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Kind(StrEnum):
    """What a phrase does in a sentence."""

    VERB = "verb"
    SIDE = "side"
    SIDE_NOUN = "side noun"
    ARM = "arm"
    ARMS = "arms"
    BOTH = "both"
    COLOR = "color"
    MATERIAL = "material"
    SIZE = "size"
    STATE = "state"
    OBJECT = "object"
    PRONOUN = "pronoun"
    RELATION = "relation"
    FROM = "from"
    TOWARD = "toward"
    INSTRUMENT = "instrument"
    REGION = "region"
    DIRECTION = "direction"
    ROTATION = "rotation"
    PATH = "path"
    POSE = "pose"
    GRIPPER_STATE = "gripper state"
    RETRY = "retry"
    BODY = "body"
    UNIT = "unit"
    ROW = "row"
    RECEIVER = "receiver"
    JOIN = "join"
    COPULA = "copula"
    NEGATION = "negation"
    FUNCTION = "function"


def _table(kind: Kind, values: Mapping[str, str]) -> dict[tuple[str, ...], tuple[Kind, str]]:
    """Turns `value -> phrases separated by commas` into `phrase as words -> (kind, value)`."""
    return {
        tuple(phrase.split()): (kind, value)
        for value, phrases in values.items()
        for phrase in phrases.split(", ")
    }


def _same(*words: str) -> dict[str, str]:
    """Words that are their own value."""
    return {word.replace(" ", "_"): word for word in words}


PICK_VERBS: Mapping[str, str] = {
    "pick_up": "pick up, picks up, pick, picks, picking up, take, takes, taking, collect, fetch, get",
    "lift": "lift up, lift, lifts, lifting, raise, raises, raising, hoist, elevate",
    "grasp": "grasp, grasps, grasping, grab, grabs, grabbing, grip, grips, clutch, hold, holds, holding",
}
"""Verbs whose goal is the object in the air."""

PLACE_VERBS: Mapping[str, str] = {
    "place": "place, places, placing, put, puts, putting, put down, place down, set, set down, lay, "
    "lay down, drop, drops, dropping, deposit, insert, inserts, leave",
    "move": "move, moves, moving, bring, brings, carry, carries, haul, transfer, shift, relocate, deliver",
    "stack": "stack, stacks, stacking, pile, piles, pile up, build a tower, build a tower of",
    "arrange": "arrange, arranges, line up, lines up, sort, sorts, order, align, aligns, rank",
}
"""Verbs whose goal is where the object ends."""

OTHER_VERBS: Mapping[str, str] = {
    "push": "push, pushes, pushing, nudge, poke",
    "pull": "pull, pulls, drag, drags",
    "rotate": "rotate, rotates, rotating, turn, turns, turning, twist, twists, spin, swivel",
    "press": "press, presses, pressing, click",
    "wipe": "wipe, wipes, clean",
    "pour": "pour, pours",
    "release": "release, releases, let go",
    "reach": "reach, reaches, approach, approaches, approaching",
    "touch": "touch, touches",
    "open": "open, opens",
    "close": "close, closes",
    "fold": "fold, folds",
    "hand_over": "hand over, hands over, give, gives, pass, passes, passing",
    "clean_table": "clean the table, clear the table, tidy the table, tidy up the table, clean up the table",
    "stop": "stop, halt, wait",
    "go_home": "go home, return home",
}

COLORS: Mapping[str, str] = {
    **_same("red", "blue", "green", "yellow", "orange", "black", "white", "brown", "pink", "cyan"),
    "gray": "gray, grey",
    "purple": "purple, violet",
    "magenta": "magenta, fuchsia",
    "turquoise": "turquoise, teal",
    "beige": "beige",
    "gold": "gold, golden",
    "silver": "silver",
}

OBJECTS: Mapping[str, str] = {
    "cube": "cube, cubes, block, blocks, brick, bricks",
    "bowl": "bowl, bowls, dish, dishes",
    "plate": "plate, plates",
    "cup": "cup, cups, mug, mugs, glass",
    "coaster": "coaster, coasters, mat",
    "obstacle": "obstacle, obstacles, barrier, pillar, post",
    "ball": "ball, balls, sphere",
    "bottle": "bottle, bottles, flask",
    "can": "tin, soda can",
    "box": "box, boxes, carton",
    "basket": "basket, baskets, bin, bins",
    "tray": "tray, trays, platter",
    "towel": "towel, cloth",
    "drawer": "drawer",
    "lid": "lid, cap",
    "spoon": "spoon",
    "fork": "fork",
    "knife": "knife",
    "pan": "pan, pot",
    "apple": "apple",
    "banana": "banana",
    "cylinder": "cylinder, cylinders",
    "peg": "peg",
    "pen": "pen, marker",
    "button": "button, buttons, knob",
    "table": "table, tabletop, desk, table top",
    "shelf": "shelf, rack",
    "object": "object, objects, thing, item",
}

RELATIONS: Mapping[str, str] = {
    "into": "into, inside, inside of, to the inside of",
    "in": "in, within",
    "onto": "onto, on top of, on top, on to, upon",
    "on": "on, atop",
    "next_to": "next to, beside, alongside, by the side of, close to, near to",
    "between": "between",
    "behind": "behind, in back of",
    "in_front_of": "in front of",
    "under": "under, underneath, beneath, below",
    "over": "over",
    "left_of": "left of, to the left of, on the left of",
    "right_of": "right of, to the right of, on the right of",
    "off": "off, off of",
    "at": "at",
    "past": "past, around, past the side of",
}

ENDS = frozenset({"into", "onto"})
"""Relations that always name where the object ends, whatever the verb."""

PHRASES: Mapping[tuple[str, ...], tuple[Kind, str]] = {
    **_table(Kind.VERB, {**PICK_VERBS, **PLACE_VERBS, **OTHER_VERBS}),
    **_table(Kind.COLOR, COLORS),
    **_table(Kind.OBJECT, OBJECTS),
    **_table(Kind.RELATION, RELATIONS),
    **_table(
        Kind.SIDE,
        {
            "left": "left, leftmost",
            "right": "right, rightmost",
            "center": "center, centre, middle, central",
            "front": "front, frontmost",
            "back": "back, rear, rearmost",
            "near": "near, nearest, closest, closer, nearer",
            "far": "far, farthest, furthest, farther, further",
        },
    ),
    **_table(Kind.SIDE_NOUN, {"side": "side, hand side, half, end, corner"}),
    **_table(Kind.ARM, {"arm": "arm, gripper, manipulator, end effector, hand, claw, robot arm"}),
    **_table(Kind.ARMS, {"arms": "arms, grippers, manipulators, end effectors, hands"}),
    **_table(Kind.BOTH, {"both": "both, two", "three": "three"}),
    **_table(
        Kind.MATERIAL, _same("wooden", "plastic", "metal", "glass", "paper", "rubber", "ceramic", "soft")
    ),
    **_table(
        Kind.SIZE,
        _same(
            "small",
            "large",
            "big",
            "tall",
            "short",
            "round",
            "square",
            "tiny",
            "long",
            "thin",
            "flat",
            "largest",
            "smallest",
        ),
    ),
    **_table(Kind.STATE, _same("empty", "full", "closed", "stacked")),
    **_table(Kind.PRONOUN, {"it": "it, its, them, this, that, one, ones"}),
    **_table(Kind.FROM, {"from": "from, out of"}),
    **_table(Kind.TOWARD, {"toward": "to, toward, towards"}),
    **_table(Kind.INSTRUMENT, {"with": "with, using, use, uses, by, via, with only"}),
    **_table(
        Kind.REGION, _same("handle", "body", "rim", "edge", "neck", "tip", "surface", "base", "bottom", "top")
    ),
    **_table(
        Kind.DIRECTION,
        {"above": "above, overhead", "up": "up, upward, upwards", "forward": "forward, forwards"},
    ),
    **_table(Kind.DIRECTION, {"down": "down, downward, downwards", "backward": "backward, backwards"}),
    **_table(
        Kind.ROTATION,
        {
            "clockwise": "clockwise",
            "counterclockwise": "counterclockwise, anticlockwise, counter clockwise, anti clockwise",
        },
    ),
    **_table(
        Kind.PATH,
        {
            "straight": "straight, in a straight line",
            "arc": "in an arc, arc, along an arc",
            "curved": "curved",
        },
    ),
    **_table(
        Kind.POSE,
        _same("lying", "standing")
        | {"upright": "upright, vertical, vertically", "horizontal": "horizontal, horizontally"}
        | {"tilted": "tilted", "upside_down": "upside down", "on_its_side": "on its side"},
    ),
    **_table(
        Kind.GRIPPER_STATE,
        {"open": "open the gripper, open your gripper, open the fingers, gripper open"}
        | {"closed": "close the gripper, close your gripper, close the fingers, gripper closed"},
    ),
    **_table(Kind.RETRY, {"retry": "retry, try again, again"}),
    **_table(Kind.BODY, {"base_motion": "drive", "torso_motion": "lean, torso", "camera_motion": "look"}),
    **_table(
        Kind.UNIT,
        {"deg": "degree, degrees, deg", "cm": "cm, centimeter, centimeters, centimetre, centimetres"}
        | {"mm": "mm, millimeter, millimeters, millimetres", "m": "m, meter, meters, metre, metres"},
    ),
    **_table(
        Kind.ROW,
        {
            "": "in a row, into a row, into a row of, in a line",
            "by_size": "by size",
            "by_color": "by color, by colour",
            "left_to_right": "from left to right, left to right",
            "largest_to_smallest": "from largest to smallest, from the largest to the smallest",
        },
    ),
    **_table(
        Kind.RECEIVER,
        {
            "other_arm": "to the other arm, to the other gripper, to the other hand, to the other claw, "
            "to your other arm, to the other, from one arm to the other",
        },
    ),
    **_table(Kind.JOIN, {"and": "and, plus", "or": "or", "then": "then, afterwards, next, finally, first"}),
    **_table(Kind.COPULA, {"is": "is, are, colored, coloured"}),
    **_table(
        Kind.NEGATION,
        {
            "not": "not, no, never, without, avoid, except, neither, nor, dont, don't, doesn't, doesnt, "
            "cannot, can't, instead of, rather than, other than, but not, shouldn't, mustn't, must not, "
            "do not",
        },
    ),
    **_table(
        Kind.FUNCTION,
        {
            "": "a, an, the, your, my, please, kindly, now, just, you, can, could, would, should, will, i, "
            "we, want, need, robot, of, for, me, us, so, which, there, be, color, colour, only, must, let, "
            "as, right now, right away, all right, in that order, in this order, in order to",
        },
    ),
}
"""All phrases. A phrase of several words beats a shorter one that starts at the same word."""

LONGEST = max(len(phrase) for phrase in PHRASES)
"""Words in the longest phrase."""
