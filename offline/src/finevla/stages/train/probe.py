"""The probe: does the policy see the named object?

R2 of the acting arm's first joint, half a chunk ahead, in the first frames of unseen episodes. At
that point the arm stands at home, so only picture and words can tell where it will turn to: 0 means
that the words are not bound to places yet, above .8 they are. It costs a fraction of a second,
where closed-loop evaluation costs minutes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from finevla.contract.robot import ARM_SIDES, RobotContract
from finevla.contract.transforms import Transform
from finevla.policy.model import PolicyNetwork
from finevla.stages.train.batches import BatchSource
from finevla.stages.train.data import FrameCache

EARLY_FRAMES = 3
_NO_SPREAD = 1e-9


def acting_arms(cache: FrameCache, episodes: NDArray[np.int64], contract: RobotContract) -> NDArray[np.int64]:
    """Index into `ARM_SIDES` of the arm whose commands travel farthest, per episode."""
    acting: list[int] = []
    for episode in episodes:
        commands = cache.action[cache.starts[episode] : cache.starts[episode + 1]]
        reach = np.ptp(commands, axis=0)
        acting.append(int(np.argmax([reach[contract.arm_slice(side)].sum() for side in ARM_SIDES])))
    return np.array(acting, dtype=np.int64)


class Probe:
    """Validation loss and the binding probe over fixed episodes."""

    def __init__(
        self,
        cache: FrameCache,
        source: BatchSource,
        episodes: NDArray[np.int64],
        action: Transform,
        contract: RobotContract,
    ) -> None:
        """Chooses the frames once."""
        self._action, self._contract, self._source = action, contract, source
        self._frames = cache.frames_of(episodes)
        owner = cache.episode_of(self._frames)
        self._early = self._frames[self._frames - cache.starts[owner] < EARLY_FRAMES]
        by_episode = dict(zip(episodes.tolist(), acting_arms(cache, episodes, contract), strict=True))
        self._arms = np.array([by_episode[e] for e in cache.episode_of(self._early)], dtype=np.int64)

    def measure(self, network: PolicyNetwork) -> Mapping[str, float | None]:
        """Mean validation loss and `r2`; None where there is nothing to measure."""
        if len(self._frames) == 0:
            return {"validation_loss": None, "r2": None}
        losses: list[float] = []
        with torch.inference_mode():
            for frames in np.array_split(self._frames, math.ceil(len(self._frames) / 256)):
                batch = self._source.exact(frames)
                losses.append(float(network.loss(batch.inputs, batch.target, batch.valid)) * len(frames))
            early = self._source.exact(self._early)
            predicted = self._joint(network.act(early.inputs).numpy())
        wanted = self._joint(early.target.numpy())
        return {
            "validation_loss": sum(losses) / len(self._frames),
            "r2": determination(wanted, predicted, self._arms),
        }

    def _joint(self, normalized: NDArray[np.float32]) -> NDArray[np.float64]:
        """First joint of the acting arm half a chunk ahead, rad, shape (B,)."""
        targets = self._action.invert(normalized[:, normalized.shape[1] // 2].astype(np.float64))
        first = np.array([self._contract.arm_slice(side).start for side in ARM_SIDES])
        chosen: NDArray[np.float64] = targets[np.arange(len(targets)), first[self._arms]]
        return chosen


def determination(
    wanted: NDArray[np.float64], predicted: NDArray[np.float64], groups: NDArray[np.int64]
) -> float | None:
    """R2 with the mean of each group as the null model; None if nothing varies.

    Groups are arms: without them, knowing the arm alone would already explain most of the spread.
    """
    total = sum(float(np.sum(groups == g) * np.var(wanted[groups == g])) for g in np.unique(groups))
    return None if total <= _NO_SPREAD else 1.0 - float(((wanted - predicted) ** 2).sum()) / total
