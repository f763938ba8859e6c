"""The flags of `finevla train`, and what they ask for."""

from __future__ import annotations

import dataclasses
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

from finevla.contract.robot import load_contract
from finevla.errors import PolicyError
from finevla.stages.train.augment import Augment
from finevla.stages.train.board import Logger
from finevla.stages.train.data import CacheMode
from finevla.stages.train.design import ModelSpec, image_transforms
from finevla.stages.train.engine import Device
from finevla.stages.train.mix import Mix, MixMode
from finevla.stages.train.places import Workspace
from finevla.stages.train.recipes import DEFAULT, Recipe, recipe
from finevla.stages.train.sampler import Balance
from finevla.stages.train.schedule import Decay, Optimizer, Schedule
from finevla.stages.train.sim_eval import Simulation
from finevla.stages.train.spec import TrainSpec

_NO_RESULT = frozenset({
    "dataset", "out", "resume", "logger", "prefetch", "cache", "cache_dir", "cache_workers",
})  # fmt: skip
"""Flags that change no weight, and the two that come first."""

Number = Literal["preset", "float32", "bfloat16"]


@dataclass(frozen=True)
class Config:
    """Train a policy on a dataset.

    One process, or one per GPU: `accelerate launch -m finevla train ...`; on CPUs
    `torchrun --nproc-per-node 2 -m finevla train ...`. What is trained on does not depend on how many.
    """

    dataset: tyro.conf.Positional[Path]
    """LeRobot v3.0 dataset, as `finevla convert` writes it."""
    out: Path
    """New directory for checkpoints and metrics."""
    steps: int | None = None
    """Updates; binding of words needs several hundred. 3000 in the preset compact."""
    batch_size: int | None = None
    """Samples per update, over all processes."""
    lr: float | None = None
    """Highest learning rate; of everything that has none of its own."""
    vlm_lr: float | None = None
    """Highest learning rate of the pretrained vision-language model."""
    head_lr: float | None = None
    """Highest learning rate of the action head."""
    warmup: int | None = None
    """Updates until the highest learning rate."""
    decay: Decay | None = None
    """What follows: cosine (to zero, over all updates), cosine_with_min_lr or constant."""
    min_lr: float | None = None
    """Learning rate at the end of cosine_with_min_lr."""
    weight_decay: float | None = None
    """Of AdamW."""
    preset: str = DEFAULT
    """Gives all of the above that is not given: compact, or a schedule of the paper: rdt-gr00t, aloha-oft,
    robotwin-sft, robotwin-clean."""
    model: str = "compact"
    """Backbone: compact, compact-3cam, qwen3-vl-4b, qwen3.5-4b."""
    head: str = "oft"
    """Action head: oft (regression) or flow (denoising)."""
    vlm: Path | None = None
    """Folder of the pretrained vision-language model of a qwen backbone: config.json, tokenizer.json and
    safetensors."""
    init: Path | None = None
    """Bundle or training directory whose weights are the first ones; a head of another kind starts fresh."""
    mix: str = "fg"
    """Fine-grained to raw text: fg, raw, or a ratio such as 1:4."""
    mix_mode: MixMode = "strict"
    """strict changes nothing but the words; upstream draws as the paper's code does."""
    balance: Balance = "frames"
    """Draw frames uniformly (frames), or task groups first (group)."""
    mirror: float = 0.0
    """Probability that a sample is mirrored: arms, pictures and the words left and right change sides."""
    roll_px: int = 1
    """Largest random shift of a picture, pixels: for cameras that do not stay where they were. The smaller
    the picture, the more a pixel is worth; 0 for a precise hand."""
    mirror_without: tuple[str, ...] = ()
    """Phrases whose sentences are never mirrored, such as "left bowl": keeps them out of training."""
    workspace: tuple[float, float, float, float] | None = None
    """Rectangle of the table that the first picture shows, m: x near, x far, y right, y left. Where given,
    the policy also learns to mark in it where the hand acts next, which binds words to places earlier."""
    grounding: float = 0.05
    """Weight of that lesson in the loss."""
    seed: int = 0
    """Fixes weights, batches, augmentation, noise and validation episodes."""
    val_episodes: int = 40
    """Episodes kept for validation; at most a fifth of all."""
    cameras: tuple[str, ...] = ()
    """Cameras of the policy, in order; when not given the pivot camera for compact, else all."""
    crop: tuple[int, int, int, int] | None = None
    """Box in the pivot camera's picture: left, top, right, bottom, pixels. When not given the workspace
    (102 50 218 166) for compact, else the whole picture. Other cameras are seen whole."""
    image_size: int | None = None
    """Width and height of the policy's pictures, pixels; 64 for compact, 224 for qwen."""
    no_state: bool = False
    """Leave the measured joints out of the inputs."""
    with_state: bool = False
    """Give the measured joints to a policy whose preset leaves them out."""
    rest_steps: int = 15
    """Repetitions of the last action after an episode that count as targets, so that it learns to rest."""
    precision: Number = "preset"
    """Number format of the computation; weights stay in float32. The preset computes a vision-language
    model in bfloat16 and everything else in float32."""
    gradient_checkpointing: Literal["preset", "on", "off"] = "preset"
    """Trade a second forward pass through the vision-language model for memory."""
    compile: bool = False
    """Let torch compile the backbone: a minute at the start, then a third less time per update on a CPU."""
    accumulate: int = 1
    """Parts that each process takes of its share of a batch, one after the other."""
    optimizer: Optimizer = "adamw"
    """muon takes Muon for the matrices outside of a pretrained model and AdamW for the rest: half of the
    updates for compact, a sixth more time for each."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    ema: float = 0.0
    """Decay of averaged weights, such as 0.999; they are measured and exported. 0 keeps none."""
    probe_every: int = 250
    """Updates between two measurements."""
    save_every: int = 500
    """Updates between two checkpoints."""
    sim_every: int = 0
    """Updates between two evaluations in the simulator; 0 for none."""
    sim_pairs: int = 10
    """Pairs of instructions per factor in such an evaluation."""
    sim_factors: str = "all"
    """Factors of it, as for `finevla evaluate paired`."""
    sim_workers: int = 1
    """Processes of it."""
    logger: Logger = "tensorboard"
    """Where curves go beside metrics.jsonl: tensorboard, wandb (offline unless WANDB_MODE says otherwise) or
    none."""
    device: Device = "auto"
    """auto takes a GPU where there is one."""
    threads: int = 1
    """Threads of torch; part of what makes a run reproducible."""
    prefetch: int = 2
    """Batches that are prepared ahead in a thread; 0 prepares each when it is needed. Changes no result."""
    cache: CacheMode = "memory"
    """memory decodes all pictures once, none each one when it is drawn: for datasets that do not fit."""
    cache_dir: Path | None = None
    """Folder that keeps the decoded pictures for the next run; none are kept when not given."""
    cache_workers: int = 1
    """Threads that decode."""
    resume: bool = False
    """Continue the run in --out from its newest checkpoint, exactly."""


def resolved(config: Config) -> Config:
    """The same flags with everything filled in that the preset gives for this model.

    Raises:
        PolicyError: There is no such preset, or no such policy.
    """
    chosen = dataclasses.asdict(recipe(config.preset))
    if ModelSpec(config.model, config.head).own_words:
        del chosen["vlm_lr"]
    gaps: dict[str, Any] = {name: value for name, value in chosen.items() if getattr(config, name) is None}
    return dataclasses.replace(config, **gaps)


def training_spec(config: Config) -> TrainSpec:
    """The stage's view of the flags.

    Raises:
        ContractError: A camera is not one of the robot's, or the box does not fit its picture.
        PolicyError: A flag is not usable; it is named.
        DatasetError: The mix cannot be read.
    """
    config = resolved(config)
    contract, model = load_contract(), _model(config)
    if model.own_words and config.vlm_lr is not None:
        raise _contradiction("--vlm-lr", "a --model with a vision-language model", f"--model {model.name}")
    return TrainSpec(
        dataset=config.dataset,
        out=config.out,
        images=image_transforms(contract, model, config.cameras, config.crop, config.image_size),
        schedule=_schedule(config),
        validation_episodes=config.val_episodes,
        rest_steps=config.rest_steps,
        threads=config.threads,
        command=command_line(config),
        resume=config.resume,
        model=model,
        mix=Mix.parse(config.mix),
        mix_mode=config.mix_mode,
        balance=config.balance,
        augment=Augment(roll_px=config.roll_px, mirror=config.mirror),
        init=config.init,
        precision="bf16" if model.own_words and config.precision == "bfloat16" else "no",
        device=config.device,
        logger=config.logger,
        simulation=Simulation(config.sim_every, config.sim_pairs, config.sim_factors, config.sim_workers),
        prefetch=config.prefetch,
        cache=config.cache,
        cache_dir=config.cache_dir,
        cache_workers=config.cache_workers,
        mirror_without=config.mirror_without,
        compiled=config.compile,
        workspace=None if config.workspace is None else Workspace(*config.workspace),
    )


def command_line(config: Config) -> str:
    """The command that repeats the run: the schedule in full, and all other flags that were given.

    Directory names stand in place of paths of this machine; what changes no result is left out.
    """
    full = resolved(config)
    always = {"seed", "preset", *(field.name for field in dataclasses.fields(Recipe))}
    flags = [
        f"--{field.name.replace('_', '-')}{_value(value)}"
        for field in dataclasses.fields(full)
        if field.name not in _NO_RESULT
        and (value := getattr(full, field.name)) is not None
        and (field.name in always or value != field.default)
    ]
    return " ".join(["finevla train", config.dataset.name, "--out", config.out.name, *flags])


def _value(value: Any) -> str:
    if value is True:
        return ""
    values = value if isinstance(value, tuple) else (value,)
    names = (part.resolve().name if isinstance(part, Path) else str(part) for part in values)
    return "".join(f" {shlex.quote(name)}" for name in names)


def _model(config: Config) -> ModelSpec:
    if config.no_state and config.with_state:
        raise _contradiction("--no-state, --with-state", "one of them", "both")
    saving = config.gradient_checkpointing
    model = ModelSpec(
        name=config.model,
        head=config.head,
        vlm=config.vlm,
        use_state=False if config.no_state else config.with_state or None,
        compute=None if config.precision == "preset" else config.precision,
        gradient_checkpointing=None if saving == "preset" else saving == "on",
    )
    model.check_flags()
    return model


def _schedule(config: Config) -> Schedule:
    # `resolved` leaves no gap in these; a type checker cannot know.
    steps, batch_size, warmup = config.steps or 0, config.batch_size or 0, config.warmup or 0
    return Schedule(
        steps=steps,
        batch_size=batch_size,
        learning_rate=config.lr or 0.0,
        warmup=warmup,
        seed=config.seed,
        probe_every=config.probe_every,
        save_every=config.save_every,
        vlm_rate=config.vlm_lr,
        head_rate=config.head_lr,
        decay=config.decay or "cosine",
        min_rate=config.min_lr or 0.0,
        weight_decay=config.weight_decay or 0.0,
        optimizer=config.optimizer,
        clip=config.clip,
        accumulate=config.accumulate,
        ema=config.ema,
        grounding=config.grounding if config.workspace is not None else 0.0,
    )


def _contradiction(flags: str, expected: str, found: str) -> PolicyError:
    return PolicyError(
        "flags of the training contradict each other",
        where=flags,
        expected=expected,
        found=found,
        remedy="leave one of them out",
    )
