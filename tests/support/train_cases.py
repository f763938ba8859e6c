"""Small training data: caches whose pictures, joints and texts can be told apart, and codecs for them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from finevla.contract import RobotContract, load_contract
from finevla.contract.images import WorkspaceCrop
from finevla.contract.transforms import Chain, JointStatistics, Normalize
from finevla.stages.train.augment import Augment
from finevla.stages.train.batches import BatchSource
from finevla.stages.train.data import FrameCache
from finevla.stages.train.mix import Mix

CONTRACT = load_contract()
CROP = WorkspaceCrop((320, 240), (102, 50, 218, 166), (8, 8))
NO_AUGMENT = Augment(brightness=0.0, tint=0.0, roll_px=0, state_noise=0.0)
TASKS = ("lift the cube", "turn the block", "put the cup on the coaster")


class NumberCodec:
    """A text becomes one number of its own, which `text` turns back."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def encode(self, text: str) -> np.ndarray:
        if text not in self.texts:
            self.texts.append(text)
        return np.array([self.texts.index(text)], dtype=np.int64)

    def spoken(self, words) -> list[str]:
        return [self.texts[int(row[0])] for row in words]


def toy_cache(lengths=(4, 6, 3, 5, 8, 2), cameras=None, contract: RobotContract = CONTRACT) -> FrameCache:
    """Episodes of these lengths, dealt out to the tasks in turn; every frame differs from all others."""
    rng = np.random.default_rng(7)
    frames, episodes = sum(lengths), len(lengths)
    images = dict.fromkeys(cameras or contract.cameras, CROP)
    arms = [("left", "right")[e % 2] for e in range(episodes)]
    raw = tuple(TASKS[e % len(TASKS)] for e in range(episodes))
    return FrameCache(
        pictures=rng.integers(0, 256, (frames, len(images), 8, 8, 3), dtype=np.uint8),
        state=rng.uniform(contract.lower, contract.upper, (frames, contract.dof)),
        action=rng.uniform(contract.lower, contract.upper, (frames, contract.dof)),
        starts=np.concatenate([[0], np.cumsum(lengths)]),
        fine=tuple(f"{text} with the {arm} arm, number {e}" for e, (text, arm) in enumerate(zip(raw, arms))),
        raw=raw,
        groups=raw,
        dataset_hash="toy",
        images=images,
    )


def normalization(contract: RobotContract = CONTRACT, seed: int = 0) -> Chain:
    rows = np.random.default_rng(seed).uniform(contract.lower, contract.upper, (50, contract.dof))
    return Chain((Normalize(JointStatistics.of(contract.joint_names, rows), (0.01,) * contract.dof),))


def toy_source(cache: FrameCache, mix: Mix, codec=None, **options) -> BatchSource:
    state, action = normalization(seed=1), normalization(seed=2)
    return BatchSource(cache, codec or NumberCodec(), state, action, 4, 2, mix, **options)


def without(cache: FrameCache, kind: str, episodes) -> FrameCache:
    """The same data; these episodes lack their raw or their fine text."""
    texts = tuple("" if e in episodes else text for e, text in enumerate(getattr(cache, kind)))
    return replace(cache, **{kind: texts})
