"""What a LeRobot dataset holds, whether it is sound, and whether it is of the contract's robot."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from finevla.contract import keys
from finevla.contract.robot import RobotContract, difference
from finevla.dataset.check import Problem, problems_of
from finevla.dataset.read import Opened, open_dataset
from finevla.dataset.stats import values
from finevla.errors import DatasetError
from finevla.stages.inspect.document import read_object
from finevla.stages.report import progress

FASTER = 2.0
"""How much faster than its limit a joint may seem to move between two frames, for rounding and jitter."""
_TURN = 2 * np.pi


def dataset_facts(path: Path, contract: RobotContract) -> tuple[dict[str, Any], list[str]]:
    """Facts and problems of a dataset; reads all data and all video packets, with a progress bar.

    Raises:
        DatasetError: Its metadata are missing or contradict themselves.
    """
    opened = open_dataset(path)
    facts = {
        "format": opened.version,
        "robot": opened.info.get("robot_type"),
        "episodes": len(opened.rows),
        "frames": opened.info["total_frames"],
        "tasks": len(opened.tasks),
        "fps": opened.fps,
    }
    problems = _against(opened, contract)
    record = path / "meta" / "finevla.json"
    if record.is_file():
        document = read_object(record, DatasetError)
        names = ("dataset_hash", "contract_hash", "fine_grained_episodes")
        facts |= {name: document.get(name) for name in names}
        lines = difference(contract.document, document.get("contract", {}))
        problems += [f"another contract: {line}" for line in lines]
    ours = opened.features.get(keys.ACTION, {}).get("names") == list(contract.joint_names)
    with progress("episodes") as bar:
        row = bar.add_task("checking", total=len(opened.rows))
        problems += problems_of(
            opened,
            (lambda table: motion(table, contract)) if ours else (lambda _: ()),
            lambda: bar.advance(row),
        )
    return facts, problems


def motion(table: pa.Table, contract: RobotContract) -> Iterator[Problem]:
    """Joints that jump, leave their range, or seem to be in another unit."""
    for key in (keys.STATE, keys.ACTION):
        if key not in table.column_names:
            continue
        rows = values(table, key).astype(np.float64)
        if rows.ndim != 2 or rows.shape[1] != contract.dof or not np.isfinite(rows).all():
            continue  # told by the checks that know no robot
        yield from _range(key, rows, contract)
        fastest = FASTER * contract.velocity * contract.frame_period_s
        jumps = np.argwhere(np.abs(np.diff(rows, axis=0)) > fastest)
        if len(jumps):
            frame, joint = jumps[0]
            step, name = rows[frame + 1, joint] - rows[frame, joint], contract.joint_names[joint]
            yield f"{key} jumps", f"{name} by {step:+.3f} after frame {frame}, at most {fastest[joint]:.3f}"


def _range(key: str, rows: NDArray[np.float64], contract: RobotContract) -> Iterator[Problem]:
    margin = 0.05 * (contract.upper - contract.lower)
    outside = np.argwhere((rows < contract.lower - margin) | (rows > contract.upper + margin))
    if not len(outside):
        return
    frame, joint = outside[0]
    unit = "; are these degrees?" if np.abs(rows).max() > 2 * _TURN else ""
    allowed = f"{contract.lower[joint]:.3f} to {contract.upper[joint]:.3f}"
    told = (
        f"{contract.joint_names[joint]} = {rows[frame, joint]:.3f} in frame {frame}, allowed {allowed}{unit}"
    )
    yield f"{key} leaves the range of the robot", told


def _against(opened: Opened, contract: RobotContract) -> list[str]:
    """Differences of the metadata from the contract."""
    features = opened.features
    problems = [
        f"{key} has other joints or another order: {features.get(key, {}).get('names')}"
        for key in (keys.STATE, keys.ACTION)
        if features.get(key, {}).get("names") != list(contract.joint_names)
    ]
    for name, camera in contract.cameras.items():
        shape = features.get(camera.key, {}).get("shape")
        if shape is None:
            problems.append(f"camera {name} is absent")
        elif list(shape) != [camera.height, camera.width, 3]:
            problems.append(f"camera {name} has shape {shape}, not {[camera.height, camera.width, 3]}")
    if opened.fps != contract.rates_hz.frame:
        problems.append(f"{opened.fps} frames per second, not {contract.rates_hz.frame}")
    return problems
