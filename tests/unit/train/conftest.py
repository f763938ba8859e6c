"""A small policy and a toy world for the trainer: one bright square tells where an arm goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from finevla.contract import RobotContract, load_contract
from finevla.contract.transforms import Chain
from finevla.policy.config import CompactConfig, FlowConfig, OftConfig, PolicyConfig
from finevla.policy.model import PolicyNetwork, build_network
from finevla.policy.text import Vocabulary
from finevla.stages.train.batches import BatchSource
from finevla.stages.train.data import FrameCache
from finevla.stages.train.loop import Trainer
from finevla.stages.train.mix import Mix
from finevla.stages.train.plan import normalization
from finevla.stages.train.probe import Probe
from finevla.stages.train.schedule import Schedule

SIZE = 32
HEADS = {
    "oft": OftConfig(),
    # With dropout, so that the global random numbers matter too.
    "flow": FlowConfig(width=32, layers=2, attention_heads=2, output=32, decoder_hidden=32, dropout=0.1),
}


@pytest.fixture(scope="session")
def contract() -> RobotContract:
    return load_contract()


def toy_cache(contract: RobotContract) -> FrameCache:
    """Twelve episodes of four frames in two task groups; the raw text does not name the arm."""
    rng = np.random.default_rng(0)
    episodes, length = 12, 4
    pictures = np.full((episodes * length, 1, SIZE, SIZE, 3), 90, np.uint8)
    action = np.tile(contract.home, (episodes * length, 1))
    fine, raw = [], []
    for episode in range(episodes):
        arm, task = ("left", "right")[episode % 2], ("lift", "push")[episode // 6]
        x = int(rng.integers(2, SIZE - 8))
        rows = slice(episode * length, (episode + 1) * length)
        pictures[rows, 0, 10:16, x : x + 6] = (220, 40, 40)
        action[rows, contract.arm_slice(arm).start] += np.linspace(0.5, 1.0, length) * (
            (2 * x + 1) / SIZE - 1
        )
        fine.append(f"{task} the red cube with the {arm} arm")
        raw.append(f"{task} the cube")
    return FrameCache(
        pictures=pictures,
        state=np.tile(contract.home, (episodes * length, 1)),
        action=action,
        starts=np.arange(episodes + 1) * length,
        fine=tuple(fine),
        raw=tuple(raw),
        groups=tuple(raw),
        dataset_hash="toy",
    )


@pytest.fixture(scope="session")
def cache(contract: RobotContract) -> FrameCache:
    return toy_cache(contract)


@dataclass(frozen=True)
class Toy:
    """Everything that a trainer takes."""

    cache: FrameCache
    codec: Vocabulary
    chain: Chain
    source: BatchSource
    contract: RobotContract
    frames: np.ndarray

    def config(self, head: str = "oft") -> PolicyConfig:
        small = CompactConfig(vocabulary_size=self.codec.size, width=32, layers=1, channels=(8, 8, 8), maps=8)
        return PolicyConfig(
            cameras=1, dof=14, horizon=16, image_size=(SIZE, SIZE), backbone=small, head=HEADS[head]
        )

    def network(self, head: str = "oft", seed: int = 0) -> PolicyNetwork:
        return build_network(self.config(head), seed)

    def probe(self) -> Probe:
        return Probe(self.cache, self.source, np.array([0, 1, 2, 3, 10, 11]), self.chain, self.contract)

    def trainer(self, out: Path, schedule: Schedule, head: str = "oft", **more) -> Trainer:
        out.mkdir(parents=True, exist_ok=True)
        return Trainer(self.network(head), self.source, self.frames, self.probe(), schedule, out, **more)


@pytest.fixture(scope="session")
def toy(cache: FrameCache, contract: RobotContract) -> Toy:
    torch.set_num_threads(1)
    codec = Vocabulary.from_texts(cache.texts_of(np.arange(cache.episodes)))
    chain = normalization(cache.action, contract)
    source = BatchSource(cache, codec, chain, chain, 16, 15, Mix.parse("1:1"))
    return Toy(cache, codec, chain, source, contract, cache.frames_of(np.arange(2, 10)))


@pytest.fixture(scope="session")
def schedule() -> Callable[..., Schedule]:
    def make(**changes) -> Schedule:
        short = {
            "steps": 8,
            "batch_size": 4,
            "learning_rate": 1e-3,
            "warmup": 2,
            "seed": 0,
            "probe_every": 4,
            "save_every": 4,
        }
        return Schedule(**{**short, **changes})

    return make
