"""The left-right mirror image of the robot: joints, cameras and words.

The two arms stand on either side of the plane y = 0. Mirrored in it, each arm becomes the other. A
revolute joint whose axis lies in its arm's vertical plane (1, 4 and 6) turns the other way, one
whose axis stands at right angles to that plane (2, 3 and 5) turns as before; a gripper opens as
before. Pictures are flipped along their x axis and the wrist cameras change places. Words for sides
and for the sense of a rotation are exchanged.

Every image is an involution: the image of an image is the original. What has no such image, a
sentence above all, has none; nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from finevla.contract.images import WorkspaceCrop
from finevla.contract.robot import ARM_SIDES, RobotContract
from finevla.errors import ContractError

_REVERSED = (0, 3, 5)
"""Joints of an arm, counted from 0, that turn the other way in the mirror."""
_TOLERANCE = 1e-9

_PAIRS = (("left", "right"), ("clockwise", "counterclockwise"))
_ENDINGS = ("", "most", "ward", "wards")
_SWAPS: Mapping[str, str] = {
    f"{word}{ending}": f"{other}{ending}"
    for pair in _PAIRS
    for word, other in (pair, pair[::-1])
    for ending in (_ENDINGS if pair[0] == "left" else ("",))
}
_WORD = re.compile(r"[^\W\d_]+")
_ORDER = re.compile(
    r"\b(?:left|right)(?:most)?[\s-]+to[\s-]+(?:the[\s-]+|its[\s-]+)?(?:left|right)(?:most)?\b"
)
_OTHER_SENSE = re.compile(
    # "right now"; "put it right in the bowl" and "the cubes left on the table", but not "to the right in an
    # arc"; "what is left" and "the arm left the table"; spellings that do not lead back
    r"\bright[\s-]+(?:now|away|after|before|angles?|way|side[\s-]+up)\b|\b(?:all|just)[\s-]+right\b"
    r"|(?<!\bthe )(?<!\bto )(?<!\bfrom )\b(?:left|right) (?:on|in|into|onto|at|over|behind|out|alone|here)\b"
    r"|\b(?:is|are|was|were|be) left\b(?! of)|\bleft the\b"
    r"|\b(?:counter|anti)[\s-]+clockwise\b"
)
_ABOUT_SIDES = re.compile(r"left|right|clockwise")
_HARMLESS = frozenset({"upright", "bright", "brightly", "brighter", "brightest", "cleft"})
_SINGLE_LETTERS = frozenset({"l", "r", "lh", "rh"})


class Mirror:
    """The mirror of one robot.

    Args:
        contract: The robot.
        without: Phrases; a sentence that holds one has no mirror image. What must not be trained on is
            not made in the mirror either.

    Raises:
        ContractError: The robot is not its own mirror image: arms that stand unlike, or joints that
            turn further to one side.
    """

    def __init__(self, contract: RobotContract, without: Sequence[str] = ()) -> None:
        _require_symmetric(contract)
        spans = [np.arange(contract.dof)[contract.arm_slice(side)] for side in ARM_SIDES]
        self._order = np.concatenate(spans[::-1])
        signs = np.ones(contract.dof)
        for span in spans:
            signs[span[list(_REVERSED)]] = -1.0
        self._signs = signs
        self._without = tuple(phrase.casefold() for phrase in without)

    def joints(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Joint values (..., dof) of the mirrored robot, rad and m."""
        mirrored: NDArray[np.float64] = values[..., self._order] * self._signs
        return mirrored

    def partners(self, images: Mapping[str, WorkspaceCrop]) -> NDArray[np.int64]:
        """For each camera of `images`, in order, the one that sees the mirror image of its picture.

        Raises:
            ContractError: A camera lacks the one of the other side, or the crop of one is not the
                mirror image of the other's.
        """
        names = list(images)
        partners: list[int] = []
        for name, image in images.items():
            other = _other_side(name)
            if other not in images:
                raise _no_mirror_image(name, f"a picture of {other} too", f"only {', '.join(names)}")
            width, (left, top, right, bottom) = image.source[0], image.box
            expected = WorkspaceCrop(image.source, (width - right, top, width - left, bottom), image.size)
            if images[other] != expected:
                raise _no_mirror_image(name, f"{other} cropped to {expected.box}", images[other].box)
            partners.append(names.index(other))
        return np.array(partners, dtype=np.int64)

    def text(self, text: str) -> str | None:
        """The sentence about the mirrored scene; None where it has no certain mirror image.

        Exchanges left and right, clockwise and counterclockwise, and keeps the case. There is none
        for an order in space ("from left to right"), whose mirror image is told from the other side;
        for "right" in another sense ("right now"); for spellings that do not lead back
        ("anticlockwise", "counter clockwise"); for other words that hold a side ("lefty");
        for letters of another script; and for lone letters that may stand for sides. And none where it
        or its image holds one of the phrases to do without.
        """
        image = _exchanged(text)
        if any(phrase in told.casefold() for phrase in self._without for told in (text, image)):
            return None
        leads_back = _exchanged(image) == text and _is_certain(text) and _is_certain(image)
        return image if leads_back else None


def _is_certain(text: str) -> bool:
    """Whether left, right and the like can only mean sides here."""
    plain = text.casefold()
    if _ORDER.search(plain) or _OTHER_SENSE.search(plain):
        return False
    words = _WORD.findall(plain)
    return all(
        word.isascii() and word not in _SINGLE_LETTERS and not _is_unknown_side(word) for word in words
    )


def _exchanged(text: str) -> str:
    return _WORD.sub(lambda match: _swapped(match[0]), text)


def _swapped(word: str) -> str:
    other = _SWAPS.get(word.lower())
    if other is None:
        return word
    if word.isupper():
        return other.upper()
    return other.capitalize() if word[0].isupper() else other


def _is_unknown_side(word: str) -> bool:
    return bool(_ABOUT_SIDES.search(word)) and word not in _SWAPS and word not in _HARMLESS


def _other_side(camera: str) -> str:
    """The name with its side exchanged; the name itself where it has no side."""
    left, right = ARM_SIDES
    swap = {left: right, right: left}
    return "_".join(swap.get(part, part) for part in camera.split("_"))


def _no_mirror_image(camera: str, expected: str, found: object) -> ContractError:
    return ContractError(
        "the pictures have no mirror image",
        where=camera,
        expected=expected,
        found=found,
        remedy="choose a box in the middle of the picture (--crop), add the camera of the other side, or "
        "train without mirror images",
    )


def _require_symmetric(contract: RobotContract) -> None:
    left, right = (contract.arms[side] for side in ARM_SIDES)
    x, y, z = left.base_xyz_m
    problem = ""
    if not np.allclose(right.base_xyz_m, (x, -y, z), rtol=0.0, atol=_TOLERANCE):
        problem = f"bases at {left.base_xyz_m} and {right.base_xyz_m} m"
    for number, (one, other) in enumerate(zip(left.joints, right.joints, strict=True)):
        limits = (-other.upper, -other.lower) if number in _REVERSED else (other.lower, other.upper)
        if not np.allclose((one.lower, one.upper), limits, rtol=0.0, atol=_TOLERANCE):
            spans = (f"{joint.name} within {joint.lower}..{joint.upper}" for joint in (one, other))
            problem = ", ".join(spans)
    if problem:
        raise ContractError(
            "the robot is not its own mirror image",
            where=contract.name,
            expected="arms on either side of y = 0 whose joints turn as far in the mirror",
            found=problem,
            remedy="train without mirror images",
        )
