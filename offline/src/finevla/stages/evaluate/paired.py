"""Paired evaluation in process: what is run, and how it is counted.

A pair is one scene and two instructions that differ in one factor only. Both are run from the same
start. A run complies with a factor if it did what its own instruction said of that factor
(rules: `finevla.sim.score`). Per factor:

* `n` - pairs; each holds two runs, so `runs` is twice that.
* `compliance` - share of runs that complied; `success` - share of runs whose task was done as asked.
* `switch_rate` - share of pairs in which both runs complied: the word changed, and so did the
  behaviour, the right way.
* `ci95`, `success_ci95`, `switch_ci95` - Wilson intervals with the *pairs* as trials. The two runs of
  a pair share a scene, so counting them as two independent trials would claim too much.

`avg_id` is the mean compliance over the factors, 0 to 100.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finevla.contract import load_contract
from finevla.sim.language import FACTORS, Goal, goals, other, render, templates
from finevla.sim.rollout import Rollout, expert_infer, run_chunks
from finevla.sim.scene import SceneSpec, sample_scene
from finevla.sim.score import Score
from finevla.sim.world import World
from finevla.stages.evaluate.intervals import wilson

if TYPE_CHECKING:
    from finevla.policy.inference import Policy


@dataclass(frozen=True, slots=True)
class Pair:
    """One scene and two goals that differ in one factor; `template` is the sentence of both."""

    factor: str
    number: int
    spec: SceneSpec
    goals: tuple[Goal, Goal]
    template: int

    @property
    def texts(self) -> tuple[str, ...]:
        """The two instructions."""
        return tuple(render(goal, self.template) for goal in self.goals)


@dataclass(frozen=True, slots=True)
class Runner:
    """How pairs are run: by the policy of a bundle, or by the expert where there is none."""

    bundle: Path | None
    replan_frames: int
    max_frames: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """A pair and how its two runs went."""

    pair: Pair
    runs: tuple[Rollout, ...]

    @property
    def complied(self) -> tuple[bool, ...]:
        """Per run: whether it complied with the factor of the pair."""
        return tuple(complied(self.pair.factor, run.score) for run in self.runs)


def complied(factor: str, score: Score) -> bool:
    """Whether a run obeyed in one factor."""
    return score.arm_complied if FACTORS[factor] == "arm" else score.color_complied


def plan_pairs(factors: Sequence[str], tasks: Sequence[str], n: int, seed: int) -> list[Pair]:
    """The pairs to run: `n` per factor, tasks in turn, goals and sentences in turn.

    Scene i of every factor has seed `seed + i`: each factor is measured in the same scenes.
    """
    pairs = []
    for factor in factors:
        for i in range(n):
            turn, task = divmod(i, len(tasks))
            spec = sample_scene(tasks[task], seed + i)
            choices = goals(spec)
            goal = choices[turn % len(choices)]
            template = turn % len(templates(goal.task))
            pairs.append(Pair(factor, i, spec, (goal, other(goal, factor, spec)), template))
    return pairs


@lru_cache(maxsize=2)
def _world(render_images: bool) -> World:
    return World(render=render_images)


@lru_cache(maxsize=1)
def _policy(bundle: Path) -> Policy:
    from finevla.policy.inference import load_policy

    policy = load_policy(bundle, load_contract())
    policy.warm_up()
    return policy


def run_pair(runner: Runner, pair: Pair) -> Outcome:
    """Runs both instructions of a pair in this process's own world.

    Raises:
        SimulationError: No renderer, or something out of reach.
        BundleError: The bundle cannot be loaded.
        InstructionError: The policy does not know a word.
    """
    run = _run_expert if runner.bundle is None else _run_policy
    return Outcome(pair, tuple(run(runner, pair, goal) for goal in pair.goals))


def _run_expert(runner: Runner, pair: Pair, goal: Goal) -> Rollout:
    world = _world(False)
    world.reset(pair.spec)
    return run_chunks(
        world,
        expert_infer(world, goal),
        goal,
        replan_frames=runner.replan_frames,
        max_frames=runner.max_frames,
    )


def _run_policy(runner: Runner, pair: Pair, goal: Goal) -> Rollout:
    if runner.bundle is None:
        raise ValueError("a policy needs a bundle")
    policy, text = _policy(runner.bundle), render(goal, pair.template)
    policy.check_instruction(text)
    world = _world(True)
    world.reset(pair.spec)
    return run_chunks(
        world,
        lambda observation: policy.infer(observation, text, f"{pair.factor}_{pair.number}"),
        goal,
        replan_frames=runner.replan_frames,
        max_frames=runner.max_frames,
        cameras=policy.cameras,
    )


def summarize(outcomes: Iterable[Outcome], factors: Sequence[str]) -> dict[str, Any]:
    """The counts of the module docstring: `{"factors": {NAME: {...}}, "avg_id": ...}`."""
    rows = list(outcomes)
    table = {factor: _factor([row for row in rows if row.pair.factor == factor]) for factor in factors}
    average = sum(entry["compliance"] for entry in table.values()) / len(table)
    return {"factors": table, "avg_id": round(100.0 * average, 2)}


def _factor(rows: Sequence[Outcome]) -> dict[str, Any]:
    n = len(rows)
    tasks = sorted({row.pair.spec.task for row in rows})
    document = {"n": n, "runs": 2 * n, **_shares(rows, n)}
    document["settled"] = _share((run.settled for row in rows for run in row.runs), 2 * n)
    document["tasks"] = {
        task: _shares(chosen, len(chosen))
        for task in tasks
        if (chosen := [row for row in rows if row.pair.spec.task == task])
    }
    return document


def _shares(rows: Sequence[Outcome], n: int) -> dict[str, Any]:
    measures: Mapping[str, Callable[[Outcome], float]] = {
        "compliance": lambda row: _share(row.complied, 2),
        "success": lambda row: _share((run.score.success for run in row.runs), 2),
        "switch": lambda row: float(all(row.complied)),
    }
    shares = {name: sum(measure(row) for row in rows) / n for name, measure in measures.items()}
    return {
        "compliance": shares["compliance"],
        "success": shares["success"],
        "ci95": list(wilson(shares["compliance"], n)),
        "success_ci95": list(wilson(shares["success"], n)),
        "switch_rate": shares["switch"],
        "switch_ci95": list(wilson(shares["switch"], n)),
    }


def _share(flags: Iterable[bool], n: int) -> float:
    return sum(map(bool, flags)) / n


def run_rows(outcomes: Iterable[Outcome]) -> list[dict[str, Any]]:
    """One flat row per run, for looking into single cases."""
    return [
        {
            "factor": outcome.pair.factor,
            "pair": outcome.pair.number,
            "task": goal.task,
            "scene_seed": outcome.pair.spec.seed,
            "text": text,
            "moved_arm": run.score.moved_arm,
            "lifted_color": run.score.lifted_color,
            "complied": ok,
            "success": run.score.success,
            "frames": run.frames,
            "settled": run.settled,
        }
        for outcome in outcomes
        for goal, text, run, ok in zip(
            outcome.pair.goals, outcome.pair.texts, outcome.runs, outcome.complied, strict=True
        )
    ]
