"""FG:Raw mixing in training: fine-grained or raw text, by a seeded choice, as `finevla train` makes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from finevla.errors import DatasetError
from finevla.policy.text import codec_from_json
from finevla.stages.train.mix import Mix
from lerobot_policy_finevla.configuration_finevla import FineVLAConfig
from lerobot_policy_finevla.recipe import read_recipe
from lerobot_policy_finevla.record import read_record
from lerobot_policy_finevla.steps import WORDS

_LANGUAGE_STREAM = 3
"""Random stream of the language choice, the same number as in `finevla train`."""


@dataclass(frozen=True)
class Mixture:
    """The encoded texts of every episode.

    Args:
        mix: How often a sample is told in fine-grained words.
        fine_el: Token ids of the fine-grained text by episode, int64 (episodes, L).
        raw_el: Token ids of the raw text.
    """

    mix: Mix
    fine_el: Tensor
    raw_el: Tensor

    @classmethod
    def of(cls, config: FineVLAConfig, meta: Any) -> Mixture | None:
        """That of a dataset; None at inference, and where the task that LeRobot gives is always right.

        Raises:
            DatasetError: An episode lacks a text that the mix asks for.
        """
        if meta is None:
            return None
        mix, record = Mix.parse(config.mix), read_record(meta)
        if mix.share == 1 and record.fine == record.tasks:
            return None
        fine = record.fine if mix.share > 0 else record.raw
        raw = record.raw if mix.share < 1 else record.fine
        missing = [number for number, pair in enumerate(zip(fine, raw, strict=True)) if not all(pair)]
        if missing:
            raise DatasetError(
                "the dataset lacks a text that the mix asks for",
                where=f"episode {missing[0]}, and {len(missing) - 1} more",
                expected=f"the texts for --policy.mix={mix.name} in each of {len(fine)} episodes",
                found=f"fine-grained {fine[missing[0]]!r}, raw {raw[missing[0]]!r}",
                remedy="convert bags that hold both texts, or train with --policy.mix=fg or raw",
            )
        recipe = config.recipe or read_recipe(_checkpoint(config))
        codec = codec_from_json(recipe.text, recipe.files)
        encoded = {text: codec.encode(text) for text in {*fine, *raw}}
        rows = (torch.from_numpy(np.stack([encoded[text] for text in texts])) for texts in (fine, raw))
        return cls(mix, *rows)

    def mixed(self, batch: dict[str, Any], seed: int) -> dict[str, Any]:
        """The batch with the words of the choice; every mix draws the same numbers, so choices are nested."""
        episodes = batch["episode_index"].reshape(-1).cpu()
        uniform = np.random.default_rng([seed, _LANGUAGE_STREAM]).random(len(episodes))
        fine = torch.from_numpy(self.mix.chooses(uniform))[:, None]
        words = torch.where(fine, self.fine_el[episodes], self.raw_el[episodes])
        return {**batch, WORDS: words.to(batch[WORDS].device)}


def _checkpoint(config: FineVLAConfig) -> str:
    if config.pretrained_path is None:
        raise DatasetError(
            "the texts cannot be encoded: the text codec of the policy is not at hand",
            expected="a policy made from a dataset, or loaded from a folder (pretrained_path)",
            remedy="load the policy through lerobot-train",
        )
    return str(config.pretrained_path)
