"""Which values of a goal's fields a recording shows, for the check of the instruction itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from finevla.sim.language.judge import Judge
from finevla.sim.language.witness import Carry, Episode, heading
from finevla.sim.scene import Kind

_TURNED_RAD = 0.35


class Shown(Judge):
    """What was done, in the words of a goal; None where nothing of it was."""

    def __init__(self, episode: Episode) -> None:
        super().__init__(episode)
        self._first: Carry | None = next(iter(episode.carries), None)
        self._tests: Mapping[str, Callable[[Any], Any]] = {
            "arm": lambda _: self._arm(),
            "color": lambda _: self._color(),
            "order": lambda asked: self._order(len(asked)),
            "approach": self._approach,
            "contact": self._contact,
            "side": self._passed,
            "rotation": lambda _: self._turn(),
            "pose": self._stands,
            "bowl": self._bowl,
        }

    def values(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """For each field that was asked for, the value that is shown."""
        return {name: self._tests[name](value) for name, value in asked.items()}

    def _arm(self) -> str | None:
        """The arm that held or pressed first; in a handover it is the one that gives."""
        if self._first is not None:
            return self._first.side
        return next(iter(self._acting()), None)

    def _color(self) -> str | None:
        held = {carry.name for carry in self._e.carries}
        held |= {name for name in self._e.buttons if self._e.pressed_at(name) is not None}
        colors = {self._e.spec.object(name).color for name in held}
        return colors.pop() if len(colors) == 1 else None

    def _order(self, count: int) -> tuple[str, ...]:
        names = dict.fromkeys(carry.name for carry in self._e.carries)
        return tuple(self._e.spec.object(name).color for name in names)[:count]

    def _approach(self, asked: str) -> str | None:
        if self._first is None:
            return None
        return None if self._came_from(self._first.side, self._first.first, asked) else asked

    def _contact(self, asked: str) -> str | None:
        if self._first is None:
            return None
        item = self._e.spec.object(self._first.name)
        return None if self._part(self._first, item, asked) else asked

    def _passed(self, asked: str) -> str | None:
        paths = [self._e.poses[c.name][c.first : c.last + 1] for c in self._e.carries]
        return asked if any(not self._passes(path, asked) for path in paths) else None

    def _turn(self) -> str | None:
        for item in self._e.spec.movable:
            angles = heading(self._e.poses[item.name])
            turn = float(angles[-1] - angles[0])
            if abs(turn) > _TURNED_RAD:
                return "counterclockwise" if turn > 0 else "clockwise"
        return None

    def _stands(self, asked: str) -> str | None:
        names = [item.name for item in self._e.spec.of(Kind.BOTTLE)]
        return asked if any(asked in self._pose(name, self._e.frames - 1) for name in names) else None

    def _bowl(self, asked: str) -> str | None:
        last = self._e.frames - 1
        inside = [self._e.supports(item, last) for item in self._e.spec.movable]
        return asked if any(f"in the {asked} bowl" in found for found in inside) else None
