"""`finevla evaluate openloop`: errors on recorded frames, and what other words change in them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import tyro
from numpy.typing import NDArray

from finevla.contract import load_contract
from finevla.errors import FineVLAError
from finevla.files import write_json
from finevla.stages.evaluate.flags import wrong_flag
from finevla.stages.evaluate.openloop import FloatArray, summarize, table, try_all
from finevla.stages.evaluate.openloop_map import heat_map
from finevla.stages.evaluate.openloop_texts import Episode
from finevla.stages.report import progress

if TYPE_CHECKING:
    from finevla.policy.inference import Policy
    from finevla.stages.train.data import FrameCache

HELD_OUT, ALL = "held-out", "all"


@dataclass(frozen=True)
class Config:
    """Measures a policy on recorded frames: how far its chunks are from what the demonstrator did.

    The same frames are also given other words: those of another episode of the task, the raw text, none at
    all, and the right ones with one factor flipped. How far the prediction then moves tells whether the
    policy listens, in seconds and without a simulator. It does not tell whether it obeys: see
    `finevla evaluate paired`.
    """

    bundle: tyro.conf.Positional[Path]
    """Folder of the bundle."""
    dataset: tyro.conf.Positional[Path]
    """LeRobot dataset, usually the one that it was trained on."""
    episodes: str = HELD_OUT
    """held-out: those that training kept for validation; all; or numbers separated by commas."""
    train_dir: Path | None = None
    """Folder of the training run, which names its held-out episodes; needed where the bundle does not."""
    every: int = 5
    """Every how many frames a chunk is predicted."""
    cache_dir: Path | None = None
    """Folder with decoded pictures, as of `finevla train --cache-dir`; without it only the frames that are
    looked at are decoded."""
    json: Annotated[Path | None, tyro.conf.arg(name="json")] = None
    """Where to write the result as JSON."""
    svg: Path | None = None
    """Where to write a heat-map of the errors, joint by step."""


class _Recorded:
    """The policy on frames of a dataset, a batch per call."""

    def __init__(self, policy: Policy, cache: FrameCache) -> None:
        self._policy, self._cache = policy, cache

    def predict(self, frames: NDArray[np.int64], text: str) -> FloatArray:
        """Chunks (n, horizon, dof), clipped to the limits of the robot as in `Policy.infer`.

        Raises:
            InstructionError: The policy does not take the text.
            FineVLAError: It gave a number that is not finite.
        """
        import torch

        from finevla.policy.inference import pictures_to_tensor
        from finevla.policy.inputs import Inputs

        policy, content = self._policy, self._policy.bundle.content
        policy.check_instruction(text)
        words = torch.from_numpy(policy.codec.encode(text)).expand(len(frames), -1)
        state = torch.from_numpy(content.state.apply(self._cache.state[frames]).astype(np.float32))
        inputs = Inputs(pictures_to_tensor(self._cache.pictures[frames]), words, state)
        with torch.inference_mode():
            found = policy.network.act(inputs.to(policy.network.device)).to("cpu", torch.float64).numpy()
        targets: FloatArray = content.action.invert(found)
        if not np.isfinite(targets).all():
            raise FineVLAError(
                "the policy gave targets that are not finite numbers",
                where=policy.checkpoint_id,
                found=text,
                remedy="do not use this bundle; train again and look at the loss curve",
            )
        return np.clip(targets, policy.contract.lower, policy.contract.upper)


def main(config: Config) -> int:
    """Measures, prints the tables and writes what was asked for."""
    # Imported late: the help needs no torch.
    from finevla.policy.inference import load_policy
    from finevla.stages.train.data import read_dataset

    begun, contract = time.monotonic(), load_contract()
    if config.every < 1:
        raise wrong_flag("openloop", "--every", "1 or more", config.every)
    policy = load_policy(config.bundle, contract)
    content = policy.bundle.content
    cache = read_dataset(
        config.dataset,
        contract,
        content.images,
        lambda _, __: None,
        cache="none" if config.cache_dir is None else "memory",
        cache_dir=config.cache_dir,
    )
    chosen = _chosen(config, content.provenance, cache)
    texts = [
        Episode(fine or raw, raw, group)
        for fine, raw, group in zip(cache.fine, cache.raw, cache.groups, strict=True)
    ]
    with progress("episodes") as bar:
        row = bar.add_task("predicting", total=len(chosen))
        tried, skipped = try_all(
            _Recorded(policy, cache),
            cache,
            texts,
            chosen,
            horizon=policy.horizon,
            every=config.every,
            on_episode=lambda: bar.advance(row),
        )
    result = summarize(tried, skipped, contract)
    result["provenance"] = {
        "command": "finevla evaluate openloop",
        "checkpoint_id": policy.checkpoint_id,
        "dataset_hash": cache.dataset_hash,
        "chosen": config.episodes,
        "episode_numbers": chosen,
        "every": config.every,
        "seconds": round(time.monotonic() - begun, 1),
    }
    if config.json is not None:
        write_json(config.json, result)
    if config.svg is not None:
        title = f"{policy.checkpoint_id}: {result['episodes']} episodes, {result['frames']} frames"
        config.svg.write_text(heat_map(result["error"], title), "utf-8")
    print(table(result))
    return 0


def _chosen(config: Config, provenance: Mapping[str, Any], cache: FrameCache) -> list[int]:
    """The episodes to look at, by their number in the dataset.

    Raises:
        FineVLAError: They are not known, not there, or of another dataset than that of the training.
    """
    if config.episodes == ALL:
        return list(range(cache.episodes))
    if config.episodes != HELD_OUT:
        parts = [part.strip() for part in config.episodes.split(",") if part.strip()]
        numbers = [int(part) for part in parts if part.isdecimal() and int(part) < cache.episodes]
        if not numbers or len(numbers) != len(parts):
            expected = f"{HELD_OUT}, {ALL}, or numbers below {cache.episodes} separated by commas"
            raise wrong_flag("openloop", "--episodes", expected, config.episodes)
        return numbers
    run = _run_of(config, provenance)
    if run["dataset_hash"] != cache.dataset_hash:
        raise FineVLAError(
            "the policy was trained on another dataset, so that none of these episodes was held out by it",
            where=config.dataset,
            expected=run["dataset_hash"],
            found=cache.dataset_hash,
            remedy="give the dataset of the training, or --episodes all",
        )
    if not run["validation"]:
        raise wrong_flag(
            "openloop", "--episodes", "a run that held episodes out", "none, --val-episodes was 0"
        )
    return [int(number) for number in run["validation"]]


def _run_of(config: Config, provenance: Mapping[str, Any]) -> Mapping[str, Any]:
    """What names the held-out episodes: the training run that was given, or the bundle itself.

    Raises:
        FineVLAError: Neither does, or the run is not that of the bundle.
    """
    if config.train_dir is None:
        if "validation" not in provenance:
            raise FineVLAError(
                "the bundle does not tell which episodes its training held out",
                where=config.bundle,
                expected="`validation` in its provenance",
                found=f"{', '.join(provenance)}",
                remedy="give the folder of its training with --train-dir, or --episodes all",
            )
        return provenance
    from finevla.stages.train.record import read_run

    run = read_run(config.train_dir)
    if run.get("manifest_hash") != provenance.get("manifest_hash"):
        raise FineVLAError(
            "the training run is not the one that the bundle was made of",
            where=config.train_dir,
            expected=provenance.get("manifest_hash"),
            found=run.get("manifest_hash"),
            remedy="give the run that was exported",
        )
    return run
