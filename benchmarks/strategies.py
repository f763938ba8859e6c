"""Does curation find the ways in which a task was done? Demonstrations from the simulator, strategies known.

    python benchmarks/strategies.py [--json] [--out FILE] [--seeds 3] [--copies 12] [--jitter-m 0.005]
                                    [--noise 1] [--store FOLDER]

The scripted expert does each task in all its ways: which arm, from which side it approaches, on which side it
passes the obstacle, which part it grasps. Each way is demonstrated several times in one layout whose objects
lie up to some millimetres elsewhere each time, with the disturbances of recordings; the layout is another one
for each seed. All demonstrations of a task are one group, as with coarse texts, which say nothing of the way.

Floors, over all seeds and tasks: adjusted Rand index of the automatic cut against the ways at least 0.9 in
the mean, and the representatives show every way where as many random episodes miss some.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from origin import finish, origin, report_flags

from finevla.contract import ARM_SIDES, RobotContract, load_contract
from finevla.errors import SimulationError
from finevla.sim.factors import variations
from finevla.sim.goal import Goal
from finevla.sim.rollout import demonstrate
from finevla.sim.scene import FIXED, SceneSpec, seeded
from finevla.sim.tasks import sample_scene
from finevla.sim.world import World
from finevla.stages.curate.cluster.agreement import adjusted_rand_index, coverage
from finevla.stages.curate.cluster.condensed import labels_of
from finevla.stages.curate.distances import as_condensed, lanes_of, pairs_of
from finevla.stages.curate.dtw.metric import Metric
from finevla.stages.curate.group import from_distances
from finevla.stages.curate.settings import GroupSettings
from finevla.stages.normalize.poses import tool_poses
from finevla.stages.pool import cores

TASKS = {
    "pick_lift": ("arm", "approach"),
    "move_around_obstacle": ("arm", "side"),
    "place_cup_on_coaster": ("arm", "contact"),
    "rotate_block": ("arm", "rotation"),
    "upright_bottle": ("arm", "pose"),
}
DRAWS = 1000
FLOOR_ARI = 0.9
SCENES = 200

Demo = tuple[NDArray[np.float64], str]
"""Frames of both hands, shape (T, 16), and the way."""


def ways(task: str, spec: SceneSpec) -> dict[str, Goal]:
    """One goal for each way of doing a task in a scene, all with the same object."""
    factors = TASKS[task]
    every = variations(spec)
    color = every[0].color
    found: dict[str, Goal] = {}
    for goal in every:
        if goal.color == color and all(getattr(goal, name) for name in factors):
            found.setdefault("/".join(str(getattr(goal, name)) for name in factors), goal)
    return found


def layout(task: str, seed: int) -> tuple[SceneSpec, dict[str, Goal]]:
    """A scene in which the task can be done in most ways."""
    specs = [sample_scene(task, 10_000_000 + 1000 * seed + k) for k in range(SCENES)]
    spec = max(specs, key=lambda each: len(ways(task, each)))
    return spec, ways(task, spec)


def moved(spec: SceneSpec, rng: np.random.Generator, jitter_m: float) -> SceneSpec:
    """The scene with its loose objects a little elsewhere."""
    objects = tuple(
        item
        if item.kind in FIXED
        else replace(item, x=item.x + rng.normal(0, jitter_m), y=item.y + rng.normal(0, jitter_m))
        for item in spec.objects
    )
    return replace(spec, objects=objects)


def hands(states: NDArray[np.float64], contract: RobotContract) -> NDArray[np.float64]:
    """Pose and gripper of both hands, shape (T, 16)."""
    parts = []
    for side in ARM_SIDES:
        arm = states[:, contract.arm_slice(side)]
        parts += [tool_poses(contract, side, arm[:, :-1]), arm[:, -1:]]
    return np.hstack(parts)


def record(world: World, task: str, seed: int, copies: int, jitter_m: float, noise: float) -> list[Demo]:
    """Demonstrations of all ways of a task that succeeded."""
    contract = load_contract()
    spec, goal_of = layout(task, seed)
    found: list[Demo] = []
    for way, goal in sorted(goal_of.items()):
        rng = seeded("strategies", task, seed, way)
        got = 0
        for attempt in range(copies * 3):
            scene = moved(spec, rng, jitter_m)
            try:
                demo = demonstrate(world, goal, 1000 * seed + attempt, noise=noise, spec=scene, cameras=())
            except SimulationError:
                continue  # out of reach: counts as an attempt that failed
            if demo.success and got < copies:
                found.append((hands(demo.states, contract), way))
                got += 1
            if got == copies:
                break
    return found


def measure(demos: Sequence[Demo], settings: GroupSettings, rng: np.random.Generator) -> dict[str, Any]:
    """How well the clusters are the ways, and whether all ways are among the representatives."""
    labels = [way for _, way in demos]
    lanes = lanes_of([frames for frames, _ in demos], settings, 2)
    found = from_distances(
        lanes, as_condensed(len(demos), pairs_of(lanes, settings, 0, len(demos), cores())), settings
    )
    assigned = labels_of(found.clusters)
    chosen = found.representatives
    random = [
        coverage(labels, rng.choice(len(demos), len(chosen), replace=False)).share for _ in range(DRAWS)
    ]
    return {
        "n": len(demos),
        "ways": len(set(labels)),
        "clusters": len(found.clusters),
        "ari": adjusted_rand_index(labels, assigned.tolist()),
        "kept": len(chosen),
        "covered": coverage(labels, chosen).share,
        "random_covered": float(np.mean(random)),
        "random_misses": float(np.mean(np.array(random) < 1.0)),
    }


def interval(values: Sequence[float], seed: int = 0) -> list[float]:
    """Mean and 95 % bootstrap interval over seeds and tasks."""
    rng = np.random.default_rng(seed)
    data = np.array(values)
    means = rng.choice(data, (10_000, len(data))).mean(1)
    return [float(data.mean()), *(float(q) for q in np.quantile(means, [0.025, 0.975]))]


def main() -> int:
    """Records, measures, reports."""
    parser = report_flags((__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--copies", type=int, default=12, help="demonstrations of each way")
    parser.add_argument("--jitter-m", type=float, default=0.005, help="spread of the objects' places, m")
    parser.add_argument("--noise", type=float, default=1.0, help="strength of the pushes that the arms get")
    parser.add_argument(
        "--store", type=Path, help="keep the demonstrations here, and use them when they are there"
    )
    flags = parser.parse_args()
    rows = [
        {"task": task, "seed": seed, **row}
        for task in TASKS
        for seed in range(flags.seeds)
        for row in [
            measure(demos_of(flags, task, seed), GroupSettings(Metric("eef")), np.random.default_rng(seed))
        ]
    ]
    told = " ".join(
        f"--{name.replace('_', '-')} {getattr(flags, name)}"
        for name in ("seeds", "copies", "jitter_m", "noise")
    )
    report = {
        **origin(f"python benchmarks/strategies.py {told}"),
        "rows": rows,
        "ari": interval([row["ari"] for row in rows]),
        "covered": interval([row["covered"] for row in rows]),
        "random_covered": interval([row["random_covered"] for row in rows]),
        "random_misses": interval([row["random_misses"] for row in rows]),
    }
    report["holds"] = (
        report["ari"][0] >= FLOOR_ARI and report["covered"][0] == 1.0 and report["random_misses"][0] > 0.0
    )
    return finish(report, flags, table)


_worlds: list[World] = []


def demos_of(flags: argparse.Namespace, task: str, seed: int) -> list[Demo]:
    """The demonstrations, recorded or out of the store."""
    path = (
        None
        if flags.store is None
        else flags.store / f"{task}_{seed}_{flags.copies}_{flags.jitter_m}_{flags.noise}.npz"
    )
    if path is not None and path.exists():
        with np.load(path, allow_pickle=False) as file:
            return [(file[f"frames_{k}"], str(way)) for k, way in enumerate(file["ways"])]
    if not _worlds:
        _worlds.append(World(render=False))
    print(f"recording {task}, seed {seed}", file=sys.stderr)
    demos = record(_worlds[0], task, seed, flags.copies, flags.jitter_m, flags.noise)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays = {f"frames_{k}": frames for k, (frames, _) in enumerate(demos)}
        np.savez(path, ways=np.array([way for _, way in demos]), **arrays)
    return demos


def table(report: dict[str, Any]) -> str:
    """The report for people."""
    lines = ["task                   seed    n  ways  clusters    ARI  kept  covered  random  misses some"]
    lines += [
        f"{r['task']:22} {r['seed']:4} {r['n']:4} {r['ways']:5} {r['clusters']:9} {r['ari']:6.2f} "
        f"{r['kept']:5} {r['covered']:8.0%} {r['random_covered']:7.0%} {r['random_misses']:12.0%}"
        for r in report["rows"]
    ]
    for name in ("ari", "covered", "random_covered", "random_misses"):
        mean, low, high = report[name]
        lines.append(f"{name:16} {mean:.3f} [{low:.3f}, {high:.3f}]")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
