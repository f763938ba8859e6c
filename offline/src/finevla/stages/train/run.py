"""The stage `train`: dataset in, training directory out.

The directory holds run.json (everything that fixes the policy and its origin), manifest.json (which
frames were trained on, the same for every mix), metrics.jsonl, curve.svg, tensorboard and the newest
checkpoints. `finevla export` makes a bundle of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from finevla.contract.images import WorkspaceCrop
from finevla.contract.mirror import Mirror
from finevla.contract.robot import RobotContract
from finevla.contract.transforms import Chain, JointStatistics, Normalize
from finevla.errors import PolicyError
from finevla.stages.report import write_json
from finevla.stages.train.augment import Augment
from finevla.stages.train.batches import BatchSource, training_texts
from finevla.stages.train.board import Logger, open_board
from finevla.stages.train.curve import curve_svg
from finevla.stages.train.data import CacheMode, FrameCache, read_dataset
from finevla.stages.train.design import ModelSpec, build_design, design_policy, parameters
from finevla.stages.train.engine import Device, Precision, make_accelerator
from finevla.stages.train.loop import Trainer
from finevla.stages.train.manifest import Manifest, build_manifest
from finevla.stages.train.metrics import METRICS_FILE, Measurement, read_metrics
from finevla.stages.train.mix import Mix, MixMode
from finevla.stages.train.origin import begin_at, read_origin
from finevla.stages.train.places import Workspace, next_places
from finevla.stages.train.probe import Probe
from finevla.stages.train.record import (
    MANIFEST_FILE,
    begin_record,
    check_record,
    contract_part,
    dimensions_of,
    git_commit,
    plain_fields,
    read_run,
    text_part,
)
from finevla.stages.train.sampler import Balance
from finevla.stages.train.schedule import Schedule, require
from finevla.stages.train.sim_eval import Simulation
from finevla.stages.train.split import split_episodes

if TYPE_CHECKING:
    from accelerate import Accelerator  # type: ignore[import-untyped]

__all__ = ["Progress", "TrainReport", "TrainSpec", "normalization", "read_run", "run_training"]

_STD_FLOOR_RAD = 0.08
_STD_FLOOR_SHARE = 0.08
"""Floor of a gripper's spread as a share of its stroke, the counterpart of the floor in rad."""


@dataclass(frozen=True, slots=True)
class TrainSpec:
    """What to train on and how; the flags of `finevla train` in one place.

    Args:
        dataset: LeRobot dataset.
        out: Directory of the run.
        images: What the policy sees of each camera.
        schedule: How long, how fast.
        validation_episodes: Kept for validation.
        rest_steps: Repetitions of the last action that count as targets.
        threads: Threads of torch.
        command: For the provenance.
        resume: Go on from the newest checkpoint.
        model: Which policy.
        mix: How often the words are fine-grained.
        mix_mode: How the mix is made.
        balance: How frames are drawn.
        augment: Strengths of the augmentation.
        init: Bundle or run whose weights are the first ones.
        precision: Number format of the computation.
        device: Where to compute.
        logger: Where curves go.
        simulation: Evaluations on the way.
        prefetch: Batches that are prepared ahead.
        cache: Where decoded pictures are kept.
        cache_dir: Folder that keeps them for the next run.
        cache_workers: Threads that decode.
        mirror_without: Phrases whose sentences are not mirrored.
        workspace: What the first picture shows of the table; the words are grounded there where given.
        compiled: Whether torch compiles the backbone.

    Raises:
        PolicyError: A number is too small; the message names it.
    """

    dataset: Path
    out: Path
    images: dict[str, WorkspaceCrop]
    schedule: Schedule
    validation_episodes: int
    rest_steps: int
    threads: int
    command: str
    resume: bool
    model: ModelSpec = field(default_factory=ModelSpec)
    mix: Mix = field(default_factory=lambda: Mix.parse("fg"))
    mix_mode: MixMode = "strict"
    balance: Balance = "frames"
    augment: Augment = field(default_factory=Augment)
    init: Path | None = None
    precision: Precision = "no"
    device: Device = "auto"
    logger: Logger = "none"
    simulation: Simulation = field(default_factory=Simulation)
    prefetch: int = 0
    cache: CacheMode = "memory"
    cache_dir: Path | None = None
    cache_workers: int = 1
    mirror_without: tuple[str, ...] = ()
    workspace: Workspace | None = None
    compiled: bool = False

    def __post_init__(self) -> None:
        """Refuses numbers that no run can have."""
        require({"--threads": self.threads, "--cache-workers": self.cache_workers}, 1)
        least = {
            "--val-episodes": self.validation_episodes,
            "--rest-steps": self.rest_steps,
            "--prefetch": self.prefetch,
        }
        require(least, 0)


@dataclass(frozen=True, slots=True)
class TrainReport:
    """How a run ended."""

    episodes: int
    frames: int
    parameters: int
    words: tuple[str, ...]
    dataset_hash: str
    manifest_hash: str
    final: Measurement


class Progress:
    """What the stage calls while it works; the verb shows it, a test ignores it."""

    def episode(self, done: int, total: int) -> None:
        """An episode was read."""

    def step(self, done: int, loss: float) -> None:
        """An update was made."""

    def measured(self, line: Measurement) -> None:
        """The probe was run."""


def run_training(
    spec: TrainSpec, contract: RobotContract, progress: Progress, accelerator: Accelerator | None = None
) -> TrainReport:
    """Trains a policy.

    Raises:
        DatasetError: The dataset cannot be used with this robot or mix.
        PolicyError: The output exists, a flag does not fit, the resumed run was another one, or the
            loss diverged.
        SimulationError: It is to be evaluated in the simulator, and nothing can render.
        SetupError: A package is missing.
    """
    accelerator = accelerator or make_accelerator(spec.precision, spec.device)
    if accelerator.is_main_process:
        _check_out(spec)
        spec.simulation.check()
    torch.set_num_threads(spec.threads)
    cache = read_dataset(
        spec.dataset,
        contract,
        spec.images,
        progress.episode,
        cache=spec.cache,
        cache_dir=spec.cache_dir,
        workers=spec.cache_workers,
    )
    plan = _Plan(spec, contract, cache)
    design = design_policy(spec.model, contract, spec.images, plan.texts)
    source = plan.source(design.codec)
    manifest = plan.manifest(source)
    fresh = not spec.resume and spec.init is None
    network = build_design(design, spec.model, spec.schedule.seed, pretrained=fresh)
    begun: dict[str, Any] = {}
    if spec.init is not None:
        origin = read_origin(spec.init, contract)
        begun = {"name": origin.name, **plain_fields(begin_at(origin, network, design.codec))}
    document = {
        "model": design.config.to_json(),
        **text_part(design.codec),
        **contract_part(contract),
        **plan.document(),
        "manifest_hash": manifest.hash,
        "init": begun,
        "command": spec.command,
        "git_commit": git_commit(),
    }
    if accelerator.is_main_process:
        if spec.resume:
            check_record(spec.out, document)
        else:
            begin_record(spec.out, document, design.codec)
            (spec.out / METRICS_FILE).write_text("")
            write_json(spec.out / MANIFEST_FILE, manifest.document)
    accelerator.wait_for_everyone()
    if spec.compiled:
        network.compile_backbone()
    trainer = Trainer(
        network,
        source,
        plan.frames,
        Probe(cache, source, plan.validation, plan.action, contract),
        spec.schedule,
        spec.out,
        accelerator=accelerator,
        open_board=lambda first: open_board(spec.logger, spec.out, first, document),
        simulation=spec.simulation,
        prefetch=spec.prefetch,
    )
    final = trainer.run(spec.resume, progress.step, progress.measured)
    if accelerator.is_main_process:
        curve = curve_svg(read_metrics(spec.out), f"finevla train: {spec.out.name}")
        (spec.out / "curve.svg").write_text(curve)
    return TrainReport(
        episodes=cache.episodes,
        frames=len(cache.state),
        parameters=parameters(network),
        words=design.codec.words,
        dataset_hash=cache.dataset_hash,
        manifest_hash=manifest.hash,
        final=final,
    )


class _Plan:
    """What follows from dataset and flags: split, statistics, texts."""

    def __init__(self, spec: TrainSpec, contract: RobotContract, cache: FrameCache) -> None:
        self._spec, self._cache = spec, cache
        both = tuple(f"{fine} {raw}" for fine, raw in zip(cache.fine, cache.raw, strict=True))
        self.training, self.validation = split_episodes(both, spec.validation_episodes, spec.schedule.seed)
        self.frames = cache.frames_of(self.training)
        self.mirror = Mirror(contract, spec.mirror_without) if spec.augment.mirror > 0 else None
        self.state, self.action = (
            normalization(self._seen(rows[self.frames]), contract) for rows in (cache.state, cache.action)
        )
        self.texts = training_texts(cache, self.training, self.mirror)
        self._contract = contract

    def _seen(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        return rows if self.mirror is None else np.concatenate([rows, self.mirror.joints(rows)])

    def source(self, codec: Any) -> BatchSource:
        """Where batches come from."""
        spec = self._spec
        return BatchSource(
            self._cache,
            codec,
            self.state,
            self.action,
            self._contract.horizon,
            spec.rest_steps,
            spec.mix,
            spec.mix_mode,
            self.mirror,
            augment=spec.augment,
            balance=spec.balance,
            places=self._places(),
        )

    def _places(self) -> NDArray[np.float64] | None:
        """Where the hand acts next, per frame, in the first picture; None where words are not grounded."""
        cache, workspace = self._cache, self._spec.workspace
        if workspace is None:
            return None
        spans = (slice(*span) for span in pairwise(cache.starts.tolist()))
        return np.concatenate(
            [workspace.on_picture(next_places(cache.action[span], self._contract)) for span in spans]
        )

    def manifest(self, source: BatchSource) -> Manifest:
        """What the run will train on."""
        schedule = self._spec.schedule
        return build_manifest(
            source,
            self.frames,
            training=self.training,
            validation=self.validation,
            statistics={"state": self.state.to_json(), "action": self.action.to_json()},
            steps=schedule.steps,
            batch_size=schedule.batch_size,
            seed=schedule.seed,
        )

    def document(self) -> dict[str, Any]:
        """The part of run.json that says what was trained on and how."""
        spec, cache = self._spec, self._cache
        return {
            "images": {name: image.to_json() for name, image in spec.images.items()},
            "dimensions": dimensions_of(self.texts),
            "state": self.state.to_json(),
            "action": self.action.to_json(),
            "validation": self.validation.tolist(),
            "mix": spec.mix.name,
            "mix_mode": spec.mix_mode,
            "balance": spec.balance,
            "augment": plain_fields(spec.augment),
            "mirror_without": list(spec.mirror_without),
            "workspace": None if spec.workspace is None else plain_fields(spec.workspace),
            "schedule": plain_fields(spec.schedule),
            "rest_steps": spec.rest_steps,
            "threads": spec.threads,
            "precision": spec.precision,
            "compiled": spec.compiled,
            "dataset_hash": cache.dataset_hash,
            "episodes": cache.episodes,
            "frames": len(cache.state),
        }


def _check_out(spec: TrainSpec) -> None:
    exists = spec.out.exists() and any(spec.out.iterdir())
    if exists and not spec.resume:
        raise PolicyError(
            "the training directory exists already",
            where=spec.out,
            remedy="choose a new directory, or continue this run with --resume",
        )


def normalization(rows: NDArray[np.float64], contract: RobotContract) -> Chain:
    """Normalization by the statistics of `rows` (N, dof); the spread has a floor per joint."""
    floors = np.full(contract.dof, _STD_FLOOR_RAD)
    for index in contract.grippers.values():
        floors[index] = _STD_FLOOR_SHARE * (contract.upper[index] - contract.lower[index])
    statistics = JointStatistics.of(contract.joint_names, rows)
    return Chain((Normalize(statistics, tuple(float(v) for v in floors)),))
