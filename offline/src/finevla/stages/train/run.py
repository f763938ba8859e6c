"""The stage `train`: dataset in, training directory out.

The directory holds run.json (everything that fixes the policy and its origin), metrics.jsonl,
curve.svg and the newest checkpoints. `finevla export` makes a bundle of it.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from finevla.contract.images import WorkspaceCrop
from finevla.contract.robot import RobotContract
from finevla.contract.transforms import Chain, JointStatistics, Normalize
from finevla.errors import PolicyError
from finevla.policy.config import PolicyConfig
from finevla.policy.model import PolicyNetwork, build_network
from finevla.policy.text import Vocabulary
from finevla.stages.train.batches import BatchSource
from finevla.stages.train.curve import curve_svg
from finevla.stages.train.data import FrameCache, read_dataset
from finevla.stages.train.loop import (
    METRICS_FILE,
    Measurement,
    Schedule,
    Trainer,
    read_metrics,
    require,
)
from finevla.stages.train.probe import Probe
from finevla.stages.train.split import split_episodes

RUN_FILE = "run.json"
_STD_FLOOR_RAD = 0.08
_STD_FLOOR_SHARE = 0.08
"""Floor of a gripper's spread as a share of its stroke, the counterpart of the floor in rad."""


@dataclass(frozen=True, slots=True)
class TrainSpec:
    """What to train on and how; the flags of `finevla train` in one place."""

    dataset: Path
    out: Path
    images: dict[str, WorkspaceCrop]
    schedule: Schedule
    validation_episodes: int
    rest_steps: int
    threads: int
    command: str
    resume: bool

    def __post_init__(self) -> None:
        """Refuses numbers that no run can have.

        Raises:
            PolicyError: A number is too small; the message names it.
        """
        require({"--threads": self.threads}, 1)
        require({"--val-episodes": self.validation_episodes, "--rest-steps": self.rest_steps}, 0)


@dataclass(frozen=True, slots=True)
class TrainReport:
    """How a run ended."""

    episodes: int
    frames: int
    parameters: int
    words: tuple[str, ...]
    dataset_hash: str
    final: Measurement


class Progress:
    """What the stage calls while it works; the verb shows it, a test ignores it."""

    def episode(self, done: int, total: int) -> None:
        """An episode was read."""

    def step(self, done: int, loss: float) -> None:
        """An update was made."""

    def measured(self, line: Measurement) -> None:
        """The probe was run."""


def run_training(spec: TrainSpec, contract: RobotContract, progress: Progress) -> TrainReport:
    """Trains a policy.

    Raises:
        DatasetError: The dataset cannot be used with this robot.
        PolicyError: The output exists, the resumed run was another one, or the loss diverged.
    """
    _check_out(spec)
    torch.set_num_threads(spec.threads)
    cache = read_dataset(spec.dataset, contract, spec.images, progress.episode)
    training, validation = split_episodes(cache.texts, spec.validation_episodes, spec.schedule.seed)
    frames = cache.frames_of(training)
    state, action = (normalization(rows[frames], contract) for rows in (cache.state, cache.action))
    vocabulary = Vocabulary.from_texts(cache.texts[i] for i in training)
    config = _policy_config(spec, contract, vocabulary)
    document = _run_document(spec, contract, cache, vocabulary, config)
    document |= {"state": state.to_json(), "action": action.to_json(), "validation": validation.tolist()}
    _write_run(spec, document)
    source = BatchSource(cache, vocabulary, state, action, config.horizon, spec.rest_steps)
    network = build_network(config, spec.schedule.seed)
    probe = Probe(cache, source, validation, action, contract)
    trainer = Trainer(network, source, frames, probe, spec.schedule, spec.out)
    final = trainer.run(spec.resume, progress.step, progress.measured)
    (spec.out / "curve.svg").write_text(curve_svg(read_metrics(spec.out), f"finevla train: {spec.out.name}"))
    return TrainReport(
        episodes=cache.episodes,
        frames=len(cache.state),
        parameters=_parameters(network),
        words=vocabulary.words,
        dataset_hash=cache.dataset_hash,
        final=final,
    )


def read_run(out: Path) -> dict[str, Any]:
    """The document of a training directory.

    Raises:
        PolicyError: There is none.
    """
    try:
        document: dict[str, Any] = json.loads((out / RUN_FILE).read_text())
    except (OSError, ValueError) as err:
        raise PolicyError(
            "this is not a training directory",
            where=out,
            expected=RUN_FILE,
            found=err,
            remedy="give the directory that `finevla train` wrote",
        ) from err
    return document


def _check_out(spec: TrainSpec) -> None:
    exists = spec.out.exists() and any(spec.out.iterdir())
    if exists and not spec.resume:
        raise PolicyError(
            "the training directory exists already",
            where=spec.out,
            remedy="choose a new directory, or continue this run with --resume",
        )


def normalization(rows: np.ndarray[Any, np.dtype[np.float64]], contract: RobotContract) -> Chain:
    """Normalization by the statistics of `rows` (N, dof); the spread has a floor per joint."""
    floors = np.full(contract.dof, _STD_FLOOR_RAD)
    for index in contract.grippers.values():
        floors[index] = _STD_FLOOR_SHARE * (contract.upper[index] - contract.lower[index])
    statistics = JointStatistics.of(contract.joint_names, rows)
    return Chain((Normalize(statistics, tuple(float(v) for v in floors)),))


def _policy_config(spec: TrainSpec, contract: RobotContract, vocabulary: Vocabulary) -> PolicyConfig:
    return PolicyConfig(
        cameras=len(spec.images),
        vocabulary_size=vocabulary.size,
        dof=contract.dof,
        horizon=contract.horizon,
        image_size=next(iter(spec.images.values())).size,
    )


def _run_document(
    spec: TrainSpec,
    contract: RobotContract,
    cache: FrameCache,
    vocabulary: Vocabulary,
    config: PolicyConfig,
) -> dict[str, Any]:
    return {
        "model": config.to_json(),
        "images": {name: image.to_json() for name, image in spec.images.items()},
        "vocabulary": list(vocabulary.words),
        "contract_hash": contract.hash,
        "contract": dict(contract.document),
        "schedule": dataclasses.asdict(spec.schedule),
        "rest_steps": spec.rest_steps,
        "threads": spec.threads,
        "dataset_hash": cache.dataset_hash,
        "episodes": cache.episodes,
        "frames": len(cache.state),
        "command": spec.command,
        "git_commit": git_commit(),
    }


def _write_run(spec: TrainSpec, document: dict[str, Any]) -> None:
    """Writes run.json, or checks that a resumed run is still the same one."""
    if not spec.resume:
        spec.out.mkdir(parents=True, exist_ok=True)
        (spec.out / RUN_FILE).write_text(json.dumps(document, indent=1) + "\n")
        (spec.out / METRICS_FILE).write_text("")
        return
    before = read_run(spec.out)
    loose = {"git_commit", "command"}
    now = json.loads(json.dumps(document))
    changed = [key for key in now if key not in loose and now[key] != before.get(key)]
    if changed:
        raise PolicyError(
            "the resumed run is not the one that was begun",
            where=spec.out,
            expected={key: before.get(key) for key in changed},
            found={key: now[key] for key in changed},
            remedy="resume with the dataset and flags of the first run, or choose a new --out",
        )


def _parameters(network: PolicyNetwork) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def git_commit() -> str:
    """Commit of the library's checkout with a mark for changes, or `unknown` outside of one."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return done.stdout.strip() or "unknown"
