"""The processor steps: pictures, instruction, normalization and its inverse, registered with LeRobot.

Each is a thin coat around the definition that the trainer and the policy node of FineVLA run, and is saved
with everything it needs. A step that lacks statistics, or meets data that it was not made for, raises:
LeRobot's own normalizer would hand the normalised numbers to the robot unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from lerobot.configs import FeatureType, PipelineFeatureType, PolicyFeature
from lerobot.lerobot_types import EnvTransition, TransitionKey
from lerobot.processor import ProcessorStep, ProcessorStepRegistry
from lerobot.utils.constants import OBS_LANGUAGE_TOKENS
from numpy.typing import NDArray
from torch import Tensor

from finevla.contract import keys
from finevla.contract.images import WorkspaceCrop
from finevla.contract.transforms import Transform, transform_from_json
from finevla.errors import ContractError, InstructionError, PolicyError
from finevla.policy.inference import pictures_to_tensor
from finevla.policy.text import TextCodec, codec_from_json

Features = dict[PipelineFeatureType, dict[str, PolicyFeature]]
WORDS = OBS_LANGUAGE_TOKENS
"""Key of the encoded instruction in a batch, int64 (B, L)."""
PICTURES_STEP, INSTRUCTION_STEP = "finevla_pictures", "finevla_instruction"
NORMALIZER_STEP, UNNORMALIZER_STEP = "finevla_normalizer", "finevla_unnormalizer"


@ProcessorStepRegistry.register(PICTURES_STEP)
@dataclass
class PicturesStep(ProcessorStep):
    """Camera pictures to network pictures; pictures that the policy does not see are dropped.

    Args:
        images: LeRobot key to `WorkspaceCrop.to_json()`, in the order of the policy.
    """

    images: dict[str, dict[str, list[int]]]

    def __post_init__(self) -> None:
        """Builds the transforms."""
        self._crops = {key: WorkspaceCrop.from_json(image) for key, image in self.images.items()}

    def __call__(self, transition: EnvTransition) -> EnvTransition:
        """Pictures (B, 3, H, W), float in [0, 1] or uint8, to float32 (B, 3, h, w) in [-1, 1]."""
        observation = dict(transition[TransitionKey.OBSERVATION] or {})
        missing = [key for key in self._crops if key not in observation]
        if missing:
            raise ContractError(
                "an observation lacks pictures",
                expected=list(self._crops),
                found=f"no {missing}",
                remedy="give every camera that the policy was trained with, or map names with rename_map",
            )
        pictures = {key: self._seen(observation[key], crop) for key, crop in self._crops.items()}
        kept = {k: v for k, v in observation.items() if not k.startswith("observation.image")}
        return {**transition, TransitionKey.OBSERVATION: {**kept, **pictures}}

    def _seen(self, pictures: Tensor, crop: WorkspaceCrop) -> Tensor:
        batch = _bytes(pictures).movedim(1, -1).contiguous().numpy()
        return pictures_to_tensor(np.stack([crop(picture) for picture in batch]))

    def get_config(self) -> dict[str, Any]:
        """The transforms."""
        return {"images": self.images}

    def transform_features(self, features: Features) -> Features:
        """Pictures shrink to the size that the network sees."""
        seen = dict(features.get(PipelineFeatureType.OBSERVATION, {}))
        for key, crop in self._crops.items():
            seen[key] = PolicyFeature(FeatureType.VISUAL, (3, crop.size[1], crop.size[0]))
        return {**features, PipelineFeatureType.OBSERVATION: seen}


@ProcessorStepRegistry.register(INSTRUCTION_STEP)
@dataclass
class InstructionStep(ProcessorStep):
    """The task text to token ids, by the codec of the policy.

    Args:
        text: `TextCodec.to_json()`; its files (a tokenizer, say) are the state of the step.
    """

    text: dict[str, Any]
    _files: dict[str, bytes] = field(default_factory=dict, init=False, repr=False)
    _codec: TextCodec | None = field(default=None, init=False, repr=False)

    @classmethod
    def of(cls, text: Mapping[str, Any], files: Mapping[str, bytes]) -> InstructionStep:
        """A step with its files."""
        step = cls(dict(text))
        step._files = dict(files)
        return step

    @property
    def files(self) -> Mapping[str, bytes]:
        """The files of the codec, by name."""
        return self._files

    @property
    def codec(self) -> TextCodec:
        """The codec; built when it is first needed, because LeRobot loads the state last."""
        if self._codec is None:
            self._codec = codec_from_json(self.text, self._files)
        return self._codec

    def __call__(self, transition: EnvTransition) -> EnvTransition:
        """Adds int64 (B, L) under `WORDS`.

        Raises:
            InstructionError: There is no text, or one that the policy does not understand.
        """
        texts = (transition[TransitionKey.COMPLEMENTARY_DATA] or {}).get(keys.TASK)
        if texts is None:
            raise InstructionError(
                "an observation has no instruction",
                expected=f"a text under the key {keys.TASK!r}",
                found="none",
                remedy="say what to do",
            )
        rows = np.stack([self.codec.encode(text) for text in ([texts] if isinstance(texts, str) else texts)])
        observation = {**(transition[TransitionKey.OBSERVATION] or {}), WORDS: torch.from_numpy(rows)}
        return {**transition, TransitionKey.OBSERVATION: observation}

    def get_config(self) -> dict[str, Any]:
        """The codec, files apart."""
        return {"text": self.text}

    def state_dict(self) -> dict[str, Tensor]:
        """The files as bytes: LeRobot keeps tensors beside a step, and nothing else."""
        return {n: torch.frombuffer(bytearray(b), dtype=torch.uint8) for n, b in self._files.items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Takes the files."""
        self._files = {name: tensor.cpu().numpy().tobytes() for name, tensor in state.items()}
        self._codec = None

    def transform_features(self, features: Features) -> Features:
        """Unchanged: the words are no feature of a robot."""
        return features


@ProcessorStepRegistry.register(NORMALIZER_STEP)
@dataclass
class NormalizerStep(ProcessorStep):
    """Joints to the policy's numbers.

    Args:
        state: Transform of the measured joints, `Transform.to_json()`.
        action: Transform of the commanded joints.
    """

    state: dict[str, Any]
    action: dict[str, Any]

    def __post_init__(self) -> None:
        """Builds the transforms; statistics that are missing or unusable are refused here."""
        self._state, self._action = transform_from_json(self.state), transform_from_json(self.action)

    def __call__(self, transition: EnvTransition) -> EnvTransition:
        """Measured joints and, in training, targets, to float32."""
        observation = transition[TransitionKey.OBSERVATION] or {}
        if keys.STATE not in observation:
            raise ContractError(
                "an observation lacks the measured joints",
                expected=keys.STATE,
                found=sorted(observation),
                remedy="give the state of the robot",
            )
        state = _normalized(self._state, observation[keys.STATE])
        changed: dict[Any, Any] = {TransitionKey.OBSERVATION: {**observation, keys.STATE: state}}
        if (action := transition[TransitionKey.ACTION]) is not None:
            changed[TransitionKey.ACTION] = _normalized(self._action, action)
        return {**transition, **changed}

    def get_config(self) -> dict[str, Any]:
        """The transforms with their statistics."""
        return {"state": self.state, "action": self.action}

    def transform_features(self, features: Features) -> Features:
        """Shapes stay."""
        return features


@ProcessorStepRegistry.register(UNNORMALIZER_STEP)
@dataclass
class UnnormalizerStep(ProcessorStep):
    """The policy's numbers to joint targets, within the limits of the robot where they are known.

    Args:
        action: Transform of the commanded joints, `Transform.to_json()`; its inverse is applied.
        lower: Smallest target of each joint; empty where no contract gives limits.
        upper: Largest target of each joint.
    """

    action: dict[str, Any]
    lower: list[float] = field(default_factory=list)
    upper: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Builds the transform; statistics that are missing or unusable are refused here."""
        self._action = transform_from_json(self.action)
        lengths = {len(self.lower), len(self.upper)}
        if lengths not in ({0}, {len(self._action.names)}):
            raise ContractError(
                "the joint limits do not fit the joints",
                expected=f"{len(self._action.names)} lower and upper limits, or none",
                found=f"{len(self.lower)} and {len(self.upper)}",
                remedy="take the checkpoint as it was written",
            )

    def __call__(self, transition: EnvTransition) -> EnvTransition:
        """Targets (..., dof) as float64.

        Raises:
            PolicyError: A number is not finite.
        """
        targets = self._action.invert(_numbers(transition[TransitionKey.ACTION]))
        if not np.isfinite(targets).all():
            raise PolicyError(
                "the policy gave targets that are not finite numbers",
                found=f"{int((~np.isfinite(targets)).sum())} values not finite",
                remedy="do not use this checkpoint; train again and look at the loss",
            )
        if self.lower:
            targets = np.clip(targets, self.lower, self.upper)
        return {**transition, TransitionKey.ACTION: torch.from_numpy(targets)}

    def get_config(self) -> dict[str, Any]:
        """Transform and limits."""
        return {"action": self.action, "lower": self.lower, "upper": self.upper}

    def transform_features(self, features: Features) -> Features:
        """Shapes stay."""
        return features


def _bytes(pictures: Tensor) -> Tensor:
    """Pictures as uint8: LeRobot divides them by 255, and multiplying restores them exactly."""
    pictures = pictures.detach().cpu()
    if pictures.dtype == torch.uint8:
        return pictures
    scaled = pictures.to(torch.float32) * 255.0
    whole = scaled.round()
    if not (torch.isfinite(whole).all() and whole.min() >= 0 and whole.max() <= 255):
        raise ContractError(
            "a picture is not in the range that LeRobot gives",
            expected="uint8, or float from 0 to 1",
            found=f"{pictures.dtype} from {float(pictures.min()):.3g} to {float(pictures.max()):.3g}",
            remedy="pass the pictures as the dataset or LeRobot's robot gives them",
        )
    return whole.to(torch.uint8)


def _numbers(values: Tensor | None) -> NDArray[np.float64]:
    if values is None:
        raise PolicyError("there is no action", remedy="pass what the policy predicted")
    return values.detach().cpu().to(torch.float64).numpy()


def _normalized(transform: Transform, values: Tensor) -> Tensor:
    """Normalised float32.

    Raises:
        ContractError: A joint is missing or not finite.
    """
    numbers = _numbers(values)
    if not np.isfinite(numbers).all():
        raise ContractError(
            "a joint is not a finite number",
            expected=list(transform.names),
            found=numbers.tolist(),
            remedy="check the joint feedback, or convert the dataset again",
        )
    return torch.from_numpy(transform.apply(numbers).astype(np.float32))
