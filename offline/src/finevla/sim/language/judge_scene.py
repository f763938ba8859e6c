"""Judges claims about who acts, and about what is where before and after."""

from __future__ import annotations

import numpy as np

from finevla.contract import ARM_SIDES
from finevla.sim.language.reading import Claim
from finevla.sim.language.witness import Episode, rotation, things
from finevla.sim.scene import FIXED, Kind, ObjectSpec

CM = 1.6
"""Tolerance of lengths in cm."""


class SceneJudge:
    """Judges of single claims, `_on_KIND`: a reason why the claim is not true, or nothing."""

    def __init__(self, episode: Episode) -> None:
        self._e = episode

    def _item(self, claim: Claim, word: str = "thing") -> ObjectSpec:
        return things(self._e.spec, claim.get(word))[0]

    def _presser(self, item: ObjectSpec, t: int) -> str:
        return min(ARM_SIDES, key=lambda side: float(self._e.gap(side, item)[t]))

    def _acting(self, *, plainly: bool = False) -> set[str]:
        found = {carry.side for carry in self._e.carries if carry.plain or not plainly}
        for item in self._e.spec.of(Kind.BUTTON):
            pressed = self._e.pressed_at(item.name)
            found |= {self._presser(item, pressed)} if pressed is not None else set()
        return found

    def _pose(self, name: str, t: int) -> set[str]:
        rise = float(rotation(self._e.poses[name][t])[2, 0])
        return {word for word, good in (("upright", rise > 0.9), ("lying", abs(rise) < 0.4)) if good}

    def _on_one_arm(self, claim: Claim) -> str:
        side = claim.get("side")
        good = side in self._acting() and self._acting(plainly=True) <= {side}
        return "" if good else f"arms that act: {sorted(self._acting())}"

    def _on_two_arms(self, _: Claim) -> str:
        return "" if self._acting() == set(ARM_SIDES) else f"arms that act: {sorted(self._acting())}"

    def _on_rest(self, claim: Claim) -> str:
        moved = float(np.ptp(self._e.tips[claim.get("side")], axis=0).max())
        return "" if moved < 0.02 else f"it moves by {100 * moved:.1f} cm"

    def _on_start(self, claim: Claim) -> str:
        return self._where(claim, 0)

    def _on_end(self, claim: Claim) -> str:
        return self._where(claim, self._e.frames - 1)

    def _where(self, claim: Claim, t: int) -> str:
        item = self._item(claim)
        place = self._e.poses[item.name][t]
        x, y = float(place[0]), float(place[1])
        pose, support = claim.get("pose"), claim.get("support")
        tests = {
            claim.get("lateral"): {"left": y > 0.03, "right": y < -0.03, "center": abs(y) < 0.02},
            claim.get("depth"): {"near": x < 0.21, "far from": x > 0.29},
        }
        for said, good in tests.items():
            if said and not good[said]:
                return f"it is at x {x:.3f}, y {y:.3f} m"
        if pose and (item.kind is not Kind.BOTTLE or pose not in self._pose(item.name, t)):
            return "its pose is another"
        if support and support not in self._e.supports(item, t):
            return f"it is {sorted(self._e.supports(item, t))}"
        if claim.get("other"):
            rel = place - self._e.poses[self._item(claim, "other").name][t]
            across = float(rel[1]) if claim.get("beside") == "left" else -float(rel[1])
            return "" if across > max(0.03, abs(float(rel[0]))) else "it is on another side of that"
        return ""

    def _on_sizes(self, claim: Claim) -> str:
        edges = {o.name: o.size[0] for o in self._e.spec.of(Kind.CUBE)}
        largest, smallest = self._item(claim).name, self._item(claim, "smallest").name
        good = edges.get(largest) == max(edges.values()) and edges.get(smallest) == min(edges.values())
        return "" if good and largest != smallest else f"edges in m: {edges}"

    def _on_row(self, claim: Claim) -> str:
        said = claim.get("colors").replace(" and ", ", ").split(", ")
        places = {o.color: self._e.poses[o.name][-1] for o in self._e.spec.of(Kind.CUBE)}
        if set(said) != set(places):
            return f"the cubes are {sorted(places)}"
        depths = [float(place[0]) for place in places.values()]
        seen = sorted(places, key=lambda color: float(places[color][1]), reverse=True)
        return "" if seen == said and max(depths) - min(depths) < 0.06 else f"they are {seen}"

    def _on_first_try(self, _: Claim) -> str:
        names = {carry.name for carry in self._e.carries}
        counts = {name: self._e.attempts(self._e.spec.object(name)) for name in names}
        return "" if names and set(counts.values()) <= {1} else f"attempts: {counts}"

    def _on_tries(self, claim: Claim) -> str:
        count = self._e.attempts(self._item(claim))
        return "" if count == int(claim.get("count")) else f"attempts: {count}"

    def _on_undisturbed(self, _: Claim) -> str:
        acted = {carry.name for carry in self._e.carries}
        for item in self._e.spec.objects:
            way = self._e.poses[item.name][:, :3] - self._e.poses[item.name][0, :3]
            if (
                item.name not in acted
                and item.kind not in FIXED
                and np.linalg.norm(way, axis=1).max() > 0.012
            ):
                return f"{item.name} moves by {100 * np.linalg.norm(way, axis=1).max():.1f} cm"
        return ""

    def _on_pushed(self, claim: Claim) -> str:
        item = self._item(claim)
        if any(carry.name == item.name for carry in self._e.carries):
            return "it is held, not pushed"
        path = self._e.poses[item.name]
        way = 100 * float(np.linalg.norm(path[-1, :3] - path[0, :3]))
        return "" if abs(way - int(claim.get("cm"))) < CM and way > 1.0 else f"it moves by {way:.1f} cm"

    def _on_base(self, _: Claim) -> str:
        """The arms stand on bases that have no joints: all motion that was measured is of the arms."""
        return (
            "" if self._e.joints.shape[1] == len(self._e.contract.joint_names) else "there are other joints"
        )

    def _on_nothing(self, _: Claim) -> str:
        return "" if not self._acting(plainly=True) else f"arms that act: {sorted(self._acting())}"
