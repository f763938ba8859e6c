"""The stage `train`: dataset in, training directory out.

The directory holds run.json (everything that fixes the policy and its origin), manifest.json (which
frames were trained on, the same for every mix), metrics.jsonl, curve.svg, tensorboard and the newest
checkpoints. `finevla export` makes a bundle of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from finevla.contract.robot import RobotContract
from finevla.errors import PolicyError
from finevla.files import write_json
from finevla.policy.model import PolicyNetwork
from finevla.stages.train.board import open_board
from finevla.stages.train.curve import curve_svg
from finevla.stages.train.data import FrameCache, read_dataset
from finevla.stages.train.design import Design, build_design, design_policy, parameters
from finevla.stages.train.engine import make_accelerator
from finevla.stages.train.loop import Trainer
from finevla.stages.train.manifest import Manifest
from finevla.stages.train.metrics import METRICS_FILE, Measurement, read_metrics
from finevla.stages.train.origin import begin_at, read_origin
from finevla.stages.train.plan import Plan
from finevla.stages.train.probe import Probe
from finevla.stages.train.record import (
    MANIFEST_FILE,
    begin_record,
    check_record,
    contract_part,
    git_commit,
    plain_fields,
    text_part,
)
from finevla.stages.train.spec import TrainSpec

if TYPE_CHECKING:
    from accelerate import Accelerator  # type: ignore[import-untyped]


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
    plan = Plan(spec, contract, _frames(spec, contract, progress))
    design = design_policy(spec.model, contract, spec.images, plan.texts)
    source = plan.source(design.codec)
    manifest = plan.manifest(source)
    network, begun = _first_network(spec, design, contract)
    document = _document(spec, contract, plan, design, manifest, begun)
    if accelerator.is_main_process:
        _begin(spec, document, design, manifest)
    accelerator.wait_for_everyone()
    if spec.compiled:
        network.compile_backbone()
    trainer = Trainer(
        network,
        source,
        plan.frames,
        Probe(plan.cache, source, plan.validation, plan.action, contract),
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
        episodes=plan.cache.episodes,
        frames=len(plan.cache.state),
        parameters=parameters(network),
        words=design.codec.words,
        dataset_hash=plan.cache.dataset_hash,
        manifest_hash=manifest.hash,
        final=final,
    )


def _frames(spec: TrainSpec, contract: RobotContract, progress: Progress) -> FrameCache:
    return read_dataset(
        spec.dataset,
        contract,
        spec.images,
        progress.episode,
        cache=spec.cache,
        cache_dir=spec.cache_dir,
        workers=spec.cache_workers,
    )


def _first_network(
    spec: TrainSpec, design: Design, contract: RobotContract
) -> tuple[PolicyNetwork, dict[str, Any]]:
    """The network that training begins with, and where its weights come from if not from the seed."""
    fresh = not spec.resume and spec.init is None
    network = build_design(design, spec.model, spec.schedule.seed, pretrained=fresh)
    if spec.init is None:
        return network, {}
    origin = read_origin(spec.init, contract)
    return network, {"name": origin.name, **plain_fields(begin_at(origin, network, design.codec))}


def _document(
    spec: TrainSpec,
    contract: RobotContract,
    plan: Plan,
    design: Design,
    manifest: Manifest,
    begun: dict[str, Any],
) -> dict[str, Any]:
    """What run.json says."""
    return {
        "model": design.config.to_json(),
        **text_part(design.codec),
        **contract_part(contract),
        **plan.document(),
        "manifest_hash": manifest.hash,
        "init": begun,
        "command": spec.command,
        "git_commit": git_commit(),
    }


def _begin(spec: TrainSpec, document: dict[str, Any], design: Design, manifest: Manifest) -> None:
    """Writes the record of a new run, or checks that a resumed one is still the same."""
    if spec.resume:
        check_record(spec.out, document)
        return
    begin_record(spec.out, document, design.codec)
    (spec.out / METRICS_FILE).write_text("")
    write_json(spec.out / MANIFEST_FILE, manifest.document)


def _check_out(spec: TrainSpec) -> None:
    exists = spec.out.exists() and any(spec.out.iterdir())
    if exists and not spec.resume:
        raise PolicyError(
            "the training directory exists already",
            where=spec.out,
            remedy="choose a new directory, or continue this run with --resume",
        )
