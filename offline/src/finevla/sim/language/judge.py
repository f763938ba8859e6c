"""Judges the claims of a text about an episode, in their order, by what a recording shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np

from finevla.sim.language.judge_scene import CM, SceneJudge
from finevla.sim.language.reading import Claim
from finevla.sim.language.witness import Carry, Episode, heading, rotation, things
from finevla.sim.scene import Kind, ObjectSpec
from finevla.sim.truth import FloatArray

DEGREES = 12.0
"""Tolerance of angles."""
_ONCE = frozenset({"start", "end", "retreat", "rest", "one_arm", "two_arms", "tries", "pushed"})
"""Claims that are made once of each thing or arm."""


class Judge(SceneJudge):
    """Judges the claims of one text in their order; carries are used up one after the other."""

    def __init__(self, episode: Episode) -> None:
        super().__init__(episode)
        self._open = list(episode.carries)
        self._now: dict[str, Carry] = {}
        self._last_grasp = -1
        self._reached: dict[str, str] = {}
        self._said: set[tuple[str, str, str]] = set()
        self._pressed: list[str] = []
        self._judges: Mapping[str, Callable[[Claim], str]] = {
            name.removeprefix("_on_"): getattr(self, name) for name in dir(self) if name.startswith("_on_")
        }

    def judge(self, claims: list[Claim]) -> list[str]:
        """Reasons why claims are not true, with their sentences."""
        self._open = self._expected(claims)
        found = []
        for claim in claims:
            reason = self._one(claim)
            if reason:
                found.append(f"{claim.text!r}: {reason}")
        pressed = {name for name in self._e.buttons if self._e.pressed_at(name) is not None}
        if pressed - set(self._pressed):
            found.append(f"not told: {sorted(pressed - set(self._pressed))} pressed")
        if self._open:
            names = [f"{carry.name} in the {carry.side} gripper" for carry in self._open]
            found.append(f"not told: {', '.join(names)}")
        return found

    def _expected(self, claims: list[Claim]) -> list[Carry]:
        """What is to be told: of what is not plainly a hold, only as much as is told."""
        told = Counter(
            (claim.get("side"), things(self._e.spec, claim.get("thing"))[0].name)
            for claim in claims
            if claim.kind == "grasp" and len(things(self._e.spec, claim.get("thing"))) == 1
        )
        kept = list(self._e.carries)
        for carry in self._e.carries:
            key = (carry.side, carry.name)
            if not carry.plain and sum((c.side, c.name) == key for c in kept) > told[key]:
                kept.remove(carry)
        return kept

    def _one(self, claim: Claim) -> str:
        if claim.kind == "unread":
            return "cannot be read"
        for word in ("thing", "other", "smallest"):
            if claim.get(word) and len(things(self._e.spec, claim.get(word))) != 1:
                return f"no such thing, or several: {claim.get(word)}"
        key = (claim.kind, claim.get("side"), claim.get("thing"))
        if claim.kind in _ONCE and key in self._said:
            return "it is told twice"
        self._said.add(key)
        return self._judges[claim.kind](claim)

    def _held(self, claim: Claim) -> Carry | None:
        """What the claim speaks of, if the named hand holds or has just held the named thing."""
        carry = self._now.get(claim.get("side"))
        return carry if carry is not None and carry.name == self._item(claim).name else None

    # ---- hands

    def _on_reach(self, claim: Claim) -> str:
        item, side = self._item(claim), claim.get("side")
        if side in self._reached:
            return "that hand was just told to reach for something else"
        self._reached[side] = item.name
        if item.kind is Kind.BUTTON:
            pressed = self._e.pressed_at(item.name)
            if pressed is None or self._presser(item, pressed) != side:
                return "that hand does not press it"
            start = pressed
        else:
            ahead = [c for c in self._open if c.name == item.name and c.side == side]
            if not ahead:
                return "that hand does not take it"
            start = ahead[0].first
        return self._came_from(side, start, claim.get("origin")) or self._grip_before(
            side, start, claim.get("grip")
        )

    def _came_from(self, side: str, start: int, origin: str) -> str:
        """Compares with the directions to the hand's places 3 to 8 cm before, along its way."""
        if not origin:
            return ""
        # Fingers close for some frames after the hand has arrived; the way before is what counts.
        tips = self._e.tips[side][: start + 1]
        back = np.linalg.norm(tips - tips[-1], axis=1)
        far = np.nonzero(back >= 0.055)[0]
        if not len(far):
            return "the hand did not come from anywhere"
        came = (tips[far[-1]] - tips[-1]) / back[far[-1]]
        steep = float(np.degrees(np.arcsin(np.clip(came[2], -1.0, 1.0))))
        if origin == "above":
            return "" if steep > 42.0 else f"the hand came at {steep:.0f} degrees"
        sideways = came[1] > 0.5 if origin == "left" else came[1] < -0.5
        return "" if steep < 48.0 and sideways else f"the hand came from {np.round(came, 2).tolist()}"

    def _grip_before(self, side: str, start: int, grip: str) -> str:
        before = self._e.openings[side][max(start - 8, 0) : start + 1]
        if grip == "open" and float(before.max()) < 0.035:
            return "the gripper was not open"
        if grip == "closed" and float(before[-1]) > 0.020:
            return "the gripper was not closed"
        return ""

    def _on_grasp(self, claim: Claim) -> str:
        item, side = self._item(claim), claim.get("side")
        if self._reached.pop(side, item.name) != item.name:
            return "that hand was told to reach for something else"
        carry = next((c for c in self._open if c.name == item.name and c.side == side), None)
        if carry is None:
            return "that hand does not hold it, or not again"
        self._open.remove(carry)
        self._now[side] = carry
        if carry.first < self._last_grasp:
            return "it was grasped before the one told before"
        self._last_grasp = carry.first
        return self._part(carry, item, claim.get("part")) or self._giver(carry, claim.get("giver"))

    def _part(self, carry: Carry, item: ObjectSpec, part: str) -> str:
        if not part:
            return ""
        t = (carry.first + carry.last) // 2
        pose = self._e.poses[item.name][t]
        own = rotation(pose).T @ (self._e.tips[carry.side][t] - pose[:3])
        if item.kind is Kind.CUP:
            # The handle stands out along the cup's own x.
            out = float(own[0]) > item.size[0] + 0.004
            good = {"handle": out, "body": not out}.get(part, False)
        elif item.kind is Kind.BOTTLE:
            start = item.size[1] / 4
            good = {"neck": own[0] > start - 0.013, "belly": own[0] < start + 0.013}.get(part, False)
        else:
            good = False
        return "" if good else f"the pads were at {np.round(100 * own, 1).tolist()} cm in its own frame"

    def _giver(self, carry: Carry, giver: str) -> str:
        others = [c for c in self._e.carries if c.name == carry.name and c.side != carry.side]
        holding = [c.side for c in others if c.first <= carry.first <= c.last]
        if giver and giver not in holding:
            return f"the {giver} gripper does not hold it then"
        return "" if giver or not holding else f"the {holding[0]} gripper still holds it"

    def _on_miss(self, claim: Claim) -> str:
        item, side = self._item(claim), claim.get("side")
        starts = [c.first for c in self._e.carries if c.side == side and c.name == item.name and c.plain]
        for t in self._e.closings(side):
            if float(self._e.gap(side, item)[t]) < 0.050 and all(abs(t - start) > 2 for start in starts):
                return ""
        return "no such closing of the gripper"

    def _on_release(self, claim: Claim) -> str:
        carry = self._held(claim)
        if carry is None:
            return "that hand does not hold it"
        del self._now[carry.side]
        after = self._e.openings[carry.side][carry.last :]
        grip = float(after[0])
        return "" if float(after[:8].max()) > grip + 0.006 else "the gripper does not open"

    def _on_keep(self, claim: Claim) -> str:
        carry = self._held(claim)
        return (
            "" if carry is not None and carry.last == self._e.frames - 1 else "it is not held until the end"
        )

    def _on_retreat(self, claim: Claim) -> str:
        side, tips = claim.get("side"), self._e.tips[claim.get("side")]
        ends = [c.last for c in self._e.carries if c.side == side]
        ends += [t for name in self._e.buttons if (t := self._e.pressed_at(name)) is not None]
        if not ends or max(ends) == self._e.frames - 1:
            return "that arm has not done anything, or has not ended"
        far = float(np.linalg.norm(tips[-1] - tips[max(ends)]))
        return "" if far > 0.028 else f"it is only {100 * far:.1f} cm away"

    def _on_press(self, claim: Claim) -> str:
        item, side = self._item(claim), claim.get("side")
        pressed = self._e.pressed_at(item.name) if item.kind is Kind.BUTTON else None
        if pressed is None:
            return "it is not pressed"
        self._pressed.append(item.name)
        if self._reached.pop(side, item.name) != item.name:
            return "that hand was told to reach for something else"
        if self._presser(item, pressed) != side:
            return "the other hand presses it"
        return "" if float(self._e.openings[side][pressed]) < 0.020 else "the gripper is open"

    # ---- what is held

    def _path(self, claim: Claim) -> FloatArray | None:
        carry = self._held(claim)
        return None if carry is None else self._e.poses[carry.name][carry.first : carry.last + 1]

    def _on_lift(self, claim: Claim) -> str:
        carry = self._held(claim)
        if carry is None:
            return "that hand does not hold it"
        height = self._e.poses[carry.name][:, 2]
        # Fingers that meet a thing askew are seen as closed a moment after it has begun to rise.
        before = float(height[max(carry.first - 3, 0) : carry.first + 1].min())
        rise = 100 * (float(height[carry.first : carry.last + 1].max()) - before)
        return "" if abs(rise - int(claim.get("cm"))) < CM else f"it rises by {rise:.1f} cm"

    def _on_carry(self, claim: Claim) -> str:
        path = self._path(claim)
        if path is None:
            return "that hand does not hold it"
        way = 100 * (path[-1, :2] - path[0, :2])
        if abs(float(np.hypot(*way)) - int(claim.get("cm"))) > CM:
            return f"it goes {np.hypot(*way):.1f} cm"
        ahead = {"to the left": way[1], "to the right": -way[1]}
        ahead |= {"away from the robot": way[0], "towards the robot": -way[0]}
        said = claim.get("direction")
        if said and ahead[said] < 0.65 * float(np.hypot(*way)):
            return f"it goes {np.round(way, 1).tolist()} cm in x and y"
        return self._passes(path, claim.get("past"))

    def _passes(self, path: FloatArray, past: str) -> str:
        if not past:
            return ""
        for pillar in self._e.spec.of(Kind.PILLAR):
            beside = path[np.argmin(np.abs(path[:, 0] - pillar.x))]
            if float(np.ptp(path[:, 0])) > 0 and (beside[1] > pillar.y) == (past == "left"):
                return ""
        return "it does not pass there"

    def _on_turn(self, claim: Claim) -> str:
        path = self._path(claim)
        if path is None:
            return "that hand does not hold it"
        angles = np.degrees(heading(path))
        turn = float(angles[-1] - angles[0])
        same = (turn > 0) == (claim.get("rotation") == "counterclockwise")
        good = same and abs(abs(turn) - int(claim.get("degrees"))) < DEGREES
        return "" if good else f"it turns by {turn:.0f} degrees, counterclockwise positive"

    def _on_tip(self, claim: Claim) -> str:
        carry = self._held(claim)
        if carry is None:
            return "that hand does not hold it"
        before, after = self._pose(carry.name, carry.first), self._pose(carry.name, carry.last)
        wanted = claim.get("pose")
        return "" if wanted in after and wanted not in before else f"it is {after} then"

    def _on_place(self, claim: Claim) -> str:
        carry = self._held(claim)
        if carry is None:
            return "that hand does not hold it"
        where = claim.get("into").replace("into", "in", 1).replace("onto", "on", 1)
        item = self._item(claim)
        times = range(carry.last, min(carry.last + 8, self._e.frames))
        found: set[str] = set().union(*(self._e.supports(item, t) for t in times))
        return "" if where in found else f"it is {sorted(found)}"
