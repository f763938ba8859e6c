"""Named recipes: what `--preset NAME` fills in where no flag says otherwise.

`compact` is measured here. The others are the published schedules of FineVLA's runs; batch sizes are
over all processes (eight GPUs of one node, where the number of nodes is not known).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from finevla.errors import PolicyError
from finevla.stages.train.schedule import Decay


@dataclass(frozen=True, slots=True)
class Recipe:
    """The part of a schedule that belongs to a model rather than to a run.

    Fields are those of `schedule.Schedule` under the names of their flags; a rate of None is `lr`.
    """

    steps: int
    batch_size: int
    lr: float
    vlm_lr: float | None
    head_lr: float | None
    warmup: int
    decay: Decay
    min_lr: float = 0.0
    weight_decay: float = 1e-8


DEFAULT = "compact"
RECIPES: Mapping[str, Recipe] = {
    "compact": Recipe(3_000, 64, 1e-3, None, None, 100, "cosine", weight_decay=1e-4),
    "rdt-gr00t": Recipe(100_000, 64, 2e-5, 1e-5, 1e-4, 5_000, "cosine_with_min_lr", min_lr=5e-7),
    "aloha-oft": Recipe(200_000, 32, 2e-5, 1e-5, 1e-4, 5_000, "cosine_with_min_lr", min_lr=5e-7),
    "robotwin-sft": Recipe(100_000, 128, 5e-6, 5e-6, 5e-5, 0, "constant"),
    # The plain cosine of transformers is the one with a floor of 0.
    "robotwin-clean": Recipe(30_000, 16, 2e-5, None, None, 1_000, "cosine_with_min_lr"),
}


def recipe(name: str) -> Recipe:
    """The recipe of a name.

    Raises:
        PolicyError: There is none.
    """
    if name not in RECIPES:
        raise PolicyError(
            "there is no such preset",
            where="--preset",
            expected=f"one of {', '.join(RECIPES)}",
            found=name,
            remedy="choose one of these, and change what you need with flags",
        )
    return RECIPES[name]
