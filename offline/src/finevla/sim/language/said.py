"""The claims of a text as values of the ten dimensions, for the check of the values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from finevla.sim.language.reading import Claim
from finevla.sim.language.witness import things
from finevla.sim.scene import SceneSpec

_ACTION = {
    "reach": ("reach", ""),
    "grasp": ("grasp", "closed"),
    "lift": ("lift", ""),
    "carry": ("move", ""),
    "turn": ("rotate", ""),
    "tip": ("rotate", ""),
    "place": ("place", ""),
    "release": ("release", "open"),
    "keep": ("", "closed"),
    "press": ("press", "closed"),
    "retreat": ("retreat", ""),
}
_DIRECTION = {
    "to the left": "left",
    "to the right": "right",
    "away from the robot": "forward",
    "towards the robot": "backward",
}


def values_said(claims: Sequence[Claim], spec: SceneSpec) -> set[tuple[str, str]]:
    """Slots and values that claims amount to."""
    found = {pair for claim in claims for pair in (*_of_hands(claim), *_of_things(claim), *_of_end(claim))}
    for claim in claims:
        if claim.kind in {"grasp", "press"} and len(things(spec, claim.get("thing"))) == 1:
            words = claim.get("thing").removeprefix("the ").split()
            found.add(("category", "cube" if words[-1] == "block" else words[-1]))
            found |= {("color", word) for word in words[:-1]}
    return {(slot, value) for slot, value in found if value}


def _of_hands(claim: Claim) -> Iterable[tuple[str, str]]:
    action, gripper = _ACTION.get(claim.kind, ("", ""))
    yield "primitive_action", action
    yield "gripper_state", gripper or claim.get("grip")
    if claim.kind == "one_arm":
        yield "actor", f"{claim.get('side')}_arm"
    if claim.kind == "two_arms":
        yield "actor", "both_arms"
    yield "contact_region", claim.get("part")
    yield "approach_direction", claim.get("origin").replace("above", "top")


def _of_things(claim: Claim) -> Iterable[tuple[str, str]]:
    if claim.kind == "carry":
        yield "translation_direction", _DIRECTION.get(claim.get("direction"), "")
        yield "translation_extent", f"{claim.get('cm')}_cm"
        yield "path_shape", f"around_{claim.get('past')}" if claim.get("past") else ""
    if claim.kind == "press":
        yield "translation_direction", "down"
    if claim.kind == "turn":
        yield "rotation_direction", claim.get("rotation")
        yield "rotation_angle", f"{claim.get('degrees')}_deg"
    if claim.kind == "sizes":
        yield "shape_or_size", f"largest_{claim.get('thing').split()[1]}"
    if claim.kind == "keep":
        yield "final_state", "held"


def _of_end(claim: Claim) -> Iterable[tuple[str, str]]:
    if claim.kind in {"start", "end"}:
        when = "initial" if claim.kind == "start" else "final"
        yield f"{when}_pose", claim.get("pose")
        parts = (claim.get("lateral"), claim.get("depth").removesuffix(" from"))
        yield f"{when}_workspace_location", "_".join(part for part in parts if part)
        yield f"{when}_relation", _joined(claim.get("support"))
        if claim.get("other"):
            yield "initial_relation", _joined(f"{claim.get('beside')} of {claim.get('other')}")
    if claim.kind == "row":
        colors = claim.get("colors").replace(" and ", ", ").split(", ")
        yield "final_relation", f"row_left_to_right_{'_'.join(colors)}"
    if claim.kind == "miss":
        yield "failure", "missed_grasp"
    if claim.kind == "first_try":
        yield "attempt_count", "1"
    if claim.kind == "tries":
        yield "attempt_count", claim.get("count")
    if claim.kind == "undisturbed":
        yield "interaction_type", "none"
    if claim.kind == "pushed":
        yield "interaction_type", "push"
        yield "affected_object", _joined(claim.get("thing").removeprefix("the "))
    if claim.kind == "base":
        yield "base_motion", "stationary"


def _joined(words: str) -> str:
    return words.replace(" the ", " ").replace(" ", "_")
