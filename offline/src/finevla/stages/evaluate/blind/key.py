"""Rating by a person who does not know what was asked: the plan and the sealed key.

Every run has a random name, which is all that its video and the scoring page carry. The key, kept
apart from them, says which pair, which goal and which sentence a name stands for. Which of the two
instructions of a pair comes first is drawn, and videos are shown in the order of their random names.
The key is sealed: a hash over all that it said before the first run is in the page and in the answers,
so that neither can be joined with another or an altered key.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

from finevla.errors import FineVLAError
from finevla.files import plain
from finevla.sim.goal import Goal
from finevla.sim.tasks import sample_scene
from finevla.stages.evaluate.plan import Pair

KIND = "finevla blind key"
REJECTED = "rejected"
NAME_BITS = 64


@dataclass(frozen=True, slots=True)
class Planned:
    """A run: its random name, its pair by place in the plan, and which of the pair's goals it has."""

    name: str
    pair: int
    goal: int


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended, as the graph said; a rejected instruction has no video. `seconds`: its length."""

    ending: str
    reason_code: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Key:
    """What the names stand for.

    Attributes:
        nonce: Random; without it the seal would give the key away to whoever tries all keys.
        factors: Names of the rows of the result.
        pairs: The plan.
        runs: In the order in which they are carried out.
        provenance: What acts; JSON types.
        ended: How the runs that were carried out ended, by name.
    """

    nonce: str
    factors: tuple[str, ...]
    pairs: tuple[Pair, ...]
    runs: tuple[Planned, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    ended: Mapping[str, Ended] = field(default_factory=dict)

    @property
    def seal(self) -> str:
        """Hash over all that was fixed before the first run."""
        text = json.dumps(_fixed(self), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def left(self) -> tuple[Planned, ...]:
        """The runs that are still to be carried out."""
        return tuple(run for run in self.runs if run.name not in self.ended)

    @property
    def videos(self) -> tuple[Planned, ...]:
        """The runs that a person rates, in the order in which they are shown."""
        done = [run for run in self.runs if run.name in self.ended]
        return tuple(sorted((r for r in done if self.ended[r.name].ending != REJECTED), key=lambda r: r.name))

    def goal(self, run: Planned) -> Goal:
        """What a run was asked for."""
        return self.pairs[run.pair].goals[run.goal]

    def text(self, run: Planned) -> str:
        """The sentence of a run."""
        return self.pairs[run.pair].texts[run.goal]

    def after(self, run: Planned, ended: Ended) -> Key:
        """The same key with one more run carried out."""
        return replace(self, ended={**self.ended, run.name: ended})


def new_key(pairs: Sequence[Pair], factors: Sequence[str], provenance: Mapping[str, Any], rng: Random) -> Key:
    """Draws names and the order within pairs.

    Args:
        pairs: The plan.
        factors: Names of its rows.
        provenance: What acts.
        rng: Whose numbers nobody can foretell: `random.SystemRandom()`.
    """
    runs: list[Planned] = []
    names: set[str] = set()
    for number in range(len(pairs)):
        for goal in rng.sample((0, 1), 2):
            while (name := f"{rng.getrandbits(NAME_BITS):016x}") in names:
                pass
            names.add(name)
            runs.append(Planned(name, number, goal))
    nonce = f"{rng.getrandbits(128):032x}"
    return Key(nonce, tuple(factors), tuple(pairs), tuple(runs), plain(provenance))


def key_path(folder: Path) -> Path:
    """Where the key of a folder with videos lies: beside it, so that the folder can be handed on alone."""
    whole = folder.resolve()
    return whole.with_name(f"{whole.name}.key.json")


def key_document(key: Key) -> dict[str, Any]:
    """The key in types that JSON knows."""
    ended = {name: asdict(entry) for name, entry in key.ended.items()}
    return {"seal": key.seal, **_fixed(key), "provenance": dict(key.provenance), "ended": ended}


def _fixed(key: Key) -> dict[str, Any]:
    runs = [asdict(run) | {"instruction": key.text(run)} for run in key.runs]
    return {
        "kind": KIND,
        "nonce": key.nonce,
        "factors": list(key.factors),
        "pairs": [_pair_document(pair) for pair in key.pairs],
        "runs": runs,
    }


def _pair_document(pair: Pair) -> dict[str, Any]:
    spec = pair.spec
    scene = {"task": spec.task, "seed": spec.seed, "hard": spec.hard, "variant": spec.variant}
    return {
        "factor": pair.factor,
        "number": pair.number,
        "scene": scene,
        "goals": [plain(goal) for goal in pair.goals],
        "template": pair.template,
        "passed_over": pair.passed_over,
    }


def key_from(document: Mapping[str, Any], where: object) -> Key:
    """The key of a document of `key_document`.

    Raises:
        FineVLAError: It is no key, or not as it was sealed.
    """
    try:
        key = Key(
            nonce=document["nonce"],
            factors=tuple(document["factors"]),
            pairs=tuple(_pair_from(pair) for pair in document["pairs"]),
            runs=tuple(Planned(run["name"], run["pair"], run["goal"]) for run in document["runs"]),
            provenance=document["provenance"],
            ended={name: Ended(**entry) for name, entry in document["ended"].items()},
        )
        sealed, found = document["seal"], key.seal
    except (KeyError, TypeError, IndexError, AttributeError) as err:
        raise FineVLAError(
            "the key cannot be read",
            where=where,
            expected=f"a document of the kind {KIND!r}",
            found=repr(err),
            remedy="give the folder that `finevla evaluate paired --ros --blind` filled",
        ) from err
    if sealed != found:
        raise FineVLAError(
            "the key is not as it was sealed",
            where=where,
            expected=f"seal {sealed}",
            found=f"seal {found}",
            remedy="use the file as it was written, with the version of finevla that wrote it",
        )
    return key


def _pair_from(document: Mapping[str, Any]) -> Pair:
    first, second = (Goal(**goal | {"order": tuple(goal["order"])}) for goal in document["goals"])
    scene = document["scene"]
    spec = sample_scene(scene["task"], scene["seed"], hard=scene["hard"], variant=scene["variant"])
    return Pair(
        document["factor"],
        document["number"],
        spec,
        (first, second),
        document["template"],
        document["passed_over"],
    )
