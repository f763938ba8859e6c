"""A bundle made ready to act: `load_policy(path, contract)` and `Policy.infer`.

Numpy in, `ActionChunk` out. The order is fixed: image transform, normalization, network, inverse
normalization, finite check, clip to the joint limits. Numbers that are not finite are refused.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from finevla.contract.bundle import Bundle, read_bundle
from finevla.contract.frame import ActionChunk, Observation
from finevla.contract.robot import RobotContract
from finevla.errors import BundleError, ContractError, PolicyError
from finevla.policy.compact import Inputs
from finevla.policy.config import PolicyConfig
from finevla.policy.model import restore_network
from finevla.policy.text import Vocabulary

_CLIP_SHARE = 0.01
"""Share of a joint's range beyond its limit from which a clip is counted: a fully open gripper is
the limit itself, and predicting it is noise around it."""


def pictures_to_tensor(pictures: NDArray[np.uint8]) -> torch.Tensor:
    """Pictures (..., H, W, 3) uint8 to (..., 3, H, W) float32 in [-1, 1]."""
    return torch.from_numpy(pictures).movedim(-1, -3).to(torch.float32) / 127.5 - 1.0


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
        self.vocabulary = Vocabulary(content.vocabulary, config.backbone.max_words)
        shape = (config.cameras, config.vocabulary_size, config.dof, config.horizon)
        expected = (len(content.cameras), self.vocabulary.size, contract.dof, content.horizon)
        if shape != expected or any(t.size != config.image_size for t in content.images.values()):
            raise PolicyError(
                "the configuration of the policy contradicts its bundle",
                expected=expected,
                found=f"{shape} (cameras, words, joints, horizon), pictures {config.image_size}",
                remedy="export the bundle again with `finevla export`",
            )
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
        """Content words that the policy understands."""
        return self.vocabulary.words

    def check_instruction(self, text: str) -> None:
        """Accepts what the policy can follow.

        Raises:
            InstructionError: A word is unknown (it is named, with the known ones), or there is
                no word.
        """
        self.vocabulary.check(text)

    def infer(self, observation: Observation, text: str, instruction_id: str) -> ActionChunk:
        """Predicts the chunk that starts at the stamp of the observation.

        Targets are clipped to the limits of the contract; `clipped` counts the values that were
        well beyond.

        Raises:
            InstructionError: As `check_instruction`.
            ContractError: A camera is missing or the state is not finite.
            PolicyError: The network gave a number that is not finite.
        """
        inputs = self._inputs(observation, text)
        with torch.inference_mode():
            normalized = self.network.act(inputs)[0].to(torch.float64).numpy()
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
            self.infer(Observation(0, self.contract.home, blank), self.known_words[0], "warm_up")

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
            self._words = (text, torch.from_numpy(self.vocabulary.encode(text)[None]))
        images = self.bundle.content.images
        pictures = np.stack([images[name](observation.images[name]) for name in self.cameras])
        normalized = self.bundle.content.state.apply(state).astype(np.float32)
        return Inputs(pictures_to_tensor(pictures[None]), self._words[1], torch.from_numpy(normalized[None]))


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
