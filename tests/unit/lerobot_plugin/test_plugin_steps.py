"""The processor steps are FineVLA's own definitions, bit by bit, and refuse what they were not made for."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from lerobot.configs import NormalizationMode
from lerobot.lerobot_types import TransitionKey
from lerobot.processor.converters import create_transition
from lerobot_policy_finevla import FineVLAConfig
from lerobot_policy_finevla.mixing import Mixture
from lerobot_policy_finevla.steps import (
    WORDS,
    InstructionStep,
    NormalizerStep,
    PicturesStep,
    UnnormalizerStep,
)

from finevla.contract.images import WorkspaceCrop
from finevla.errors import ContractError, InstructionError, PolicyError
from finevla.policy.inference import pictures_to_tensor
from finevla.policy.presets import preset
from finevla.policy.qwen_text import QwenCodec
from finevla.policy.qwen_tiny import tiny_tokenizer
from finevla.policy.text import Vocabulary
from finevla.stages.train.mix import Mix

KEY = "observation.images.cam_high"
CROP = WorkspaceCrop((320, 240), (102, 50, 218, 166))


def seen(pictures: torch.Tensor) -> torch.Tensor:
    step = PicturesStep({KEY: CROP.to_json()})
    return step(create_transition(observation={KEY: pictures}))[TransitionKey.OBSERVATION][KEY]


@pytest.mark.parametrize("scaled", ["bytes", "divided", "multiplied"])
def test_pictures_are_those_of_the_node_bit_by_bit(scaled: str) -> None:
    raw = np.random.default_rng(0).integers(0, 256, (2, 240, 320, 3), dtype=np.uint8)
    given = torch.from_numpy(raw).movedim(-1, 1)
    numbers = given.to(torch.float32)
    found = seen({"bytes": given, "divided": numbers / 255, "multiplied": numbers * (1 / 255)}[scaled])
    assert torch.equal(found, pictures_to_tensor(np.stack([CROP(picture) for picture in raw])))


def test_pictures_that_the_policy_does_not_see_are_dropped() -> None:
    step = PicturesStep({KEY: CROP.to_json()})
    blank = torch.zeros(1, 3, 240, 320)
    done = step(create_transition(observation={KEY: blank, "observation.images.other": blank}))
    assert set(done[TransitionKey.OBSERVATION]) == {KEY}


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), 255.0])
def test_pictures_in_another_range_are_refused(value: float) -> None:
    with pytest.raises(ContractError, match="range"):
        seen(torch.full((1, 3, 240, 320), value))


def test_a_missing_picture_is_refused() -> None:
    with pytest.raises(ContractError, match="lacks pictures"):
        PicturesStep({KEY: CROP.to_json()})(create_transition(observation={}))


def test_instruction_step_keeps_the_tokenizer_in_its_state() -> None:
    codec = QwenCodec.for_policy(
        preset("qwen-tiny", "oft", dof=14, horizon=3), tiny_tokenizer(), max_tokens=256
    )
    step = InstructionStep.of(codec.to_json(), codec.files)
    again = InstructionStep(**step.get_config())
    with pytest.raises(PolicyError, match="codec"):
        again.codec
    again.load_state_dict(step.state_dict())
    done = again(create_transition(complementary_data={"task": ["lift it", "turn it"]}))
    rows = done[TransitionKey.OBSERVATION][WORDS]
    assert torch.equal(rows, torch.from_numpy(np.stack([codec.encode("lift it"), codec.encode("turn it")])))


@pytest.mark.parametrize("data", [{}, {"task": [""]}, {"task": ["dance"]}])
def test_an_instruction_that_cannot_be_followed_is_refused(data: dict) -> None:
    with pytest.raises(InstructionError):
        InstructionStep(Vocabulary(("lift",)).to_json())(create_transition(complementary_data=data))


def test_normalization_is_the_transform_of_the_bundle(normalization, contract) -> None:
    document = normalization.to_json()
    state = torch.from_numpy(contract.home).to(torch.float32)[None]
    done = NormalizerStep(document, document)(
        create_transition(observation={"observation.state": state}, action=state[:, None])
    )
    expected = normalization.apply(state.numpy().astype(np.float64)).astype(np.float32)
    assert np.array_equal(done[TransitionKey.OBSERVATION]["observation.state"].numpy(), expected)
    assert np.array_equal(done[TransitionKey.ACTION].numpy()[:, 0], expected)
    back = UnnormalizerStep(document)(create_transition(action=torch.from_numpy(expected)))
    assert np.array_equal(
        back[TransitionKey.ACTION].numpy(), normalization.invert(expected.astype(np.float64))
    )


@pytest.mark.parametrize("part", ["state", "action"])
def test_normalizer_without_statistics_is_refused(normalization, part: str) -> None:
    parts = {"state": normalization.to_json(), "action": normalization.to_json()}
    with pytest.raises((ContractError, TypeError)):
        NormalizerStep(**{name: value for name, value in parts.items() if name != part})
    parts[part] = {"type": "chain", "steps": []}
    with pytest.raises(ContractError):
        NormalizerStep(**parts)


def test_unnormalizer_without_statistics_is_refused() -> None:
    with pytest.raises(ContractError):
        UnnormalizerStep({})


def test_targets_are_clipped_to_the_limits_and_must_be_finite(normalization, contract) -> None:
    document, far = normalization.to_json(), torch.full((1, contract.dof), 1e3)
    limits = (list(map(float, contract.lower)), list(map(float, contract.upper)))
    done = UnnormalizerStep(document, *limits)(create_transition(action=far))
    assert np.array_equal(done[TransitionKey.ACTION].numpy()[0], contract.upper)
    with pytest.raises(PolicyError, match="finite"):
        UnnormalizerStep(document, *limits)(create_transition(action=far * float("nan")))


def test_joints_that_are_not_finite_are_refused(normalization, contract) -> None:
    document = normalization.to_json()
    state = torch.full((1, contract.dof), float("inf"))
    with pytest.raises(ContractError, match="finite"):
        NormalizerStep(document, document)(create_transition(observation={"observation.state": state}))


def test_lerobot_must_not_normalize_a_second_time() -> None:
    with pytest.raises(PolicyError, match="twice"):
        FineVLAConfig(device="cpu", normalization_mapping={"STATE": NormalizationMode.MEAN_STD})


@pytest.mark.parametrize("mix", ["1:4", "1:2", "1:1", "2:1", "4:1", "fg", "raw"])
def test_the_mix_of_the_command_line_survives_yaml(mix: str) -> None:
    """YAML 1.1 reads 1:4 as the number 64, in base 60, and LeRobot's parser hands that on as text."""
    import draccus

    config = draccus.parse(FineVLAConfig, None, args=["--device=cpu", f"--mix={mix}"])
    assert config.mix == mix


def test_mixes_draw_the_same_numbers_and_are_nested() -> None:
    fine, raw = torch.arange(100)[:, None], torch.arange(100)[:, None] + 1000
    batch = {"episode_index": torch.arange(100), WORDS: torch.zeros(100, 1, dtype=torch.int64)}
    told = [
        Mixture(Mix.parse(mix), fine, raw).mixed(batch, seed=3)[WORDS][:, 0] < 1000
        for mix in ("raw", "1:4", "1:1", "4:1", "fg")
    ]
    assert [int(part.sum()) for part in told][:: len(told) - 1] == [0, 100]
    for poor, rich in itertools.pairwise(told):
        assert (rich | ~poor).all()
    assert 30 < int(told[2].sum()) < 70
    assert torch.equal(told[2], Mixture(Mix.parse("1:1"), fine, raw).mixed(batch, seed=3)[WORDS][:, 0] < 1000)
    assert not torch.equal(
        told[2], Mixture(Mix.parse("1:1"), fine, raw).mixed(batch, seed=4)[WORDS][:, 0] < 1000
    )
