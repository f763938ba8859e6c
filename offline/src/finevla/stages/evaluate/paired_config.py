"""The flags of `finevla evaluate paired`, and what can be wrong with them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from finevla.contract import REPLAN_FRAMES
from finevla.errors import FineVLAError
from finevla.sim.room import require_renderer
from finevla.sim.tasks import task_named
from finevla.stages.evaluate.flags import wrong_flag
from finevla.stages.evaluate.plan import ALL, EVALUATION_SEEDS, row_names
from finevla.stages.media import require_encoder


@dataclass(frozen=True)
class Config:
    """Measures obedience: pairs of instructions in one scene that differ in one factor.

    In the simulator, in this process; with --ros on the ROS graph that is up.

    The result does not depend on the number of workers. With --json or --report a run that was
    interrupted goes on where it stopped when the same command is given again. Exit code 0 means that the
    measurement is complete, whatever it found.
    """

    factors: str = "arm,color"
    """Factors, separated by commas: arm, color (or colour), pose, approach, rotation, contact, side, order,
    and ood, the combination that is never trained; all stands for these nine."""
    n: int = 50
    """Pairs per factor; each pair is two runs."""
    seed: int = 1000
    """Seed of the first scene; pair i is in scene seed + i."""
    task: str = ""
    """Tasks, separated by commas, taken in turn; those that vary the factor when not given."""
    bundle: Path | None = None
    """Bundle to measure; the one that ships with the library when not given."""
    policy: str = "bundle"
    """What acts: bundle, the folder of a bundle, or an oracle that checks the instrument: expert (does what
    is asked), ignore (does not hear the words), swap:FACTOR (turns one factor around)."""
    replan_frames: int = REPLAN_FRAMES
    """Frames that are executed of each chunk."""
    max_frames: int | None = None
    """Frames after which a run is ended; the task's own limit when not given."""
    probes: int = 0
    """Pairs per factor whose first sentence is also tried empty, as nonsense, negated, with a trailing dot,
    with synonyms, with its clauses swapped and in a held-out wording: seven more runs for each."""
    workers: int = 2
    """Processes, each with a simulator of its own."""
    json: Annotated[Path | None, tyro.conf.arg(name="json")] = None
    """Where to write the result as JSON."""
    report: Path | None = None
    """Where to write the result as one HTML file with videos; its folder must exist."""
    videos: int = 2
    """Pairs per factor that the report shows on video."""
    runs: bool = False
    """Also write one row per run into the JSON."""
    ros: bool = False
    """Run the pairs on the ROS graph that is up, of the simulated or the real robot, with its own policy."""
    blind: Path | None = None
    """With --ros: film the runs into this folder for a rater who does not know what was asked; always so
    where no simulator knows the truth."""
    answers: Path | None = None
    """With --ros --blind: the rater's answers; joins them with the films' key and moves nothing."""
    domain_id: int | None = None
    """With --ros: the ROS domain; that of the environment when not given."""
    timeout_s: float = 60.0
    """With --ros: longest time for one instruction, in s."""


def checked(config: Config) -> tuple[list[str], list[str]]:
    """The rows and tasks that a configuration names.

    Raises:
        FineVLAError: A flag is not right; it is named.
    """
    names, tasks = row_names(config.factors), _names(config.task)
    for task in tasks:
        task_named(task)
    for wrong, where, expected, found in _problems(config, names, tasks):
        if wrong:
            raise wrong_flag("paired", where, expected, found)
    if config.report is not None:
        _check_report(config.report, config.videos)
    return names, tasks


def _problems(config: Config, names: list[str], tasks: list[str]) -> list[tuple[bool, str, str, object]]:
    """What can be wrong: whether it is, the flag, what would be right, and what was found."""
    last = config.seed + config.n - 1
    in_range = config.seed >= 0 and last < EVALUATION_SEEDS
    frames = config.max_frames
    return [
        (not 0 < len(names) == len(set(names)), "--factors", f"each once, or {ALL}", names),
        (bool(config.task) and not tasks, "--task", "at least one task", tasks),
        (config.n < 1, "--n", "1 or more", config.n),
        (config.workers < 1, "--workers", "1 or more", config.workers),
        (config.replan_frames < 1, "--replan-frames", "1 or more", config.replan_frames),
        (frames is not None and frames < 1, "--max-frames", "1 or more", frames),
        (not 0 <= config.probes <= config.n, "--probes", "0 up to --n", config.probes),
        (config.videos < 0, "--videos", "0 or more", config.videos),
        (not in_range, "--seed", f"scenes 0 to {EVALUATION_SEEDS - 1}", f"{config.seed} to {last}"),
        (config.json is not None and config.json.is_dir(), "--json", "a file", config.json),
        (config.report is not None and config.report.is_dir(), "--report", "a file", config.report),
        *_ros_problems(config),
    ]


def _ros_problems(config: Config) -> list[tuple[bool, str, str, object]]:
    """What can be wrong with the flags of the running graph."""
    offline = {"--bundle": config.bundle, "--report": config.report, "--probes": config.probes}
    given = [name for name, value in offline.items() if value]
    online = {"--blind": config.blind, "--answers": config.answers, "--domain-id": config.domain_id}
    alone = [name for name, value in online.items() if value is not None]
    policy = config.policy
    return [
        (config.ros and bool(given), "--ros", "no flag of the simulator beside it", given),
        (config.ros and policy != "bundle", "--policy", "the graph's own policy with --ros", policy),
        (not config.ros and bool(alone), "--ros", "--ros together with these flags", alone),
        (config.answers is not None and config.blind is None, "--answers", "--blind beside it", None),
        (config.timeout_s <= 0, "--timeout-s", "more than 0", config.timeout_s),
    ]


def _check_report(path: Path, videos: int) -> None:
    try:
        path.touch()
    except OSError as err:
        raise FineVLAError(
            "the report cannot be written",
            where="--report",
            expected="a file in a folder that exists and can be written",
            found=f"{path}: {err.strerror}",
            remedy="make the folder first, or give another path",
        ) from err
    if not path.stat().st_size:
        path.unlink()
    if videos:
        require_encoder()
        require_renderer()


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
