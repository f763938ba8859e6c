"""`--policy.*` of `lerobot-train --policy.type=finevla`, and `config.json` of a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lerobot.configs import NormalizationMode, PreTrainedConfig
from lerobot.optim import AdamWConfig
from lerobot.optim.schedulers import CosineAnnealingWithWarmupSchedulerConfig

from finevla.contract.robot import load_contract
from finevla.errors import PolicyError

if TYPE_CHECKING:
    from lerobot_policy_finevla.recipe import Recipe


def _contract_horizon() -> int:
    return load_contract().horizon


def _identity() -> dict[str, NormalizationMode]:
    """LeRobot's normalizer passes everything on: ours, which refuses missing statistics, does the work."""
    return dict.fromkeys(("VISUAL", "STATE", "ACTION"), NormalizationMode.IDENTITY)


@PreTrainedConfig.register_subclass("finevla")
@dataclass
class FineVLAConfig(PreTrainedConfig):
    """A FineVLA policy as LeRobot configures it.

    The first fields are choices; `model` and what follows it are found from the dataset when a policy is
    made from scratch, and are stored with the checkpoint.

    Args:
        backbone: Name of a preset of `finevla.policy.presets`.
        head: `oft` or `flow`.
        weights: Folder (or name on the hub, where it is in the cache) of the published language model that a
            `qwen` preset starts from; empty for `compact`.
        cameras: LeRobot keys of the pictures, in the order in which the policy sees them; when not given, the
            pivot camera of the robot contract for a preset with one picture, else all of its cameras.
        crop: Workspace in the first picture: left, top, right, bottom, pixels; the whole picture when not
            given. Other pictures are seen whole.
        image_size: Width and height of the policy's pictures, pixels; the preset's when not given.
        mix: FG:Raw: `fg`, `raw` or A:B, fine-grained parts first; A:B needs both texts of every episode.
        chunk_size: Targets in a chunk.
        n_action_steps: Targets executed before the next inference; the whole chunk when not given.
        rest_steps: Repetitions of the last action after an episode that count as targets.
        std_floor: Floor on the spread of every joint, in units of the dataset; that of FineVLA's own training
            when not given, which needs the joints of the robot contract.
        model: `PolicyConfig.to_json()`.
        joint_names: Joints of state and action, in order.
        dt_s: Seconds between two targets.
        dimensions: Values of the ten dimensions seen in training, by slot.
        provenance: Where the policy comes from.
    """

    backbone: str = "compact"
    head: str = "oft"
    weights: str = ""
    cameras: list[str] = field(default_factory=list)
    crop: tuple[int, int, int, int] | None = None
    image_size: tuple[int, int] | None = None
    mix: str = "fg"
    chunk_size: int = field(default_factory=_contract_horizon)
    n_action_steps: int | None = None
    rest_steps: int = 15
    std_floor: float | None = None

    optimizer_lr: float = 1e-3
    optimizer_weight_decay: float = 1e-4
    optimizer_grad_clip_norm: float = 1.0
    scheduler_warmup_steps: int = 100
    normalization_mapping: dict[str, NormalizationMode] = field(default_factory=_identity)

    model: dict[str, Any] = field(default_factory=dict)
    joint_names: list[str] = field(default_factory=list)
    dt_s: float = 0.0
    dimensions: dict[str, list[str]] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Checks what can be checked before the dataset is known.

        Raises:
            PolicyError: A choice contradicts another.
        """
        super().__post_init__()
        self.recipe: Recipe | None = None  # not a field: lives as long as the process that made the policy
        self.mix = _ratio(self.mix)
        if self.n_obs_steps != 1 or self.chunk_size < 1:
            raise PolicyError(
                "the policy cannot be configured like this",
                expected="n_obs_steps 1, chunk_size of at least 1",
                found=f"{self.n_obs_steps}, {self.chunk_size}",
                remedy="leave these flags out for their defaults",
            )
        if not 1 <= self.executed <= self.chunk_size:
            raise PolicyError(
                "a chunk cannot be executed beyond its end",
                where="--policy.n_action_steps",
                expected=f"1 to {self.chunk_size}",
                found=self.n_action_steps,
                remedy="give at most --policy.chunk_size",
            )
        if any(mode is not NormalizationMode.IDENTITY for mode in self.normalization_mapping.values()):
            raise PolicyError(
                "the policy would be normalized twice",
                where="--policy.normalization_mapping",
                expected="IDENTITY: the step finevla_normalizer normalizes",
                found=self.normalization_mapping,
                remedy="leave the flag out",
            )

    @property
    def executed(self) -> int:
        """Targets executed before the next inference."""
        return self.chunk_size if self.n_action_steps is None else self.n_action_steps

    @property
    def observation_delta_indices(self) -> None:
        """Only the current observation."""
        return

    @property
    def action_delta_indices(self) -> list[int]:
        """The chunk starts at the current frame."""
        return list(range(self.chunk_size))

    @property
    def reward_delta_indices(self) -> None:
        """No rewards."""
        return

    def get_optimizer_preset(self) -> AdamWConfig:
        """AdamW as `finevla train` uses it."""
        return AdamWConfig(
            lr=self.optimizer_lr,
            betas=(0.9, 0.95),
            weight_decay=self.optimizer_weight_decay,
            grad_clip_norm=self.optimizer_grad_clip_norm,
        )

    def get_scheduler_preset(self) -> CosineAnnealingWithWarmupSchedulerConfig:
        """A linear rise, then a cosine to zero at the last step."""
        return CosineAnnealingWithWarmupSchedulerConfig(num_warmup_steps=self.scheduler_warmup_steps)

    def validate_features(self) -> None:
        """Checks that the dataset or robot has what the policy sees.

        Raises:
            PolicyError: A camera, the state or the action is missing.
        """
        missing = [key for key in self.cameras if key not in self.image_features]
        if missing or self.robot_state_feature is None or self.action_feature is None:
            raise PolicyError(
                "the dataset lacks what the policy needs",
                expected=[*self.cameras, "observation.state", "action"],
                found=sorted([*(self.input_features or {}), *(self.output_features or {})]),
                remedy="name the cameras that are there with --policy.cameras",
            )


def _ratio(mix: str) -> str:
    """A:B again where YAML 1.1, through which LeRobot reads its flags, took `1:4` for 64 (base 60)."""
    return f"{int(mix) // 60}:{int(mix) % 60}" if mix.isdecimal() else mix
