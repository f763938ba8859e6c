"""The policy learns which square a color word names: the binding that all obedience rests on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from finevla.contract import RobotContract
from finevla.policy.model import build_network
from finevla.policy.presets import preset
from finevla.policy.text import Vocabulary
from finevla.stages.train.batches import BatchSource
from finevla.stages.train.data import FrameCache
from finevla.stages.train.loop import Schedule, Trainer
from finevla.stages.train.mix import Mix
from finevla.stages.train.plan import normalization
from finevla.stages.train.probe import Probe


@pytest.mark.slow
@pytest.mark.parametrize(("head", "least"), [("oft", 0.9), ("flow", 0.5)])
def test_words_are_bound_to_places_in_three_hundred_updates(
    contract: RobotContract, toy_cache: Callable[..., FrameCache], tmp_path: Path, head: str, least: float
) -> None:
    torch.set_num_threads(1)
    cache = toy_cache(2200, length=1)
    vocabulary = Vocabulary.from_texts(cache.texts_of(np.arange(cache.episodes)))
    chain = normalization(cache.action, contract)  # the state of the toy never moves
    config = preset("compact", head, dof=14, horizon=16, vocabulary_size=vocabulary.size)
    source = BatchSource(cache, vocabulary, chain, chain, 16, 15, Mix.parse("fg"))
    probe = Probe(cache, source, np.arange(2000, 2200), chain, contract)
    schedule = Schedule(
        steps=300, batch_size=64, learning_rate=1e-3, warmup=100, seed=0, probe_every=300, save_every=300
    )
    trainer = Trainer(build_network(config, 0), source, np.arange(2000), probe, schedule, tmp_path)
    final = trainer.run(resume=False, on_step=lambda *_: None, on_measurement=lambda _: None)
    assert final.r2 is not None
    assert final.r2 > least
