"""What a rater is asked about a video, what the answers say, and both joined with the key. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from finevla.errors import FineVLAError
from finevla.sim.factors import FACTORS
from finevla.sim.tasks import goals
from finevla.sim.tasks.pick_lift import APPROACHES
from finevla.stages.evaluate.blind.key import REJECTED, Key, Planned
from finevla.stages.evaluate.outcome import Outcome, RunResult
from finevla.stages.evaluate.plan import Pair

NONE = "none"
"""Answer where none of the values was seen, or none can be told."""


def said(value: Any) -> str:
    """A value of a factor as text: colours of an order are separated by spaces."""
    return " ".join(value) if isinstance(value, tuple) else str(value)


def questions(pair: Pair) -> dict[str, tuple[str, ...]]:
    """For each factor that the pair's sentences name, the values that can be seen.

    They depend on the scene only, never on which of them was asked for.
    """
    found = {}
    for name in pair.goals[0].values():
        options = APPROACHES if name == "approach" else [getattr(goal, name) for goal in goals(pair.spec)]
        found[name] = tuple(sorted({said(option) for option in options if option}))
    return found


@dataclass(frozen=True, slots=True)
class Rating:
    """What a person saw in a video: value by factor, None where none can be told; was the task done?"""

    observed: Mapping[str, Any]
    done: bool


def read_answers(text: str, key: Key, where: object) -> dict[str, Rating]:
    """The answers of `answers.json`, one rating per video.

    Raises:
        FineVLAError: They belong to another key, name a video twice or one that there is not, leave one
            out, or hold a value that was not offered.
    """
    try:
        document = json.loads(text, object_pairs_hook=_once)
        seal, answers = document["seal"], dict(document["answers"])
    except (ValueError, KeyError, TypeError) as err:
        raise _wrong(
            "the answers cannot be read", where, "the file that score.html saves", repr(err)
        ) from err
    if seal != key.seal:
        raise _wrong("the answers belong to other videos", where, f"seal {key.seal}", f"seal {seal}")
    names = [run.name for run in key.videos]
    if unknown := sorted(set(answers) - set(names)):
        raise _wrong("the answers name videos that there are not", where, f"{len(names)} videos", unknown)
    if missing := [name for name in names if not _complete(answers.get(name), key, name)]:
        raise _wrong(
            f"{len(missing)} of {len(names)} videos are not answered", where, "an answer to each", missing
        )
    return {name: _rating(answers[name], key, name, where) for name in names}


def _once(entries: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in entries]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"answered twice: {', '.join(twice)}")
    return dict(entries)


def _wrong(what: str, where: object, expected: object, found: object) -> FineVLAError:
    return FineVLAError(
        what,
        where=where,
        expected=expected,
        found=found,
        remedy="open score.html again, answer every video and save answers.json",
    )


def _questions_of(key: Key, name: str) -> dict[str, tuple[str, ...]]:
    run = next(run for run in key.runs if run.name == name)
    return questions(key.pairs[run.pair])


def _complete(answer: Any, key: Key, name: str) -> bool:
    return isinstance(answer, dict) and {*_questions_of(key, name), "done"} <= set(answer)


def _rating(answer: Mapping[str, Any], key: Key, name: str, where: object) -> Rating:
    observed: dict[str, Any] = {}
    for factor, options in _questions_of(key, name).items():
        value = answer[factor]
        if value != NONE and value not in options:
            raise _wrong(
                f"the answer to {factor} of video {name} was not offered", where, [*options, NONE], value
            )
        seen = tuple(value.split()) if factor == "order" else value
        observed[factor] = None if value == NONE else seen
    if answer["done"] not in ("yes", "no"):
        raise _wrong(
            f"the answer to done of video {name} was not offered", where, "yes or no", answer["done"]
        )
    return Rating(observed, answer["done"] == "yes")


def join(key: Key, ratings: Mapping[str, Rating], frame_period_s: float) -> list[Outcome]:
    """Answers and key together: the outcome of every pair, as the simulator would give it.

    Raises:
        FineVLAError: Not all runs were carried out.
    """
    if key.left:
        raise FineVLAError(
            f"{len(key.left)} of {len(key.runs)} runs were not carried out yet",
            expected="all runs of the plan",
            found=f"{len(key.ended)} videos or refusals",
            remedy="give the command with --ros --blind and without --answers again: it goes on",
        )
    results = {(r.pair, r.goal): _result(key, r, ratings.get(r.name), frame_period_s) for r in key.runs}
    return [Outcome(pair, (results[i, 0], results[i, 1])) for i, pair in enumerate(key.pairs)]


def _result(key: Key, run: Planned, rating: Rating | None, frame_period_s: float) -> RunResult:
    goal, ended = key.goal(run), key.ended[run.name]
    if rating is None:
        return replace(RunResult.refusal(goal, ended.reason_code or REJECTED), points=None)
    fixed = goal.values()
    return RunResult(
        observed=dict(rating.observed),
        complied={name: FACTORS[name].obeyed(fixed[name], rating.observed[name]) for name in fixed},
        done=rating.done,
        points=None,
        frames=round(ended.seconds / frame_period_s),
        settled=ended.reason_code == "settled",
    )
