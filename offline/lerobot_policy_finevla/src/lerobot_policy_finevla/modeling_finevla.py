"""`FineVLAPolicy`: the network of `finevla.policy` behind LeRobot's interface. No network is defined here."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

import torch
from lerobot.policies.pretrained import PreTrainedPolicy
from torch import Tensor

from finevla.contract import keys
from finevla.errors import ContractError, PolicyError
from finevla.policy.config import PolicyConfig
from finevla.policy.inputs import Inputs
from finevla.policy.model import build_network
from lerobot_policy_finevla.adopt import adopt_dataset, check_dataset
from lerobot_policy_finevla.configuration_finevla import FineVLAConfig
from lerobot_policy_finevla.mixing import Mixture
from lerobot_policy_finevla.steps import WORDS

_LARGEST_SEED = 2**62


class FineVLAPolicy(PreTrainedPolicy):
    """A policy that LeRobot trains, saves and runs.

    Args:
        config: Choices, and, for a checkpoint, what was found when it was made.
        dataset_stats: Statistics of the dataset; needed to make a policy from scratch.
        dataset_meta: The dataset, as `make_policy` gives it; None at inference.

    Raises:
        PolicyError: The configuration is neither of a checkpoint nor accompanied by a dataset.
        DatasetError: The dataset lacks what was asked for: joint names, statistics, raw texts.
    """

    config_class = FineVLAConfig
    name = "finevla"
    config: FineVLAConfig

    def __init__(
        self,
        config: FineVLAConfig,
        dataset_stats: dict[str, Any] | None = None,
        dataset_meta: Any = None,
        **_: Any,
    ) -> None:
        super().__init__(config)
        fresh = not config.model
        if fresh:
            adopt_dataset(config, dataset_meta, dataset_stats)
        elif dataset_meta is not None:
            check_dataset(config, dataset_meta)
        config.validate_features()
        self.network = build_network(PolicyConfig.from_json(config.model), _drawn_seed())
        if fresh and config.weights:
            from finevla.policy.qwen_source import load_pretrained

            load_pretrained(self.network, config.weights)
            config.weights = Path(config.weights).name  # a checkpoint has its own weights and no path
        self._mixture = Mixture.of(config, dataset_meta)
        self._queue: deque[Tensor] = deque(maxlen=config.executed)

    @classmethod
    def _load_as_safetensor(
        cls, model: FineVLAPolicy, model_file: str, map_location: str, strict: bool
    ) -> FineVLAPolicy:
        """Loads weights that all fit: LeRobot would only log the ones that do not."""
        del strict
        if not Path(model_file).is_file():
            raise PolicyError(
                "a checkpoint has no weights",
                where=model_file,
                expected="model.safetensors",
                remedy="copy the whole folder `pretrained_model` again",
            )
        loaded: FineVLAPolicy = super()._load_as_safetensor(model, model_file, map_location, True)
        return loaded

    def get_optim_params(self) -> list[torch.nn.Parameter]:
        """Everything that is trained."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def reset(self) -> None:
        """Forgets the rest of the running chunk."""
        self._queue.clear()

    def forward(self, batch: dict[str, Any]) -> tuple[Tensor, dict[str, float]]:
        """The loss of a batch that went through the pre-processor.

        The seed of everything random (FG:Raw, noise and times of the flow head) is one draw from torch's
        global generator, which LeRobot seeds, saves and restores.
        """
        seed = _drawn_seed()
        generator = torch.Generator().manual_seed(seed)
        mixed = self._mixture.mixed(batch, seed) if self._mixture is not None and self.training else batch
        loss: Tensor = self.network.loss(
            self._inputs(mixed), batch[keys.ACTION], self._valid(batch), generator
        )
        return loss, {}

    def predict_action_chunk(self, batch: dict[str, Any], **_: Any) -> Tensor:
        """Normalised targets (B, H, dof); the post-processor turns them into joints."""
        self.eval()
        with torch.no_grad():
            return self.network.act(self._inputs(batch))

    def select_action(self, batch: dict[str, Any], **_: Any) -> Tensor:
        """The next normalised target (B, dof) of the running chunk, or of a new one."""
        if not self._queue:
            chunk = self.predict_action_chunk(batch)
            self._queue.extend(chunk[:, : self.config.executed].unbind(1))
        return self._queue.popleft()

    def _inputs(self, batch: dict[str, Any]) -> Inputs:
        needed = [*self.config.cameras, keys.STATE, WORDS]
        missing = [key for key in needed if key not in batch]
        if missing:
            raise ContractError(
                "a batch did not go through the pre-processor of the policy",
                expected=needed,
                found=f"no {missing}",
                remedy="call the pipeline of make_pre_post_processors first",
            )
        pictures = torch.stack([batch[key] for key in self.config.cameras], dim=1)
        return Inputs(pictures, batch[WORDS], batch[keys.STATE])

    def _valid(self, batch: dict[str, Any]) -> Tensor:
        """Which targets count, (B, H): those of the episode, and its last one a few times more."""
        padded: Tensor = batch["action_is_pad"]
        return padded.cumsum(1) <= self.config.rest_steps


def _drawn_seed() -> int:
    return int(torch.randint(_LARGEST_SEED, ()))
