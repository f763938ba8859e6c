"""Bundles to LeRobot checkpoints and back, so that a policy can be trained on either side.

A LeRobot checkpoint is a folder with `config.json`, `model.safetensors` and the processor steps. Both
directions go through LeRobot's own loading, and are proven on noise before they count: the same
observation and words give the same targets, bit by bit, as `finevla.policy.inference.Policy`.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import numpy as np

from finevla.contract import keys
from finevla.contract.bundle import BundleContent, read_bundle, write_bundle
from finevla.contract.frame import Observation
from finevla.contract.robot import RobotContract
from finevla.errors import BundleError, PolicyError
from finevla.policy.inference import Policy, load_policy
from finevla.policy.model import load_weights, network_weights
from finevla.stages.export.lerobot_checkpoint import (
    PLUGIN,
    LerobotPolicy,
    checkpoint_folder,
    is_checkpoint,
    load_lerobot,
    load_plugin,
)
from finevla.stages.export.run import ExportSpec, export_bundle

__all__ = ["ROUNDING", "from_lerobot", "is_checkpoint", "load_lerobot", "to_lerobot", "train_dir_to_lerobot"]

_CONTRACT = "contract_hash"
"""Where a checkpoint keeps the hash of the contract; a bundle has the whole contract instead."""
_TRAIN_CONFIG = "train_config.json"
ROUNDING = 1e-5
"""Rad or m. The weights are the same to the bit; their targets differed by up to 1.8e-6 on a processor with
AVX2, three cameras and one thread, for a reason that is not known yet."""


def to_lerobot(bundle: Path, out: Path, contract: RobotContract) -> Path:
    """Writes a bundle as a LeRobot checkpoint into the new folder `out`; nothing is left if it fails.

    Raises:
        BundleError: The bundle is not for this robot, or the result gives other targets.
        PolicyError: `out` exists, or the plugin is not installed.
    """
    plugin = load_plugin()
    if out.exists():
        raise PolicyError(
            "the output exists already", where=out, remedy="choose a new directory or remove this one"
        )
    policy = load_policy(bundle, contract)
    content = policy.bundle.content
    config = _config(plugin, content, contract)
    wrapped = importlib.import_module(f"{PLUGIN}.modeling_finevla").FineVLAPolicy(config)
    load_weights(wrapped.network, policy.bundle.weights)
    images = {contract.cameras[name].key: image for name, image in content.images.items()}
    recipe = importlib.import_module(f"{PLUGIN}.recipe").Recipe(
        images=images,
        text=content.text,
        files=content.files,
        state=content.state,
        action=content.action,
        lower=tuple(map(float, contract.lower)),
        upper=tuple(map(float, contract.upper)),
    )
    pipelines = importlib.import_module(f"{PLUGIN}.processor_finevla").pipelines(config, recipe)
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        for part in (wrapped, *pipelines):
            part.save_pretrained(partial)
        _compare(load_lerobot(partial), policy)
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return out


def train_dir_to_lerobot(spec: ExportSpec, contract: RobotContract) -> Path:
    """Writes a checkpoint of `finevla train` as a LeRobot checkpoint into `spec.out`, by way of a bundle.

    Raises:
        PolicyError: As `export_bundle` and `to_lerobot`.
        BundleError: As `export_bundle` and `to_lerobot`.
    """
    with TemporaryDirectory(dir=_parent(spec.out), prefix=f".{spec.out.name}.") as folder:
        report = export_bundle(dataclasses.replace(spec, out=Path(folder) / spec.out.name), contract)
        return to_lerobot(report.bundle, spec.out, contract)


def _parent(out: Path) -> Path:
    out.parent.mkdir(parents=True, exist_ok=True)
    return out.parent


def from_lerobot(checkpoint: Path, out: Path, contract: RobotContract, command: str = "") -> Path:
    """Writes a LeRobot checkpoint as a bundle into the new folder `out`; nothing is left if it fails.

    Args:
        checkpoint: `pretrained_model`, or an output directory of lerobot-train (its newest checkpoint).
        out: Where to; it must not exist.
        contract: The robot.
        command: The command, for the provenance.

    Raises:
        PolicyError: This is no checkpoint of the plugin, or steps were added to its processors.
        BundleError: The policy is not for this robot, `out` exists, or the result gives other targets.
    """
    loaded = load_lerobot(checkpoint)
    folder = checkpoint_folder(checkpoint)
    config = loaded.policy.config
    recipe = importlib.import_module(f"{PLUGIN}.recipe").read_recipe(str(folder))
    recorded = config.provenance.get(_CONTRACT, contract.hash)
    if recorded != contract.hash:
        raise BundleError(
            "the policy was trained for another robot contract",
            where=folder,
            expected=contract.hash,
            found=recorded,
            remedy="use the contract that its dataset was recorded with, or train again with this one",
        )
    content = BundleContent(
        model=config.model,
        images=_camera_names(recipe.images, contract, folder),
        dt_s=config.dt_s,
        horizon=config.chunk_size,
        text=recipe.text,
        dimensions={slot: tuple(values) for slot, values in config.dimensions.items()},
        state=recipe.state,
        action=recipe.action,
        provenance=_provenance(config.provenance, folder, command),
        files=recipe.files,
    )
    write_bundle(out, contract, content, network_weights(loaded.policy.network))
    try:
        _compare(loaded, Policy(read_bundle(out, contract), contract))
    except BaseException:
        shutil.rmtree(out)
        raise
    return out


def _config(plugin: ModuleType, content: BundleContent, contract: RobotContract) -> Any:
    configs = importlib.import_module("lerobot.configs")
    feature, kinds = configs.PolicyFeature, configs.FeatureType
    joints = (contract.dof,)
    cameras = [contract.cameras[name] for name in content.images]
    pictures = {c.key: feature(kinds.VISUAL, (3, c.height, c.width)) for c in cameras}
    return plugin.FineVLAConfig(
        device="cpu",
        push_to_hub=False,
        input_features={**pictures, keys.STATE: feature(kinds.STATE, joints)},
        output_features={keys.ACTION: feature(kinds.ACTION, joints)},
        backbone=content.model["backbone"]["type"],
        head=content.model["head"]["type"],
        cameras=[camera.key for camera in cameras],
        mix=content.provenance["mix"],
        chunk_size=content.horizon,
        model=dict(content.model),
        joint_names=list(contract.joint_names),
        dt_s=content.dt_s,
        dimensions={slot: list(values) for slot, values in content.dimensions.items()},
        provenance={**content.provenance, _CONTRACT: contract.hash},
    )


def _camera_names(images: Mapping[str, Any], contract: RobotContract, folder: Path) -> dict[str, Any]:
    names = {camera.key: name for name, camera in contract.cameras.items()}
    if unknown := [key for key in images if key not in names]:
        raise BundleError(
            "the policy sees cameras that the robot does not have",
            where=folder,
            expected=sorted(names),
            found=unknown,
            remedy="train it on a dataset of this robot",
        )
    return {names[key]: image for key, image in images.items()}


def _provenance(known: Mapping[str, Any], folder: Path, command: str) -> dict[str, Any]:
    """What the checkpoint tells of its origin, with what lerobot-train wrote beside it."""
    commands, seeds, steps = list(known["commands"]), dict(known["seeds"]), known["steps"]
    if (folder / _TRAIN_CONFIG).is_file():
        run = json.loads((folder / _TRAIN_CONFIG).read_text())
        policy = run["policy"]
        commands.append(
            f"lerobot-train --policy.type=finevla --policy.backbone={policy['backbone']} "
            f"--policy.head={policy['head']} --policy.mix={policy['mix']} "
            f"--dataset.repo_id={run['dataset']['repo_id']} --batch_size={run['batch_size']} "
            f"--steps={run['steps']} --seed={run['seed']}"
        )
        seeds["lerobot"] = run["seed"]
        state = folder.parent / "training_state" / "training_step.json"
        steps = json.loads(state.read_text())["step"] if state.is_file() else run["steps"]
    return {
        **{key: value for key, value in known.items() if key != _CONTRACT},
        "commands": [*commands, *([command] if command else [])],
        "seeds": seeds,
        "steps": int(steps),
    }


def _compare(loaded: LerobotPolicy, policy: Policy) -> None:
    """Infers on the same noise on both sides.

    Raises:
        BundleError: The targets differ by more than rounding.
    """
    contract, rng = policy.contract, np.random.default_rng(0)
    images = {
        name: rng.integers(0, 256, (*reversed(image.source), 3), dtype=np.uint8)
        for name, image in policy.bundle.content.images.items()
    }
    observation = Observation(0, contract.home, images)
    ours = policy.infer(observation, policy.codec.example, "export").targets
    named = {contract.cameras[name].key: image for name, image in images.items()}
    theirs = loaded.targets(named, observation.state, policy.codec.example)
    if not np.allclose(ours, theirs, rtol=0.0, atol=ROUNDING):
        raise BundleError(
            "the converted policy gives other targets",
            where=policy.bundle.path,
            expected=f"the same numbers, to {ROUNDING:g}",
            found=f"a difference of up to {np.abs(ours - theirs).max():.3g}",
            remedy="report this; do not use the converted policy",
        )
