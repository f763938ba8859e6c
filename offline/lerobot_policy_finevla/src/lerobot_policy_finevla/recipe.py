"""Everything around a network that makes it a policy: pictures, text, statistics, limits.

A recipe is found from a dataset when a policy is made from scratch (`adopt_dataset` in `adopt.py`), or read
from the processor steps of a checkpoint (`read_recipe`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lerobot.processor import PolicyProcessorPipeline
from lerobot.processor.converters import policy_action_to_transition, transition_to_policy_action
from lerobot.utils.constants import POLICY_POSTPROCESSOR_DEFAULT_NAME, POLICY_PREPROCESSOR_DEFAULT_NAME

from finevla.contract.images import WorkspaceCrop
from finevla.contract.transforms import Transform, transform_from_json
from finevla.errors import PolicyError
from lerobot_policy_finevla.steps import InstructionStep, NormalizerStep, PicturesStep, UnnormalizerStep

BEFORE = (
    "rename_observations_processor",
    "to_batch_processor",
    "finevla_pictures",
    "finevla_instruction",
    "normalizer_processor",
    "finevla_normalizer",
    "device_processor",
)
"""Steps of the pre-processor, by registered name."""
AFTER = ("unnormalizer_processor", "finevla_unnormalizer", "device_processor")
"""Steps of the post-processor."""


@dataclass(frozen=True)
class Recipe:
    """What surrounds a network.

    Args:
        images: LeRobot key to transform, in the order of the policy.
        text: The text codec, `TextCodec.to_json()`.
        state: Measured joints to policy numbers.
        action: Commanded joints to policy numbers.
        files: Files of the codec.
        lower: Smallest target of each joint; empty where no contract gives limits.
        upper: Largest target of each joint.
    """

    images: Mapping[str, WorkspaceCrop]
    text: Mapping[str, Any]
    state: Transform
    action: Transform
    files: Mapping[str, bytes] = field(default_factory=dict)
    lower: tuple[float, ...] = ()
    upper: tuple[float, ...] = ()


def read_recipe(checkpoint: Path | str) -> Recipe:
    """The recipe that the processor steps of a checkpoint hold.

    Raises:
        PolicyError: Steps were added, removed or set otherwise than this plugin does.
    """
    before: PolicyProcessorPipeline[Any, Any] = PolicyProcessorPipeline.from_pretrained(
        checkpoint,
        config_filename=f"{POLICY_PREPROCESSOR_DEFAULT_NAME}.json",
        overrides={"device_processor": {"device": "cpu"}},
    )
    after: PolicyProcessorPipeline[Any, Any] = PolicyProcessorPipeline.from_pretrained(
        checkpoint,
        config_filename=f"{POLICY_POSTPROCESSOR_DEFAULT_NAME}.json",
        to_transition=policy_action_to_transition,
        to_output=transition_to_policy_action,
    )
    _check_steps(before, BEFORE, checkpoint)
    _check_steps(after, AFTER, checkpoint)
    pictures, instruction, normalizer = (before.steps[i] for i in (2, 3, 5))
    unnormalizer = after.steps[1]
    assert isinstance(pictures, PicturesStep)  # noqa: S101  # `_check_steps` saw the names
    assert isinstance(instruction, InstructionStep)  # noqa: S101
    assert isinstance(normalizer, NormalizerStep)  # noqa: S101
    assert isinstance(unnormalizer, UnnormalizerStep)  # noqa: S101
    if unnormalizer.action != normalizer.action:
        raise PolicyError(
            "the checkpoint normalizes actions in one way and inverts another",
            where=checkpoint,
            expected=normalizer.action,
            found=unnormalizer.action,
            remedy="take the checkpoint as it was written",
        )
    return Recipe(
        images={key: WorkspaceCrop.from_json(image) for key, image in pictures.images.items()},
        text=instruction.text,
        files=instruction.files,
        state=transform_from_json(normalizer.state),
        action=transform_from_json(normalizer.action),
        lower=tuple(unnormalizer.lower),
        upper=tuple(unnormalizer.upper),
    )


def _check_steps(
    pipeline: PolicyProcessorPipeline[Any, Any], names: tuple[str, ...], checkpoint: Path | str
) -> None:
    config = pipeline.get_config()["steps"]
    found = tuple(str(step.get("registry_name", step.get("class"))) for step in config)
    modes = {m for step in config for m in step["config"].get("norm_map", {}).values()}
    if found != names or modes - {"IDENTITY"}:
        raise PolicyError(
            "the checkpoint has other processor steps than this plugin writes",
            where=checkpoint,
            expected=names,
            found=f"{found}, modes of LeRobot's normalizer {sorted(modes)}",
            remedy="use the checkpoint with LeRobot only, or train it without these steps",
        )
