"""The probe: does the policy see the named object?

R2 of the acting arm's first joint, half a chunk ahead, in the first frames of unseen episodes. At
that point the arm stands at home, so only picture and words can tell where it will turn to: 0 means
that the words are not bound to places yet, above .8 they are. It costs a fraction of a second,
where closed-loop evaluation costs minutes.

The words are always the fine-grained ones, whatever mix the policy trains on: without them nothing
would say which object is meant. What knowing task and arm alone would explain is not credited: the
null model is the mean of each task group and arm.
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
from finevla.stages.train.batches import Batch, BatchSource
from finevla.stages.train.data import FrameCache

EARLY_FRAMES = 3
_NO_SPREAD = 1e-9
_ROWS = 256


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
        """Chooses the frames once; episodes without fine-grained text are left out."""
        episodes = episodes[cache.has_text(fine=True)[episodes]]
        self._action, self._contract, self._source = action, contract, source
        self._frames = cache.frames_of(episodes)
        owner = cache.episode_of(self._frames)
        early = self._frames - cache.starts[owner] < EARLY_FRAMES
        self._early, self._owner = self._frames[early], owner[early]
        row = np.searchsorted(episodes, self._owner)
        self._arms = acting_arms(cache, episodes, contract)[row]
        tasks = np.unique([cache.groups[episode] for episode in episodes], return_inverse=True)[1]
        self._groups = tasks[row] * len(ARM_SIDES) + self._arms

    def measure(self, network: PolicyNetwork) -> Mapping[str, float | None]:
        """Mean validation loss and `r2`; None where there is nothing to measure.

        The network must be in evaluation mode. Noise that a head draws is the same every time.
        """
        if len(self._frames) == 0:
            return {"validation_loss": None, "r2": None}
        device, noise = network.device, torch.Generator().manual_seed(0)
        losses, predicted = 0.0, []
        with torch.inference_mode():
            for frames in _chunked(self._frames):
                batch = _placed(self._source.exact(frames), device)
                losses += float(network.loss(batch.inputs, batch.target, batch.valid, noise)) * len(frames)
            for frames in _chunked(self._early):
                batch = _placed(self._source.exact(frames), device)
                predicted.append(network.act(batch.inputs).float().cpu().numpy())
        wanted = self._source.exact(self._early).target.numpy()
        return {
            "validation_loss": losses / len(self._frames),
            "r2": determination(
                self._joint(wanted), self._joint(np.concatenate(predicted)), self._groups, self._owner
            ),
        }

    def _joint(self, normalized: NDArray[np.float32]) -> NDArray[np.float64]:
        """First joint of the acting arm half a chunk ahead, rad, shape (B,)."""
        targets = self._action.invert(normalized[:, normalized.shape[1] // 2].astype(np.float64))
        first = np.array([self._contract.arm_slice(side).start for side in ARM_SIDES])
        chosen: NDArray[np.float64] = targets[np.arange(len(targets)), first[self._arms]]
        return chosen


def determination(
    wanted: NDArray[np.float64],
    predicted: NDArray[np.float64],
    groups: NDArray[np.int64],
    episodes: NDArray[np.int64] | None = None,
) -> float | None:
    """R2 with the mean of each group as the null model; None if nothing varies.

    Args:
        wanted: What was to be predicted, shape (N,).
        predicted: What was, shape (N,).
        groups: Number of the task and arm of each; knowing them alone would explain most of the spread.
        episodes: Episode of each. Where given, the spread within a group of m episodes counts m / (m - 1)
            times, because its mean was taken from these very episodes, and groups of one episode, which
            have no spread to compare with, are left out.
    """
    total = error = 0.0
    for group in np.unique(groups):
        rows = groups == group
        count = len(np.unique(episodes[rows])) if episodes is not None else 0
        if count == 1:
            continue
        spread = float(np.sum(rows) * np.var(wanted[rows]))
        total += spread * count / (count - 1) if count else spread
        error += float(((wanted[rows] - predicted[rows]) ** 2).sum())
    return None if total <= _NO_SPREAD else 1.0 - error / total


def _chunked(frames: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return np.array_split(frames, math.ceil(len(frames) / _ROWS))


def _placed(batch: Batch, device: torch.device) -> Batch:
    return batch._replace(
        inputs=batch.inputs.to(device), target=batch.target.to(device), valid=batch.valid.to(device)
    )
