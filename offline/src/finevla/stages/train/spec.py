"""What to train on and how: everything that a run is told, in one place."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from finevla.contract.images import WorkspaceCrop
from finevla.stages.train.augment import Augment
from finevla.stages.train.board import Logger
from finevla.stages.train.data import CacheMode
from finevla.stages.train.design import ModelSpec
from finevla.stages.train.engine import Device, Precision
from finevla.stages.train.mix import Mix, MixMode
from finevla.stages.train.places import Workspace
from finevla.stages.train.sampler import Balance
from finevla.stages.train.schedule import Schedule, require
from finevla.stages.train.sim_eval import Simulation


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
