"""Toy worlds for the policy tests: colored squares whose place decides where the arms go."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from toy_dataset import CROP, toy_episode, write_toy_dataset

from finevla.contract import RobotContract, load_contract
from finevla.contract.bundle import BundleContent
from finevla.contract.transforms import Chain, JointStatistics, Normalize
from finevla.policy.config import CompactConfig, PolicyConfig
from finevla.policy.model import build_network, network_weights
from finevla.policy.text import Vocabulary
from finevla.stages.train.data import FrameCache


@pytest.fixture(scope="session")
def contract() -> RobotContract:
    return load_contract()


@pytest.fixture(scope="session")
def toy_cache(contract: RobotContract) -> Callable[..., FrameCache]:
    def build(episodes: int, seed: int = 0, length: int = 2) -> FrameCache:
        rng = np.random.default_rng(seed)
        rows = [toy_episode(contract, rng, 64, 9) for _ in range(episodes)]
        pictures = np.stack([picture for picture, _, _ in rows])[:, None]
        return FrameCache(
            pictures=np.repeat(pictures, length, axis=0),
            state=np.tile(contract.home, (episodes * length, 1)),
            action=np.repeat([goal for _, _, goal in rows], length, axis=0),
            starts=np.arange(episodes + 1) * length,
            fine=tuple(text for _, text, _ in rows),
            raw=("lift the cube",) * episodes,
            groups=("lift the cube",) * episodes,
            dataset_hash="toy",
            images={contract.sync.pivot: CROP},
        )

    return build


@pytest.fixture(scope="session")
def normalization(contract: RobotContract) -> Chain:
    rng = np.random.default_rng(0)
    rows = rng.uniform(contract.lower, contract.upper, (200, contract.dof))
    statistics = JointStatistics.of(contract.joint_names, rows)
    return Chain((Normalize(statistics, (0.01,) * contract.dof),))


@pytest.fixture(scope="session")
def content(contract: RobotContract, normalization: Chain) -> BundleContent:
    vocabulary = Vocabulary.from_texts(["lift the red cube with the left arm", "blue right"])
    backbone = CompactConfig(vocabulary_size=vocabulary.size)
    config = PolicyConfig(cameras=1, dof=contract.dof, horizon=contract.horizon, backbone=backbone)
    return BundleContent(
        model=config.to_json(),
        images={contract.sync.pivot: CROP},
        dt_s=contract.frame_period_s,
        horizon=contract.horizon,
        text=vocabulary.to_json(),
        dimensions={"actor": ("left_arm",), "color": ("blue", "red")},
        state=normalization,
        action=normalization,
        provenance={
            "dataset_hash": "toy",
            "manifest_hash": "toy",
            "mix": "1:1",
            "commands": [],
            "seeds": {},
            "git_commit": "toy",
            "steps": 1,
            "episodes": 1,
            "frames": 200,
        },
    )


@pytest.fixture(scope="session")
def weights(content: BundleContent) -> dict[str, np.ndarray]:
    return network_weights(build_network(PolicyConfig.from_json(content.model), seed=0))


@pytest.fixture(scope="session")
def lerobot_dataset(contract: RobotContract, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_dataset(tmp_path_factory.mktemp("toy") / "dataset", contract)
