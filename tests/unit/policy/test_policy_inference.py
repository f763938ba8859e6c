"""A loaded bundle: right stamps, bounded finite targets, refusal of anything incomplete."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from finevla.contract import Observation, RobotContract
from finevla.contract.bundle import BundleContent, write_bundle
from finevla.contract.images import WorkspaceCrop
from finevla.contract.transforms import Chain, Normalize
from finevla.errors import BundleError, ContractError, InstructionError, PolicyError
from finevla.policy.config import PolicyConfig
from finevla.policy.inference import Policy, RunningChunk, load_policy
from finevla.policy.model import build_network, in_bfloat16, network_weights
from finevla.policy.presets import preset
from finevla.policy.qwen_text import QwenCodec
from finevla.policy.qwen_tiny import tiny_tokenizer
from finevla.policy.text import Vocabulary

TEXT = "Lift the red cube with the left arm."
CROP = WorkspaceCrop((320, 240), (102, 50, 218, 166))


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
    text = {**content.text, "words": [*content.text["words"], "extra"]}
    other = replace(content, text=text)
    with pytest.raises(BundleError, match="cannot be built") as caught:
        load_policy(write_bundle(tmp_path / "a", contract, other, weights), contract)
    assert "contradicts its bundle" in caught.value.found
    short = {name: array for name, array in weights.items() if name != "head.queries"}
    with pytest.raises(BundleError, match="do not fit"):
        load_policy(write_bundle(tmp_path / "b", contract, content, short), contract)
    three = replace(content, images=dict.fromkeys(contract.cameras, CROP))
    with pytest.raises(BundleError, match="contradicts its bundle"):
        load_policy(write_bundle(tmp_path / "c", contract, three, weights), contract)


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


def make(
    tmp_path: Path, contract: RobotContract, content: BundleContent, name: str, head: str, half: bool
) -> Policy:
    """A bundle of untrained weights, written and loaded."""
    config = preset(name, head, dof=contract.dof, horizon=contract.horizon, vocabulary_size=8)
    images = dict.fromkeys(contract.cameras, CROP) if config.cameras == 3 else content.images
    if name == "qwen-tiny":
        pytest.importorskip("transformers")
        codec = QwenCodec.for_policy(config, tiny_tokenizer(), max_tokens=256)
    else:
        codec = Vocabulary(tuple(content.text["words"]))
        config = preset(name, head, dof=contract.dof, horizon=contract.horizon, vocabulary_size=codec.size)
    content = replace(
        content, model=config.to_json(), images=images, text=codec.to_json(), files=dict(codec.files)
    )
    weights = network_weights(build_network(config, seed=5))
    weights = in_bfloat16(weights) if half else weights
    path = write_bundle(tmp_path / "pair", contract, content, weights)
    return load_policy(path, contract)


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("head", ["oft", "flow"])
@pytest.mark.parametrize("name", ["compact", "compact-3cam", "qwen-tiny"])
def test_every_pair_acts_from_its_bundle(
    tmp_path: Path,
    contract: RobotContract,
    content: BundleContent,
    observation: Observation,
    name: str,
    head: str,
    half: bool,
) -> None:
    policy = make(tmp_path, contract, content, name, head, half)
    policy.warm_up(1)
    chunk = policy.infer(observation, TEXT, "x")
    assert chunk.targets.shape == (contract.horizon, contract.dof)
    assert ((chunk.targets >= contract.lower) & (chunk.targets <= contract.upper)).all()
    assert np.array_equal(policy.infer(observation, TEXT, "x").targets, chunk.targets)
    right = policy.infer(observation, TEXT.replace("left", "right"), "x")
    assert not np.array_equal(right.targets, chunk.targets)
    assert policy.accepts_prefix is (head == "flow")
    assert policy.dimensions == content.dimensions
    assert bool(policy.known_words) is (name != "qwen-tiny")


def test_a_running_chunk_is_continued_in_the_units_of_the_robot(
    tmp_path: Path, contract: RobotContract, content: BundleContent, observation: Observation
) -> None:
    policy = make(tmp_path, contract, content, "compact", "flow", half=False)
    old = contract.home + np.linspace(0.0, 0.05, 4)[:, None]
    old = np.clip(old, contract.lower, contract.upper)
    chunk = policy.infer(observation, TEXT, "x", RunningChunk(old, np.array([1.0, 1.0, 0.5, 0.0])))
    assert np.allclose(chunk.targets[:2], old[:2], atol=1e-5)
    free = policy.infer(observation, TEXT, "x")
    assert not np.allclose(free.targets[:2], old[:2], atol=1e-3)
    with pytest.raises(PolicyError, match="does not fit"):
        policy.infer(observation, TEXT, "x", RunningChunk(old, np.ones(3)))
    with pytest.raises(PolicyError, match="does not fit"):
        policy.infer(observation, TEXT, "x", RunningChunk(np.full((1, 14), np.nan), np.ones(1)))


def test_a_head_without_noise_refuses_to_continue(policy: Policy, observation: Observation) -> None:
    with pytest.raises(PolicyError, match="cannot continue"):
        policy.infer(observation, TEXT, "x", RunningChunk(observation.state[None], np.ones(1)))


def test_wrist_views_before_the_others_are_refused(
    tmp_path: Path, contract: RobotContract, content: BundleContent
) -> None:
    pytest.importorskip("transformers")
    config = preset("qwen-tiny", dof=contract.dof, horizon=contract.horizon)
    codec = QwenCodec.for_policy(config, tiny_tokenizer())
    wrong = replace(
        content,
        model=config.to_json(),
        images=dict.fromkeys(reversed(list(contract.cameras)), CROP),
        text=codec.to_json(),
        files=dict(codec.files),
    )
    weights = network_weights(build_network(config, 0))
    with pytest.raises(BundleError, match="another order"):
        load_policy(write_bundle(tmp_path / "b", contract, wrong, weights), contract)


def test_a_lost_tokenizer_is_refused(tmp_path: Path, contract: RobotContract, content: BundleContent) -> None:
    config = preset("qwen-tiny", dof=contract.dof, horizon=contract.horizon)
    codec = QwenCodec.for_policy(config, tiny_tokenizer())
    images = dict.fromkeys(contract.cameras, CROP)
    lost = replace(content, model=config.to_json(), images=images, text=codec.to_json(), files={})
    weights = network_weights(build_network(PolicyConfig.from_json(content.model), 0))
    with pytest.raises(BundleError):
        load_policy(write_bundle(tmp_path / "b", contract, lost, weights), contract)


def test_pictures_pass_the_transform_of_the_bundle(policy: Policy, observation: Observation) -> None:
    """What lies outside of the box does not exist; what lies inside does."""
    plain = policy.infer(observation, TEXT, "x").targets
    name = policy.cameras[0]
    picture = observation.images[name].copy()
    picture[:50], picture[:, :102], picture[:, 218:] = 0, 0, 0
    outside = replace(observation, images={name: picture})
    assert np.array_equal(policy.infer(outside, TEXT, "x").targets, plain)
    picture = observation.images[name].copy()
    picture[100:120, 150:170] = 0
    assert not np.array_equal(
        policy.infer(replace(observation, images={name: picture}), TEXT, "x").targets, plain
    )
