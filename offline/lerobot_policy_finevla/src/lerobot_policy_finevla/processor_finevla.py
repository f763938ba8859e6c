"""The pipelines around the policy, in LeRobot's order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lerobot.processor import (
    AddBatchDimensionProcessorStep,
    DeviceProcessorStep,
    NormalizerProcessorStep,
    PolicyProcessorPipeline,
    ProcessorStep,
    RenameObservationsProcessorStep,
    UnnormalizerProcessorStep,
)
from lerobot.processor.converters import policy_action_to_transition, transition_to_policy_action
from lerobot.utils.constants import POLICY_POSTPROCESSOR_DEFAULT_NAME, POLICY_PREPROCESSOR_DEFAULT_NAME

from finevla.errors import PolicyError
from lerobot_policy_finevla.configuration_finevla import FineVLAConfig
from lerobot_policy_finevla.steps import InstructionStep, NormalizerStep, PicturesStep, UnnormalizerStep

if TYPE_CHECKING:
    from lerobot_policy_finevla.recipe import Recipe


def make_finevla_pre_post_processors(
    config: FineVLAConfig, dataset_stats: dict[str, Any] | None = None
) -> tuple[PolicyProcessorPipeline[Any, Any], PolicyProcessorPipeline[Any, Any]]:
    """New pipelines for a policy that was just made from a dataset.

    LeRobot's own normalizer steps are in them because `lerobot-train` hands statistics to steps of these
    names and stops where there are none; with the mapping IDENTITY they pass everything on.

    Args:
        config: Configuration of that policy: `FineVLAPolicy` leaves the recipe in it.
        dataset_stats: Unused: the recipe has the statistics that the policy was made with.

    Raises:
        PolicyError: No policy was made from a dataset with this configuration.
    """
    del dataset_stats
    recipe = config.recipe
    if recipe is None:
        raise PolicyError(
            "there are no statistics to normalize with",
            expected="a configuration from which a policy was made with a dataset, or a checkpoint",
            found="a configuration alone",
            remedy="make the policy first (lerobot.policies.make_policy), or give pretrained_path",
        )
    return pipelines(config, recipe)


def pipelines(
    config: FineVLAConfig, recipe: Recipe
) -> tuple[PolicyProcessorPipeline[Any, Any], PolicyProcessorPipeline[Any, Any]]:
    """The pipelines that a recipe describes."""
    features = {**(config.input_features or {}), **(config.output_features or {})}
    action = recipe.action.to_json()
    before: list[ProcessorStep] = [
        RenameObservationsProcessorStep(rename_map={}),
        AddBatchDimensionProcessorStep(),
        PicturesStep({key: image.to_json() for key, image in recipe.images.items()}),
        InstructionStep.of(recipe.text, recipe.files),
        NormalizerProcessorStep(features=features, norm_map=config.normalization_mapping),
        NormalizerStep(recipe.state.to_json(), action),
        DeviceProcessorStep(device=config.device),
    ]
    after: list[ProcessorStep] = [
        UnnormalizerProcessorStep(
            features=config.output_features or {}, norm_map=config.normalization_mapping
        ),
        UnnormalizerStep(action, list(recipe.lower), list(recipe.upper)),
        DeviceProcessorStep(device="cpu"),
    ]
    return (
        PolicyProcessorPipeline(steps=before, name=POLICY_PREPROCESSOR_DEFAULT_NAME),
        PolicyProcessorPipeline(
            steps=after,
            name=POLICY_POSTPROCESSOR_DEFAULT_NAME,
            to_transition=policy_action_to_transition,
            to_output=transition_to_policy_action,
        ),
    )
