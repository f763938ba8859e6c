"""Targets at the end of an episode, split, schedule, probe: small parts with exact answers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from finevla.contract import RobotContract
from finevla.contract.transforms import Chain
from finevla.policy.text import Vocabulary
from finevla.stages.train.batches import BatchSource, training_texts
from finevla.stages.train.data import FrameCache
from finevla.stages.train.loop import Schedule
from finevla.stages.train.mix import Mix
from finevla.stages.train.probe import acting_arms, determination
from finevla.stages.train.split import split_episodes


def two_episodes() -> FrameCache:
    action = np.arange(5.0)[:, None] * np.ones(14)
    return FrameCache(
        pictures=np.zeros((5, 1, 64, 64, 3), np.uint8),
        state=action,
        action=action,
        starts=np.array([0, 3, 5]),
        fine=("red", "blue"),
        raw=("lift", "lift"),
        groups=("lift", "lift"),
        dataset_hash="x",
    )


def test_chunks_stay_in_their_episode_and_end_at_rest() -> None:
    targets, valid = two_episodes().chunks(np.array([1, 3]), horizon=4, rest_steps=1)
    assert targets[:, :, 0].tolist() == [[1, 2, 2, 2], [3, 4, 4, 4]]
    assert valid.tolist() == [[True, True, True, False], [True, True, True, False]]


def test_split_keeps_every_word_in_training() -> None:
    texts = ("lift red", "lift blue", "lift red", "lift green", "lift red", "lift red")
    for seed in range(20):
        training, held = split_episodes(texts, 5, seed)
        assert len(held) == 1
        assert {"blue", "green"} <= {word for e in training for word in texts[e].split()}
        assert sorted([*training, *held]) == list(range(6))


def test_schedule_rises_then_falls_to_zero() -> None:
    schedule = Schedule(
        steps=1000, batch_size=1, learning_rate=1.0, warmup=100, seed=0, probe_every=1, save_every=1
    )
    assert schedule.rate(0) == pytest.approx(0.01)
    assert schedule.rate(500) == pytest.approx(0.5)
    assert schedule.rate(999) < 1e-5
    assert max(map(schedule.rate, range(1000))) <= 1.0


def test_probe_does_not_credit_knowing_the_arm() -> None:
    wanted, arms = np.array([-1.0, -0.8, 0.8, 1.0]), np.array([0, 0, 1, 1])
    assert determination(wanted, wanted, arms) == pytest.approx(1.0)
    assert determination(wanted, np.array([-0.9, -0.9, 0.9, 0.9]), arms) == pytest.approx(0.0)
    assert determination(np.ones(4), wanted, np.zeros(4, int)) is None


def test_acting_arm_is_the_one_that_moves(contract: RobotContract) -> None:
    cache = two_episodes()
    cache.action[:, contract.arm_slice("left")] = 0.0
    assert acting_arms(cache, np.array([0, 1]), contract).tolist() == [1, 1]


def test_batches_depend_on_seed_and_step_only(
    toy_cache: Callable[..., FrameCache], normalization: Chain
) -> None:
    cache = toy_cache(8)
    vocabulary = Vocabulary.from_texts(training_texts(cache, np.arange(8)))
    source = BatchSource(cache, vocabulary, normalization, normalization, 16, 15, Mix.parse("1:1"))
    frames = np.arange(16)
    first, again = (source.draw(frames, 6, seed=3, step=5) for _ in range(2))
    assert all(a.equal(b) for a, b in zip(first.inputs, again.inputs, strict=True))
    other = source.draw(frames, 6, seed=3, step=6)
    assert not first.inputs.pictures.equal(other.inputs.pictures)
    assert first.inputs.pictures.abs().max() <= 1.0
    assert cache.pictures[0, 0, 0, 0].tolist() == [120, 120, 120]  # the cache itself is not augmented
