"""`finevla normalize`: a LeRobot dataset with unified vectors, without episodes that cannot be trusted."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from finevla.errors import FineVLAError
from finevla.stages.normalize.filters import Source
from finevla.stages.normalize.plot import require_matplotlib
from finevla.stages.normalize.run import Done, Prepared, prepare, run
from finevla.stages.report import REJECTED_FILE

log = logging.getLogger("finevla.normalize")
SHOWN = 20
"""So many rejected episodes are printed; all of them where nothing is written that lists them."""


@dataclass(frozen=True)
class Config:
    """Adds the unified vector of 80 numbers and its mask to LeRobot datasets, and leaves bad episodes out.

    Encoded pictures are taken over as they are. Every episode that is left out is listed with its reasons.
    """

    datasets: tyro.conf.Positional[tuple[Path, ...]]
    """LeRobot datasets, v2.0, v2.1 or v3.0; they are only read."""
    out: Path
    """Folder of the dataset; of one folder per dataset, of the same name, where several are given."""
    preset: Source | None = None
    """Thresholds and slots of a source; by default those of the source that `finevla import` noted, of the
    contract's robot, or `default`."""
    state_type: str = ""
    """What poses, or joints, of the state are (abs_rotvec, abs_quat, abs_wxyz, abs_euler, abs_joint), where
    the dataset does not tell."""
    action_type: str = ""
    """The same of the actions, which may also be changes (delta_euler, ...)."""
    to: str = "abs_joint"
    """Actions of the unified vector: abs, delta or rel, then _, then joint (poses as quat), quat, wxyz,
    rotvec or euler. The state is always absolute, its poses quaternions x, y, z, w."""
    robot: str = ""
    """Name of the robot, where the dataset tells none or another; the contract's has known kinematics."""
    min_frames: int | None = None
    """Episodes with fewer frames are left out; that of the preset when not given."""
    threshold: str = ""
    """Largest divergence of state and action: a number, auto (a percentile of the scores) or none; that of
    the preset when not given."""
    percentile: float = 95.0
    """The percentile of --threshold auto."""
    compare: str = ""
    """Slots in which state and action are compared, separated by commas; the preset's when not given."""
    workers: int = 1
    """Processes that read episodes and copy videos."""
    dry_run: bool = False
    """Judge all episodes, print the report, write nothing."""
    json: bool = False
    """Print the report as JSON."""


def normalize(config: Config) -> list[Done]:
    """Normalizes all datasets, or with `dry_run` only judges their episodes.

    Returns:
        What was done with each dataset.

    Raises:
        DatasetError: A dataset is missing or damaged, it cannot be known what its columns are, or no episode
            of it is left; what was written before of other datasets stays.
        FineVLAError: A flag is wrong, or the output exists.
        SetupError: A library is not installed.
    """
    if not config.dry_run:
        require_matplotlib()
    targets = outputs(config.datasets, config.out)
    prepared: list[Prepared] = [prepare(config, root, target) for root, target in targets]
    done = [run(config, item) for item in prepared]
    for item in done:
        for rejected in item.rejected:
            log.warning("rejected %s of %s (%s)", rejected.item, item.counts["dataset"], rejected.reason)
    return done


def outputs(datasets: Sequence[Path], out: Path) -> list[tuple[Path, Path]]:
    """Where each dataset goes.

    Raises:
        FineVLAError: None is given, two have the same name, or one would be written into another.
    """
    names = [path.resolve().name for path in datasets]
    if not datasets or len(set(names)) != len(names):
        raise FineVLAError(
            "the datasets cannot be told apart" if datasets else "no dataset is given",
            expected="one or more datasets, each of another folder name",
            found=", ".join(map(str, datasets)) or "nothing",
            remedy="give folders of datasets; rename those of equal names",
        )
    if len(datasets) == 1:
        return [(datasets[0], out)]
    return [(path, out / name) for path, name in zip(datasets, names, strict=True)]


def words(done: Sequence[Done], *, dry_run: bool) -> str:
    """The report for people."""
    lines: list[str] = []
    for item in done:
        lines += [f"{key:12} {_said(value)}" for key, value in item.counts.items() if key != "episodes"]
        shown = len(item.rejected) if dry_run else SHOWN
        for rejected in item.rejected[:shown]:
            first, *more = rejected.message.splitlines()
            lines.append(f"  {rejected.item}: {rejected.reason}: {first}")
            lines += [f"      {line.strip()}" for line in more]
        if len(item.rejected) > shown:
            lines.append(f"  and {len(item.rejected) - shown} more, see {REJECTED_FILE}")
        lines.append("")
    return "\n".join(lines[:-1])


def _said(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {part}" for key, part in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return str(value)


def main(config: Config) -> int:
    """Normalizes and prints the report; 1 where a dry run finds a dataset of which nothing would be left."""
    done = normalize(config)
    if config.json:
        rows = [
            {**item.counts, "rejected_episodes": [vars_of(rejected) for rejected in item.rejected]}
            for item in done
        ]
        print(json.dumps({"datasets": rows}))
    else:
        print(words(done, dry_run=config.dry_run))
    return 0 if all(item.counts["kept"] for item in done) else 1


def vars_of(rejected: Any) -> dict[str, str]:
    """A rejected episode as a line of JSON."""
    return {"item": rejected.item, "reason": rejected.reason, "message": rejected.message}
