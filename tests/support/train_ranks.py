"""Runs the toy trainer of `tests/unit/train` and leaves its weights: for `torchrun`.

Usage: train_ranks.py OUT HEAD PARTS, with the folder of the toy's conftest on the path.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import torch

from finevla.contract import load_contract
from finevla.policy.text import Vocabulary
from finevla.stages.train.batches import BatchSource
from finevla.stages.train.mix import Mix
from finevla.stages.train.plan import normalization
from finevla.stages.train.schedule import Schedule


def toy_module():
    """The conftest of the trainer's tests."""
    path = Path(__file__).parents[1] / "unit" / "train" / "conftest.py"
    spec = importlib.util.spec_from_file_location("train_toy", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["train_toy"] = module
    spec.loader.exec_module(module)
    return module


def main() -> None:
    out, head, parts = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    torch.set_num_threads(1)
    module, contract = toy_module(), load_contract()
    cache = module.toy_cache(contract)
    codec = Vocabulary.from_texts(cache.texts_of(np.arange(cache.episodes)))
    chain = normalization(cache.action, contract)
    source = BatchSource(cache, codec, chain, chain, 16, 15, Mix.parse("1:1"))
    toy = module.Toy(cache, codec, chain, source, contract, cache.frames_of(np.arange(2, 10)))
    rates = Schedule(
        steps=4,
        batch_size=8,
        learning_rate=1e-4,
        warmup=1,
        seed=0,
        probe_every=2,
        save_every=4,
        accumulate=parts,
        ema=0.9,
    )
    toy.trainer(out, rates, head).run(False, lambda *_: None, lambda _: None)
    trainer = toy.trainer(out, rates, head)
    trainer.run(True, lambda *_: None, lambda _: None)  # every process finds that nothing is left to do
    (out / "processes").write_text(str(trainer._engine.accelerator.num_processes))


if __name__ == "__main__":
    main()
