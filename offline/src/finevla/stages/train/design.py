"""Which policy is trained: flags and training texts to a configuration, a text codec and a network."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from finevla.contract.images import WorkspaceCrop
from finevla.contract.robot import RobotContract
from finevla.errors import ContractError, PolicyError
from finevla.policy.config import CompactConfig, PolicyConfig, QwenConfig
from finevla.policy.inputs import camera_order
from finevla.policy.lexicon import Lexicon
from finevla.policy.model import PolicyNetwork, build_network
from finevla.policy.presets import preset
from finevla.policy.text import TextCodec

Box = tuple[int, int, int, int]

_WORKSPACE: Box = (102, 50, 218, 166)
"""Where the arms can reach in the picture of the simulated overhead camera, pixels."""
_SOME_WORDS = 2
"""A vocabulary's size where only the shape of the pictures is asked for."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A policy by name, and what differs from its preset.

    Args:
        name: Preset of the backbone, one of `finevla.policy.presets.PRESETS`.
        head: `oft` or `flow`.
        vlm: Folder of the pretrained vision-language model and its tokenizer.
        use_state: Whether the measured joints are an input; as the preset says where None.
        compute: Number format of a vision-language model's computation; as the preset says where None.
        gradient_checkpointing: As the preset says where None.
    """

    name: str = "compact"
    head: str = "oft"
    vlm: Path | None = None
    use_state: bool | None = None
    compute: str | None = None
    gradient_checkpointing: bool | None = None

    @property
    def own_words(self) -> bool:
        """Whether the policy learns a vocabulary of its own from the training texts.

        Raises:
            PolicyError: There is no such policy.
        """
        return isinstance(self.outline(1, 1).backbone, CompactConfig)

    def check_flags(self) -> None:
        """Refuses flags that would have no effect.

        Raises:
            PolicyError: There are such; or there is no such policy, or no pretrained folder where one is
                needed.
        """
        if not self.own_words:
            if self.vlm is None:
                raise PolicyError(
                    f"{self.name} begins at a pretrained vision-language model",
                    where="--vlm",
                    expected="a folder with config.json, tokenizer.json and weights as safetensors",
                    found="none",
                    remedy="give the folder of the published model with --vlm",
                )
            return
        given = {"--vlm": self.vlm, "--gradient-checkpointing": self.gradient_checkpointing}
        useless = [flag for flag, value in given.items() if value]
        if useless:
            raise PolicyError(
                f"{self.name} has no pretrained vision-language model",
                where=", ".join(useless),
                expected="a --model such as qwen3-vl-4b with these flags",
                found=f"--model {self.name}",
                remedy="leave these flags out, or choose another --model",
            )

    def outline(self, dof: int, horizon: int) -> PolicyConfig:
        """The configuration before the training texts are known.

        Raises:
            PolicyError: There is no such policy.
        """
        return preset(self.name, self.head, dof=dof, horizon=horizon, vocabulary_size=_SOME_WORDS)


@dataclass(frozen=True, slots=True)
class Design:
    """A policy to build: its configuration, and how its texts become numbers."""

    config: PolicyConfig
    codec: TextCodec


def image_transforms(
    contract: RobotContract,
    spec: ModelSpec,
    cameras: Sequence[str],
    crop: Box | None,
    image_size: int | None,
) -> dict[str, WorkspaceCrop]:
    """What the policy sees of each camera, in order; for a vision-language model wrist views come last.

    Args:
        contract: The robot.
        spec: The policy.
        cameras: Names; the pivot camera for a policy with one camera, else all, where empty.
        crop: Box in the picture of the pivot camera, pixels; for a compact policy the workspace of the
            simulated robot, else the whole picture, where None. Other cameras are seen whole.
        image_size: Width and height of the policy's picture; as the preset says where None.

    Raises:
        ContractError: The robot has no such camera, or the box does not fit its picture.
        PolicyError: There is no such policy.
    """
    outline = spec.outline(contract.dof, contract.horizon)
    names = tuple(cameras)
    if not names:
        names = (contract.sync.pivot,) if outline.cameras == 1 else tuple(contract.cameras)
    names = names if spec.own_words else camera_order(names)
    unknown = [name for name in names if name not in contract.cameras]
    if unknown or len(set(names)) != len(names):
        raise ContractError(
            "the robot has no such cameras",
            where="--cameras",
            expected=f"some of {list(contract.cameras)}, each once",
            found=list(names),
            remedy="choose --cameras out of these",
        )
    size = outline.image_size if image_size is None else (image_size, image_size)
    transforms = {}
    for name in names:
        source = (contract.cameras[name].width, contract.cameras[name].height)
        whole = (0, 0, *source)
        box = whole
        if name == contract.sync.pivot:
            box = crop or (_WORKSPACE if spec.own_words else whole)
        transforms[name] = WorkspaceCrop(source, box, size)
    return transforms


def design_policy(
    spec: ModelSpec, contract: RobotContract, images: Mapping[str, WorkspaceCrop], texts: Sequence[str]
) -> Design:
    """The policy for these pictures and training texts.

    Raises:
        PolicyError: A flag does not go with the policy, or its pretrained folder cannot be used.
    """
    spec.check_flags()
    outline = dataclasses.replace(
        spec.outline(contract.dof, contract.horizon),
        cameras=len(images),
        image_size=next(iter(images.values())).size,
    )
    if spec.use_state is not None:
        outline = dataclasses.replace(outline, use_state=spec.use_state)
    config, codec = (
        _with_words(outline, outline.backbone, texts)
        if isinstance(outline.backbone, CompactConfig)
        else _with_vlm(outline, spec)
    )
    problem = codec.mismatch(config)
    if problem:
        raise PolicyError(
            "texts and network do not fit each other",
            expected="a text codec for this network",
            found=problem,
            remedy="choose another --model or --vlm",
        )
    return Design(config, codec)


def build_design(design: Design, spec: ModelSpec, seed: int, *, pretrained: bool = True) -> PolicyNetwork:
    """The network of a design: fresh weights from `seed`.

    Args:
        design: What to build.
        spec: The flags that it came from.
        seed: Of the fresh weights.
        pretrained: Load the weights of `spec.vlm` where there is one; not needed before others are loaded.

    Raises:
        PolicyError: The pretrained weights cannot be loaded.
    """
    network = build_network(design.config, seed)
    if pretrained and spec.vlm is not None:
        from finevla.policy.qwen_source import load_pretrained

        load_pretrained(network, spec.vlm)
    return network


def _with_words(
    outline: PolicyConfig, part: CompactConfig, texts: Sequence[str]
) -> tuple[PolicyConfig, TextCodec]:
    words = Lexicon.from_texts(texts)
    return dataclasses.replace(outline, backbone=dataclasses.replace(part, vocabulary_size=words.size)), words


def _with_vlm(outline: PolicyConfig, spec: ModelSpec) -> tuple[PolicyConfig, TextCodec]:
    from finevla.policy.qwen_source import configure, with_source
    from finevla.policy.qwen_text import QwenCodec

    source = spec.vlm or Path()
    config = with_source(outline, source)
    part = config.backbone
    if isinstance(part, QwenConfig):
        compute, saving = spec.compute, spec.gradient_checkpointing
        part = dataclasses.replace(
            part,
            compute=part.compute if compute is None else compute,
            gradient_checkpointing=part.gradient_checkpointing if saving is None else saving,
        )
    config = dataclasses.replace(config, backbone=part)
    _, tokenizer = configure(source)
    return config, QwenCodec.for_policy(config, tokenizer)


def parameters(network: torch.nn.Module) -> int:
    """How many numbers a network learns."""
    return sum(value.numel() for value in network.parameters() if value.requires_grad)
