"""A loaded bundle: right stamps, bounded finite targets, refusal of anything incomplete."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from finevla.contract import Observation, RobotContract
from finevla.contract.bundle import BundleContent, write_bundle
from finevla.contract.transforms import Chain, Normalize
from finevla.errors import BundleError, ContractError, InstructionError, PolicyError
from finevla.policy.inference import Policy, load_policy

TEXT = "Lift the red cube with the left arm."


@pytest.fixture
def policy(tmp_path: Path, contract: RobotContract, content: BundleContent, weights: dict) -> Policy:
    return load_policy(write_bundle(tmp_path / "b", contract, content, weights), contract)


@pytest.fixture
def observation(contract: RobotContract) -> Observation:
    rng = np.random.default_rng(0)
    images = {
        name: rng.integers(0, 256, (c.height, c.width, 3), dtype=np.uint8)
        for name, c in contract.cameras.items()
    }
    return Observation(1_700_000_000_000_000_123, contract.home, images)


def test_chunk_begins_at_the_observation_and_names_its_origin(
    policy: Policy, observation: Observation, contract: RobotContract
) -> None:
    policy.warm_up(1)
    chunk = policy.infer(observation, TEXT, "id-7")
    assert (chunk.t0_ns, chunk.observation_stamp_ns) == (observation.stamp_ns, observation.stamp_ns)
    assert (chunk.instruction_id, chunk.checkpoint_id) == ("id-7", policy.checkpoint_id)
    assert chunk.targets.shape == (contract.horizon, contract.dof)
    assert chunk.dt_s == contract.frame_period_s
    assert policy.checkpoint_id.startswith("b@")
    again = policy.infer(observation, TEXT, "id-8")
    assert np.array_equal(chunk.targets, again.targets)


def test_words_change_the_chunk(policy: Policy, observation: Observation) -> None:
    first = policy.infer(observation, TEXT, "a").targets
    assert not np.array_equal(first, policy.infer(observation, TEXT.replace("left", "right"), "b").targets)


def test_targets_stay_within_the_limits_and_clips_are_counted(
    tmp_path: Path, contract: RobotContract, content: BundleContent, weights: dict, observation: Observation
) -> None:
    loud = {**weights, "head.out.bias": np.full(contract.dof, 50.0, np.float32)}
    policy = load_policy(write_bundle(tmp_path / "b", contract, content, loud), contract)
    chunk = policy.infer(observation, TEXT, "x")
    assert np.array_equal(chunk.targets, np.tile(contract.upper, (contract.horizon, 1)))
    assert policy.clipped == chunk.targets.size


def test_output_that_is_not_finite_is_refused(policy: Policy, observation: Observation) -> None:
    policy.network.head.out.bias.data[3] = float("nan")
    with pytest.raises(PolicyError, match="not finite"):
        policy.infer(observation, TEXT, "x")


def test_missing_camera_and_bad_state_are_refused(policy: Policy, observation: Observation) -> None:
    with pytest.raises(ContractError, match=policy.cameras[0]):
        policy.infer(replace(observation, images={}), TEXT, "x")
    for state in (observation.state[:13], np.full(14, np.nan)):
        with pytest.raises(ContractError):
            policy.infer(replace(observation, state=state), TEXT, "x")


def test_unknown_word_is_refused(policy: Policy, observation: Observation) -> None:
    policy.check_instruction("Lift the BLUE cube")
    with pytest.raises(InstructionError, match="purple"):
        policy.check_instruction("Lift the purple cube")
    with pytest.raises(InstructionError, match="purple"):
        policy.infer(observation, "purple", "x")


def test_weights_of_another_model_are_refused(
    tmp_path: Path, contract: RobotContract, content: BundleContent, weights: dict
) -> None:
    other = replace(content, vocabulary=(*content.vocabulary, "extra"))
    with pytest.raises(BundleError, match="contradicts its bundle"):
        load_policy(write_bundle(tmp_path / "a", contract, other, weights), contract)
    short = {name: array for name, array in weights.items() if name != "head.queries"}
    with pytest.raises(BundleError, match="do not fit"):
        load_policy(write_bundle(tmp_path / "b", contract, content, short), contract)


def test_inverse_normalization_is_the_one_of_the_bundle(
    tmp_path: Path, contract: RobotContract, content: BundleContent, weights: dict, observation: Observation
) -> None:
    """Golden: with zero output the targets are exactly the means."""
    silent = {n: np.zeros_like(w) if n.startswith("head.out") else w for n, w in weights.items()}
    policy = load_policy(write_bundle(tmp_path / "b", contract, content, silent), contract)
    chain = content.action
    assert isinstance(chain, Chain)
    assert isinstance(chain.steps[0], Normalize)
    mean = chain.steps[0].statistics.mean
    assert np.allclose(policy.infer(observation, TEXT, "x").targets, mean)
