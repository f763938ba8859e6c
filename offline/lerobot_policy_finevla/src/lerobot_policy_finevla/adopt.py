"""A policy from scratch: shapes, words, statistics and limits out of a LeRobot dataset."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from finevla.contract import keys
from finevla.contract.images import WorkspaceCrop
from finevla.contract.robot import RobotContract, load_contract
from finevla.contract.transforms import Chain, JointStatistics, Normalize
from finevla.errors import DatasetError, PolicyError
from finevla.policy.config import PolicyConfig, QwenConfig
from finevla.policy.inputs import camera_order
from finevla.policy.lexicon import Lexicon
from finevla.policy.presets import preset
from finevla.policy.text import TextCodec
from finevla.stages.train.mix import Mix
from finevla.stages.train.plan import normalization
from finevla.stages.train.record import dimensions_of, git_commit
from lerobot_policy_finevla.configuration_finevla import FineVLAConfig
from lerobot_policy_finevla.recipe import Recipe
from lerobot_policy_finevla.record import Record, read_record

NO_MANIFEST = "none: lerobot-train draws the frames"
"""Stands where `finevla train` records the hash of every frame that it drew."""


def adopt_dataset(config: FineVLAConfig, meta: Any, stats: Mapping[str, Any] | None) -> None:
    """Fills in what a configuration leaves to the dataset, and leaves the recipe in it.

    Args:
        config: The choices; changed in place.
        meta: `LeRobotDatasetMetadata`.
        stats: Its statistics.

    Raises:
        PolicyError: There is no dataset, or a choice does not fit it.
        DatasetError: Joint names, statistics, pictures or texts are missing or unusable.
    """
    if meta is None:
        raise PolicyError(
            "a policy cannot be made out of nothing",
            expected="a dataset, or the folder of a checkpoint",
            found="a configuration alone",
            remedy="give --dataset.repo_id and --dataset.root, or --policy.path",
        )
    contract, record = load_contract(), read_record(meta)
    if record.contract_hash and record.contract_hash != contract.hash:
        raise DatasetError(
            "the dataset was recorded with another robot contract",
            where=meta.root,
            expected=contract.hash,
            found=record.contract_hash,
            remedy="record and convert again, or use the contract that it was recorded with",
        )
    names = {key: _joint_names(meta.features, key) for key in (keys.STATE, keys.ACTION)}
    codec, model = _text_and_model(config, record, len(names[keys.ACTION]), contract)
    state, action = (_transform(config, stats, key, names[key], contract) for key in names)
    ours = names[keys.ACTION] == contract.joint_names
    config.model = model.to_json()
    config.joint_names = list(names[keys.ACTION])
    config.dt_s = 1.0 / meta.fps
    config.dimensions = dimensions_of(record.texts)
    config.provenance = _provenance(config, meta, record)
    config.input_features = {
        key: feature
        for key, feature in (config.input_features or {}).items()
        if key in {*config.cameras, keys.STATE}
    }
    config.recipe = Recipe(
        images=_images(config, meta.features, model),
        text=codec.to_json(),
        files=codec.files,
        state=state,
        action=action,
        lower=tuple(map(float, contract.lower)) if ours else (),
        upper=tuple(map(float, contract.upper)) if ours else (),
    )


def _joint_names(features: Mapping[str, Any], key: str) -> tuple[str, ...]:
    feature = features.get(key, {})
    names = feature.get("names")
    if isinstance(names, Mapping) and len(names) == 1:  # LeRobot's older form: {"motors": [...]}
        names = next(iter(names.values()))
    if not isinstance(names, Sequence) or isinstance(names, str) or len(names) != feature["shape"][0]:
        raise DatasetError(
            f"{key} has no joint names",
            expected="one name per value in meta/info.json",
            found=feature or "no such feature",
            remedy="write the names of the joints into the dataset; numbers without names are not used",
        )
    return tuple(map(str, names))


def _text_and_model(
    config: FineVLAConfig, record: Record, dof: int, contract: RobotContract
) -> tuple[TextCodec, PolicyConfig]:
    words = Lexicon.from_texts(record.texts)
    model = preset(
        config.backbone, config.head, dof=dof, horizon=config.chunk_size, vocabulary_size=words.size
    )
    config.cameras = config.cameras or _cameras(model.cameras, contract)
    size = config.image_size or model.image_size
    model = dataclasses.replace(model, cameras=len(config.cameras), image_size=size)
    codec: TextCodec = words
    if isinstance(model.backbone, QwenConfig):
        config.cameras = list(camera_order(config.cameras))
        codec, model = _language_model(config, model)
    elif config.weights:
        raise PolicyError(
            "this backbone does not start from published weights",
            where="--policy.weights",
            expected="nothing, or a qwen backbone",
            found=config.weights,
            remedy="leave the flag out",
        )
    for text in record.texts:
        codec.check(text)
    return codec, model


def _language_model(config: FineVLAConfig, model: PolicyConfig) -> tuple[TextCodec, PolicyConfig]:
    from finevla.policy.qwen_source import configure, with_source
    from finevla.policy.qwen_text import QwenCodec

    if config.backbone == "qwen-tiny" and not config.weights:  # random, with a tokenizer of its own
        from finevla.policy.qwen_tiny import tiny_tokenizer

        return QwenCodec.for_policy(model, tiny_tokenizer()), model
    if not config.weights:
        raise PolicyError(
            "the backbone needs a published language model",
            where="--policy.weights",
            expected="a folder with config.json, tokenizer.json and weights as safetensors",
            found="nothing",
            remedy="give the folder of the model, or choose --policy.backbone=compact",
        )
    model = with_source(model, config.weights)
    return QwenCodec.for_policy(model, configure(config.weights)[1]), model


def _cameras(count: int, contract: RobotContract) -> list[str]:
    """The pivot camera for a policy with one eye, all of the contract for one with more."""
    if count == 1:
        return [contract.cameras[contract.sync.pivot].key]
    return [camera.key for camera in contract.cameras.values()]


def _images(
    config: FineVLAConfig, features: Mapping[str, Any], model: PolicyConfig
) -> dict[str, WorkspaceCrop]:
    images = {}
    for place, key in enumerate(config.cameras):
        feature = features.get(key)
        if feature is None or tuple(feature["names"]) != ("height", "width", "channels"):
            raise DatasetError(
                f"the dataset lacks the pictures {key}",
                expected="a video or image feature (height, width, channels)",
                found=feature or sorted(k for k, f in features.items() if f["dtype"] in {"video", "image"}),
                remedy="name the cameras that are there with --policy.cameras",
            )
        height, width = feature["shape"][:2]
        box = config.crop if config.crop and place == 0 else (0, 0, width, height)
        size = model.image_size
        if model.backbone.resizes:  # such a backbone enlarges by itself; the transform never does
            size = (min(size[0], box[2] - box[0]), min(size[1], box[3] - box[1]))
        images[key] = WorkspaceCrop((width, height), box, size)
    return images


def _transform(
    config: FineVLAConfig,
    stats: Mapping[str, Any] | None,
    key: str,
    names: tuple[str, ...],
    contract: RobotContract,
) -> Chain:
    part = (stats or {}).get(key, {})
    fields = ("mean", "std", "min", "max", "count")
    if lacking := [name for name in fields if name not in part]:
        raise DatasetError(
            f"the dataset has no statistics of {key}",
            expected=list(fields),
            found=f"no {lacking}",
            remedy="compute them (meta/stats.json); a policy is never trained or run without normalization",
        )
    mean, std, low, high = (
        tuple(float(v) for v in np.asarray(part[name], dtype=np.float64).ravel()) for name in fields[:4]
    )
    statistics = JointStatistics(names, mean, std, low, high, int(np.asarray(part["count"]).ravel()[0]))
    return Chain((Normalize(statistics, _floors(config, names, contract)),))


def _floors(config: FineVLAConfig, names: tuple[str, ...], contract: RobotContract) -> tuple[float, ...]:
    if config.std_floor is not None:
        return (config.std_floor,) * len(names)
    if names != contract.joint_names:
        raise DatasetError(
            "the joints are not those of the robot contract, so nothing says how little they may spread",
            expected=list(contract.joint_names),
            found=list(names),
            remedy="give --policy.std_floor in the dataset's units, such as 0.05 for radians",
        )
    ends = normalization(np.stack([contract.lower, contract.upper]), contract)
    step = ends.steps[0]
    assert isinstance(step, Normalize)  # noqa: S101  # `normalization` makes nothing else
    return step.floor


def _provenance(config: FineVLAConfig, meta: Any, record: Record) -> dict[str, Any]:
    recorded = {"contract_hash": record.contract_hash} if record.contract_hash else {}
    return {
        **recorded,
        "dataset_hash": record.dataset_hash,
        "manifest_hash": NO_MANIFEST,
        "mix": Mix.parse(config.mix).name,
        "commands": [],
        "seeds": {},
        "git_commit": git_commit(),
        "steps": 0,
        "episodes": int(meta.total_episodes),
        "frames": int(meta.total_frames),
    }


def check_dataset(config: FineVLAConfig, meta: Any) -> None:
    """Refuses to go on training with data of another robot; notes the data that comes new.

    Raises:
        DatasetError: Joints or frame rate are not those that the checkpoint was trained with.
    """
    names = list(_joint_names(meta.features, keys.ACTION))
    if names != config.joint_names or abs(1.0 / meta.fps - config.dt_s) > 1e-9:
        raise DatasetError(
            "the dataset is not of the robot that the checkpoint was trained for",
            where=Path(meta.root).name,
            expected=f"{config.joint_names} every {config.dt_s:g} s",
            found=f"{names} every {1.0 / meta.fps:g} s",
            remedy="train from scratch (--policy.type=finevla), or choose another dataset",
        )
    found = read_record(meta).dataset_hash
    before = dict(config.provenance)
    if found != before["dataset_hash"]:
        config.provenance = {
            **before,
            "dataset_hash": found,
            "manifest_hash": NO_MANIFEST,
            "episodes": int(meta.total_episodes),
            "frames": int(meta.total_frames),
            "datasets_before": [*before.get("datasets_before", []), before["dataset_hash"]],
        }
    config.provenance["mix"] = Mix.parse(config.mix).name
