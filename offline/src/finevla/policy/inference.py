"""A bundle made ready to act: `load_policy(path, contract)` and `Policy.infer`.

Numpy in, `ActionChunk` out. The order is fixed: image transform, normalization, network, inverse
normalization, finite check, clip to the joint limits. Numbers that are not finite are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from finevla.contract.bundle import Bundle, read_bundle
from finevla.contract.frame import ActionChunk, Observation
from finevla.contract.robot import RobotContract
from finevla.errors import BundleError, ContractError, PolicyError
from finevla.policy.config import PolicyConfig, QwenConfig
from finevla.policy.inputs import Inputs, Prefix, camera_order
from finevla.policy.model import restore_network
from finevla.policy.text import codec_from_json

_CLIP_SHARE = 0.01
"""Share of a joint's range beyond its limit from which a clip is counted: a fully open gripper is
the limit itself, and predicting it is noise around it."""


def pictures_to_tensor(pictures: NDArray[np.uint8]) -> torch.Tensor:
    """Pictures (..., H, W, 3) uint8 to (..., 3, H, W) float32 in [-1, 1]."""
    return torch.from_numpy(pictures).movedim(-1, -3).to(torch.float32) / 127.5 - 1.0


@dataclass(frozen=True)
class RunningChunk:
    """The part of the chunk in execution that the next one must continue (real-time chunking).

    Args:
        targets: (P, dof), rad and m, at the times of the first P targets of the next chunk.
        weights: (P,) in [0, 1]: 1 freezes a target, 0 leaves it free.
    """

    targets: NDArray[np.float64]
    weights: NDArray[np.float64]


class Policy:
    """A loaded policy. `infer` may be called from any one thread at a time."""

    def __init__(self, bundle: Bundle, contract: RobotContract) -> None:
        """Builds the network of a verified bundle.

        Raises:
            PolicyError: The weights or the configuration do not fit each other or the robot.
        """
        content = bundle.content
        config = PolicyConfig.from_json(content.model)
        self.bundle = bundle
        self.contract = contract
        self.codec = codec_from_json(content.text, bundle.files)
        _check_parts(config, bundle, contract, self.codec.mismatch(config))
        self.network = restore_network(config, bundle.weights)
        self.clipped = 0
        self._words: tuple[str, torch.Tensor] | None = None

    @property
    def checkpoint_id(self) -> str:
        """Name and head of the signature of the bundle."""
        return self.bundle.checkpoint_id

    @property
    def cameras(self) -> tuple[str, ...]:
        """Cameras that every observation must hold."""
        return self.bundle.content.cameras

    @property
    def horizon(self) -> int:
        """Targets in a chunk."""
        return self.bundle.content.horizon

    @property
    def dt_s(self) -> float:
        """Seconds between two targets."""
        return self.bundle.content.dt_s

    @property
    def known_words(self) -> tuple[str, ...]:
        """Content words that the policy understands; empty where it reads any text."""
        return self.codec.words

    @property
    def dimensions(self) -> Mapping[str, object]:
        """Values of each slot of the ten dimensions that the training texts named."""
        return self.bundle.content.dimensions

    @property
    def accepts_prefix(self) -> bool:
        """Whether `infer` can continue a running chunk."""
        return self.network.accepts_prefix

    def to(self, device: torch.device | str) -> Policy:
        """Moves the network; returns self."""
        self.network.to(device)
        return self

    def check_instruction(self, text: str) -> None:
        """Accepts what the policy can follow.

        Raises:
            InstructionError: A word is unknown (it is named, with the known ones), there is no
                word, or there are too many.
        """
        self.codec.check(text)

    def infer(
        self,
        observation: Observation,
        text: str,
        instruction_id: str,
        running: RunningChunk | None = None,
    ) -> ActionChunk:
        """Predicts the chunk that starts at the stamp of the observation.

        Targets are clipped to the limits of the contract; `clipped` counts the values that were
        well beyond.

        Args:
            observation: All cameras of the policy, and the joints.
            text: The instruction.
            instruction_id: Copied into the chunk.
            running: Part of the chunk in execution to continue, where `accepts_prefix`.

        Raises:
            InstructionError: As `check_instruction`.
            ContractError: A camera is missing or the state is not finite.
            PolicyError: The network gave a number that is not finite, or `running` does not fit.
        """
        device = self.network.device
        inputs = self._inputs(observation, text).to(device)
        prefix = None if running is None else self._prefix(running, device)
        with torch.inference_mode():
            predicted = self.network.act(inputs, prefix=prefix)[0]
            normalized = predicted.to("cpu", torch.float64).numpy()
        targets = self.bundle.content.action.invert(normalized)
        if targets.shape != (self.horizon, self.contract.dof) or not np.isfinite(targets).all():
            raise PolicyError(
                "the policy gave targets that are not finite numbers",
                where=self.checkpoint_id,
                expected=f"finite, shape {(self.horizon, self.contract.dof)}",
                found=f"shape {targets.shape}, {int((~np.isfinite(targets)).sum())} values not finite",
                remedy="do not use this bundle; train again and look at the loss curve",
            )
        bounded = np.clip(targets, self.contract.lower, self.contract.upper)
        beyond = np.abs(bounded - targets) > _CLIP_SHARE * (self.contract.upper - self.contract.lower)
        self.clipped += int(beyond.sum())
        return ActionChunk(
            t0_ns=observation.stamp_ns,
            dt_s=self.dt_s,
            targets=bounded,
            observation_stamp_ns=observation.stamp_ns,
            instruction_id=instruction_id,
            checkpoint_id=self.checkpoint_id,
        )

    def warm_up(self, repeats: int = 3) -> None:
        """Runs a few inferences on a blank picture at home, so that the first real one is fast."""
        blank = {
            name: np.zeros((image.source[1], image.source[0], 3), np.uint8)
            for name, image in self.bundle.content.images.items()
        }
        for _ in range(repeats):
            self.infer(Observation(0, self.contract.home, blank), self.codec.example, "warm_up")

    def _prefix(self, running: RunningChunk, device: torch.device) -> Prefix:
        normalized = self.bundle.content.action.apply(running.targets)
        targets = torch.from_numpy(normalized[None].astype(np.float32))
        weights = torch.from_numpy(running.weights.astype(np.float32))
        return Prefix(targets.to(device), weights.to(device))

    def _inputs(self, observation: Observation, text: str) -> Inputs:
        missing = [name for name in self.cameras if name not in observation.images]
        state = np.asarray(observation.state, dtype=np.float64)
        if missing or state.shape != (self.contract.dof,) or not np.isfinite(state).all():
            raise ContractError(
                "an observation is incomplete",
                expected=f"cameras {list(self.cameras)} and {self.contract.dof} finite joints",
                found=f"without {missing}, joints {state.tolist()}",
                remedy="check the topics of cameras and joint feedback",
            )
        if self._words is None or self._words[0] != text:
            self._words = (text, torch.from_numpy(self.codec.encode(text)[None]))
        images = self.bundle.content.images
        pictures = np.stack([images[name](observation.images[name]) for name in self.cameras])
        normalized = self.bundle.content.state.apply(state).astype(np.float32)
        return Inputs(pictures_to_tensor(pictures[None]), self._words[1], torch.from_numpy(normalized[None]))


def _check_parts(config: PolicyConfig, bundle: Bundle, contract: RobotContract, mismatch: str) -> None:
    """Refuses a bundle whose parts contradict each other."""
    content = bundle.content
    shape = (config.cameras, config.dof, config.horizon)
    expected = (len(content.cameras), contract.dof, content.horizon)
    sizes = {name: image.size for name, image in content.images.items()}
    resized = config.backbone.resizes or all(size == config.image_size for size in sizes.values())
    if shape != expected or not resized or mismatch:
        raise PolicyError(
            "the configuration of the policy contradicts its bundle",
            expected=f"{expected} (cameras, joints, horizon), pictures {config.image_size}",
            found=f"{shape}, pictures {sizes}; text: {mismatch or 'fits'}",
            remedy="export the bundle again with `finevla export`",
        )
    if isinstance(config.backbone, QwenConfig) and content.cameras != camera_order(content.cameras):
        raise PolicyError(
            "the pictures come in another order than the language model was trained with",
            expected=camera_order(content.cameras),
            found=content.cameras,
            remedy="train again with the cameras in this order: wrist views after the others",
        )


def load_policy(path: Path | str, contract: RobotContract, threads: int = 1) -> Policy:
    """Reads, verifies and builds the policy of a bundle.

    Args:
        path: Directory of the bundle.
        contract: The robot at hand.
        threads: Threads of torch in this process; one is fastest for the compact backbone.

    Raises:
        BundleError: The bundle is not for this robot, incomplete, altered or inconsistent.
    """
    bundle = read_bundle(Path(path), contract)
    torch.set_num_threads(threads)
    try:
        return Policy(bundle, contract)
    except PolicyError as err:
        raise BundleError(
            "the bundle cannot be built into a policy",
            where=path,
            found=err.what,
            expected=err.expected,
            remedy=err.remedy,
        ) from err
