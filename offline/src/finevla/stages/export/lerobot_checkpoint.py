"""A LeRobot checkpoint: where it is, and how LeRobot's own functions load it."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from finevla.contract import keys
from finevla.errors import FineVLAError, PolicyError

PLUGIN = "lerobot_policy_finevla"
"""Distribution and module that bring the policies to LeRobot."""

_CONFIG, _WEIGHTS = "config.json", "model.safetensors"


@dataclass(frozen=True)
class LerobotPolicy:
    """A LeRobot checkpoint as LeRobot's own functions load it.

    Args:
        policy: `PreTrainedPolicy`.
        before: Pre-processor.
        after: Post-processor.
    """

    policy: Any
    before: Any
    after: Any

    def targets(self, images: Mapping[str, NDArray[np.uint8]], state: NDArray[np.float64], text: str) -> Any:
        """One chunk (H, dof), rad and m, for pictures by LeRobot key (height, width, 3)."""
        observation: dict[str, Any] = {
            key: torch.from_numpy(image).movedim(-1, 0).to(torch.float32) / 255
            for key, image in images.items()
        }
        batch = self.before({**observation, keys.STATE: torch.from_numpy(state), keys.TASK: text})
        return self.after(self.policy.predict_action_chunk(batch))[0].numpy()


def load_lerobot(checkpoint: Path) -> LerobotPolicy:
    """Loads a checkpoint on the CPU, without a network, by LeRobot's own functions.

    Raises:
        PolicyError: LeRobot or the plugin is not installed, or this is no checkpoint of it.
    """
    load_plugin()
    folder = checkpoint_folder(checkpoint)
    configs, factory = importlib.import_module("lerobot.configs"), importlib.import_module("lerobot.policies")
    try:
        config = configs.PreTrainedConfig.from_pretrained(folder, cli_overrides=["--device=cpu"])
        if config.type != "finevla":
            raise PolicyError(
                "the checkpoint holds another kind of policy",
                where=folder,
                expected="finevla",
                found=config.type,
                remedy="only policies of --policy.type=finevla have a bundle",
            )
        policy = factory.get_policy_class(config.type).from_pretrained(folder, config=config)
        before, after = factory.make_pre_post_processors(
            config, str(folder), preprocessor_overrides={"device_processor": {"device": "cpu"}}
        )
    except FineVLAError:
        raise
    except Exception as err:  # LeRobot raises errors of many kinds for a damaged folder
        raise PolicyError(
            "LeRobot cannot load the checkpoint",
            where=folder,
            found=f"{type(err).__name__}: {err}",
            remedy="copy the whole folder `pretrained_model` again",
        ) from err
    return LerobotPolicy(policy, before, after)


def is_checkpoint(path: Path) -> bool:
    """Whether `checkpoint_folder` finds a LeRobot checkpoint here."""
    try:
        checkpoint_folder(path)
    except PolicyError:
        return False
    return True


def checkpoint_folder(path: Path) -> Path:
    """The folder with the policy: `path`, or the newest checkpoint of an output directory of lerobot-train.

    Raises:
        PolicyError: There is none.
    """
    inner = Path("checkpoints") / "last" / "pretrained_model"
    for folder in (path, path / "pretrained_model", path / inner):
        if (folder / _CONFIG).is_file() and (folder / _WEIGHTS).is_file():
            return folder
    raise PolicyError(
        "this is not a LeRobot checkpoint",
        where=path,
        expected=f"a folder with {_CONFIG} and {_WEIGHTS}, or one that lerobot-train wrote",
        remedy="give OUTPUT_DIR, or OUTPUT_DIR/checkpoints/STEP/pretrained_model",
    )


def load_plugin() -> ModuleType:
    """Imports the plugin, which registers policy and processor steps; nothing is fetched from then on.

    Raises:
        PolicyError: It is not installed.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        return importlib.import_module(PLUGIN)
    except ModuleNotFoundError as err:
        raise PolicyError(
            "LeRobot does not know the policies of FineVLA here",
            expected=f"the package {PLUGIN}",
            found=err,
            remedy="install it: pip install --no-deps --no-build-isolation offline/lerobot_policy_finevla",
        ) from err
